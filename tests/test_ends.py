"""How a sweep ends: in order whoever asks for it, with a way to go on, and told to whom it may concern."""

import inspect
import logging
import os
import re
import shlex
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import LIMIT, start_sweep, sweep_here, wait_for

from harness.errors import HeadLost
from harness.on_end import facts
from harness.signals import ENDS, TERMINATED, code_kept, ending, handlers_kept
from sweeps import head, run_log
from sweeps.head import watched

Write = Callable[..., Path]


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in (*ENDS, signal.SIGINT)]


@pytest.mark.parametrize("number", ENDS)
def test_a_signal_ends_the_block_once_and_handlers_come_back(number: int):
    before, closed = handlers(), False
    with pytest.raises(SystemExit) as end, ending():
        try:
            os.kill(os.getpid(), number)
            signal.pause()  # never reached: the handler has raised
        finally:
            for again in ENDS:  # while it closes nobody breaks it off
                os.kill(os.getpid(), again)
                assert subprocess.run(f"kill -{again} $$", shell=True, check=False).returncode == -again
            closed = True
    assert (end.value.code, closed) == (TERMINATED, True)
    assert handlers() == before


@pytest.mark.parametrize("number", ENDS)
def test_a_signal_after_the_end_does_not_change_the_exit_code(number: int):
    def main() -> int:
        with ending():
            return 7

    with handlers_kept():
        assert code_kept(main) == 7
        os.kill(os.getpid(), number)  # would raise, or kill


def test_what_a_library_installs_is_undone():
    with ending():
        ours = handlers()
        with handlers_kept():
            signal.signal(signal.SIGTERM, lambda number, frame: None)
        assert handlers() == ours


def test_elsewhere_than_in_the_main_thread_no_handler_is_touched():
    seen: list[object] = []

    def run() -> None:
        with ending():
            seen.append(handlers())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [handlers()]


def test_a_sweep_in_this_process_leaves_the_handlers(sweep_file: Write):
    before = handlers()
    assert sweep_here(sweep_file(categories=["cap"]), "--backend", "serial").returncode == 0
    assert handlers() == before


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143), (SystemExit(15), 143)]
)
def test_the_whole_command_goes_on(
    sweep_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
):
    monkeypatch.setattr("sweeps.drive.run_serial", raiser(error))
    path = sweep_file(out=str(tmp_path / "my run"))
    words = [
        str(path),
        "seeds=[0, 1]",
        "--backend",
        "serial",
        "--address",
        "auto",
        "--only",
        "category=cap|nut",
    ]
    words += ["--retry", "failed,lost", "--limit", "7", "--on-end", "echo 'it is over'"]
    done = sweep_here(*words)
    assert done.returncode == code
    # rows that are to run again are gone by then: asked for twice, what has just run would run once more
    left = [word for word in words if word not in ("--retry", "failed,lost")]
    assert shlex.split(done.stderr.partition("Go on with: ")[2]) == ["python", "-m", "harness.sweep", *left]


def test_who_is_stopped_before_anything_is_forgotten_asks_for_it_again(
    sweep_file: Write, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sweeps.drive.make_plan", raiser(KeyboardInterrupt()))
    words = [str(sweep_file()), "--backend", "serial", "--retry", "failed"]
    done = sweep_here(*words)
    assert shlex.split(done.stderr.partition("Go on with: ")[2])[3:] == words


def raiser(error: BaseException) -> Callable[..., None]:
    def raises(*given: object, **named: object) -> None:
        raise error

    return raises


# --- --on-end -----------------------------------------------------------------------------------------------


def told(run: Path, *, code: int, state: str, **counts: int) -> dict[str, str]:
    """What is to be in the environment."""
    words = ("ok", "failed", "skipped", "timeout", "oom", "crashed", "lost", "missing")
    numbers = {f"LADDER_{word.upper()}": str(counts.get(word, 0)) for word in words}
    return {"LADDER_STATE": state, "LADDER_RUN": str(run), "LADDER_CODE": str(code), **numbers}


@pytest.fixture
def on_end(tmp_path: Path) -> tuple[str, Callable[[], dict[str, str]]]:
    """A command that writes down what it is told, and what it was."""
    file = tmp_path / "told"

    def read() -> dict[str, str]:
        pairs = (line.split("=", 1) for line in file.read_text().splitlines())
        return {name: value for name, value in pairs if name != "LADDER_CACHE"}

    return f"env | grep ^LADDER_ > '{file}'", read


def test_the_command_at_the_end_is_told_how_it_ended(
    sweep_file: Write,
    tmp_path: Path,
    on_end: tuple[str, Callable[[], dict[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
):
    command, read = on_end
    words = ("--backend", "serial", "--on-end", command)
    run = tmp_path / "run"
    faulty = {"name": "faulty", "params": {"behaviour": "raise", "category": "cap"}}
    path = sweep_file(methods=[faulty])
    assert sweep_here(path, "--dry-run", *words).returncode == 0
    assert not (tmp_path / "told").exists()
    assert sweep_here(path, "--limit", "1", *words).returncode == 1
    assert read() == told(run, code=1, state="incomplete", ok=1, missing=2)
    assert sweep_here(path, *words).returncode == 1
    assert read() == told(run, code=1, state="incomplete", ok=2, failed=1)
    assert sweep_here(sweep_file(methods=[{"name": "faulty"}]), *words).returncode == 0
    assert read() == told(run, code=0, state="finished", ok=3)
    assert sweep_here(tmp_path / "nowhere.yaml", *words).returncode == 2
    assert read() == told(Path(), code=2, state="refused") | {"LADDER_RUN": ""}
    monkeypatch.setattr("sweeps.drive.run_serial", raiser(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        sweep_here(path, "--retry", "all", *words)
    assert read() == told(run, code=1, state="incomplete", missing=3)


def test_an_interrupted_sweep_is_told_too_and_a_failing_command_changes_nothing(
    sweep_file: Write, monkeypatch: pytest.MonkeyPatch
):
    done = sweep_here(sweep_file(categories=["cap"]), "--backend", "serial", "--on-end", "exit 3")
    assert (done.returncode, done.stderr) == (0, "--on-end ended with code 3: exit 3\n")
    monkeypatch.setattr("subprocess.run", raiser(KeyboardInterrupt()))
    done = sweep_here(sweep_file(categories=["cap"]), "--backend", "serial", "--on-end", "sleep 9")
    assert (done.returncode, done.stderr) == (0, "--on-end was broken off: sleep 9\n")
    assert facts(None, 143)["LADDER_STATE"] == facts(None, 130)["LADDER_STATE"] == "interrupted"


# --- the head of a cluster ----------------------------------------------------------------------------------


def test_a_head_that_does_not_answer_is_lost_in_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(head.SETTING, "1")
    monkeypatch.setattr(head, "EVERY", 0.01)
    monkeypatch.setattr(head, "LAST_MOMENT", float("inf"))  # it would end this process
    with socket.create_server(("127.0.0.1", 0)) as store:
        address = f"127.0.0.1:{store.getsockname()[1]}"
        with watched(address) as watch:
            watch.wait()
            watch.check()
            store.close()
            with pytest.raises(HeadLost, match=f"{address}. has not answered for"):
                watch.wait()


def control_store(driver: int) -> int:
    """The process of the control store that a driver has started."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            if re.search(rf"\(gcs_server\) \w {driver} ", path.read_text()):
                return int(path.parent.name)
    raise AssertionError("no control store")


@pytest.mark.ray
def test_a_driver_whose_head_dies_says_so(sweep_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(head.SETTING, "14")  # of Ray: after that long it would kill the driver, silently
    (tmp_path / "log").touch()
    params = {"log": str(tmp_path / "log"), "gate": str(tmp_path / "gate"), "free": 1}
    driver = start_sweep(sweep_file(methods=[{"name": "faulty", "params": params}]))
    wait_for(lambda: len((tmp_path / "log").read_text().splitlines()) > 1)
    os.kill(control_store(driver.pid), signal.SIGKILL)
    output = driver.communicate(timeout=LIMIT)[0]
    assert driver.returncode == 1, output
    assert "error: the head of the cluster" in output
    assert "the same command goes on" in output
    assert "authentication" not in output  # nothing of what Ray logs
    (tmp_path / "gate").touch()


# --- what Ray says ------------------------------------------------------------------------------------------


def test_what_ray_prints_goes_to_the_log_of_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from ray._private import worker

    from sweeps.ray.quiet import PRINTER, quiet

    assert PRINTER in inspect.getsource(worker.listen_error_messages)  # what is replaced is what is called
    before = getattr(worker, PRINTER)
    with run_log.logged(tmp_path), quiet():
        assert not (tmp_path / "log.txt").exists()  # made by the first line
        getattr(worker, PRINTER)({"lines": ["\x1b[33mraylet died\x1b[0m", "state dump"], "pid": "raylet"})
        logging.getLogger("ray.tune").error("a trial did not complete")
        logging.getLogger("ray.tune").info("nobody wants to know")
        logging.getLogger("sweeps.somewhere").info("a node was put aside")
    assert getattr(worker, PRINTER) is before
    assert capsys.readouterr() == ("", "")
    lines = [
        line.split(" ", 2)[2] for line in (tmp_path / "log.txt").read_text().splitlines() if line[:2] == "20"
    ]
    assert lines == [
        "WARNING ray.nodes: raylet: raylet died",
        "ERROR ray.tune: a trial did not complete",
        "INFO sweeps.somewhere: a node was put aside",
    ]


def test_logs_are_rotated_and_the_oldest_goes(tmp_path: Path):
    for number in range(6):
        run_log.rotate(tmp_path)
        (tmp_path / "log.txt").write_text(str(number))
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {"log.txt": "5", "log.1.txt": "4", "log.2.txt": "3", "log.3.txt": "2"}


def test_what_a_killed_driver_left_goes_at_the_next_start(sweep_file: Write, tmp_path: Path):
    path = sweep_file(categories=["cap"])
    assert sweep_here(path, "--backend", "serial").returncode == 0
    (tmp_path / "run/.tune/wave").mkdir(parents=True)
    (tmp_path / "run/log.txt").write_text("of the start before")
    done = sweep_here(path, "--backend", "serial")
    assert "0 to run" in done.stdout and "log.txt" not in done.stdout
    assert not (tmp_path / "run/.tune").exists()
    assert (tmp_path / "run/log.1.txt").exists()

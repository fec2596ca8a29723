"""The doctor on a healthy machine, and on one with each fault that labs meet: what is said, and the mend."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from conftest import write_tree

from harness.doctor import main
from harness.errors import ConfigError
from methods.shared.weights import DEMO_FOLDER
from sweeps.doctor import cards, machine, numerics, ports, software
from sweeps.doctor.examine import Asked, Machine, differences, examine
from sweeps.doctor.finding import Finding, Level, green, looked
from sweeps.doctor.inputs import data_sets, decoding, weights
from sweeps.doctor.plan import planned
from sweeps.doctor.ports import ray_here

Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: Patch) -> None:
    """Nobody's own token, data and weights are looked at."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("LADDER_DATA", "LADDER_WEIGHTS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)


def worst(findings: Iterator[Finding]) -> Finding:
    order = [Level.GREEN, Level.AMBER, Level.RED]
    return max(findings, key=lambda finding: order.index(finding.level))


def says(finding: Finding, level: Level, said: str, mend: str) -> None:
    assert (finding.level, said in finding.said, mend in finding.mend) == (level, True, True), finding


def smi(folder: Path, monkeypatch: Patch, *rows: str, code: int = 0) -> None:
    """An nvidia-smi that prints rows."""
    script = folder / "bin" / "nvidia-smi"
    script.parent.mkdir(exist_ok=True)
    script.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(rows) + f"\nEND\nexit {code}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")


CARD = "0, NVIDIA H200, 580.95.05, 143771, 4, 9.0, Disabled, Default, 0"


def card(**changed: str) -> str:
    names = cards.ASKED.split(",")
    return ", ".join(
        changed.get(n.replace(".", "_"), v) for n, v in zip(names, CARD.split(", "), strict=True)
    )


@pytest.mark.parametrize(
    ("row", "level", "said", "mend"),
    [
        (CARD, Level.GREEN, "NVIDIA H200, 140 GiB, driver 580.95.05, sm 9.0", ""),
        (card(driver_version="535.183.01"), Level.RED, "older than 580", "update the driver"),
        (card(compute_cap="7.0"), Level.RED, "too old", "CUDA 12"),
        (card(ecc_errors_uncorrected_volatile_total="3"), Level.RED, "memory errors", "out of service"),
        (card(compute_mode="Exclusive_Process"), Level.AMBER, "Exclusive_Process", "-c DEFAULT"),
        (card(mig_mode_current="Enabled"), Level.AMBER, "MIG slices", "CUDA_VISIBLE_DEVICES"),
        (card(memory_used="90000"), Level.AMBER, "in use already", "nvidia-smi"),
        (card(ecc_errors_uncorrected_volatile_total="[N/A]"), Level.GREEN, "NVIDIA H200", ""),
    ],
)  # fmt: skip
def test_cards(row: str, level: Level, said: str, mend: str, tmp_path: Path, monkeypatch: Patch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    smi(tmp_path, monkeypatch, row)
    says(worst(cards.cards()), level, said, mend)


def test_a_driver_that_does_not_answer(tmp_path: Path, monkeypatch: Patch):
    smi(tmp_path, monkeypatch, "NVIDIA-SMI has failed because it couldn't communicate", code=9)
    says(worst(cards.cards()), Level.RED, "couldn't communicate", "restart the NVIDIA driver")


def test_hidden_cards_are_said(tmp_path: Path, monkeypatch: Patch):
    smi(tmp_path, monkeypatch, CARD)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    says(next(cards.cards()), Level.AMBER, "CUDA_VISIBLE_DEVICES='3'", "only these")


def test_packages(monkeypatch: Patch):
    assert worst(software.software()).level is Level.GREEN
    monkeypatch.setattr(
        software, "requires", lambda name: ["numpy<1", "nowhere-to-be-had>=2", "pillow; extra == 'x'"]
    )
    old, gone = list(software.software())[2:]
    says(old, Level.RED, "Ladder asks for <1", "pip install 'numpy<1'")
    says(gone, Level.RED, "nowhere-to-be-had is not installed", "pip install 'nowhere-to-be-had>=2'")


def test_a_package_that_is_there_twice(tmp_path: Path, monkeypatch: Patch):
    info = tmp_path / "torch-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(software, "requires", lambda name: ["torch"])
    says(
        list(software.software())[2], Level.RED, "torch is installed 2 times: 1.0, ", "pip uninstall -y torch"
    )


def test_disks(tmp_path: Path, monkeypatch: Patch):
    cache, run = machine.disks(tmp_path / "run", tmp_path / "cache")
    assert {f.level for f in (cache, run)} <= {Level.GREEN, Level.AMBER} and "MiB/s" in cache.said
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    says(next(machine.disks(None, tmp_path / "file/cache")), Level.RED, "is a file", "LADDER_CACHE")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda at: usage._replace(free=1 << 28))
    says(next(machine.disks(None, tmp_path)), Level.RED, "0.25 GiB are free", "make room")
    monkeypatch.undo()
    monkeypatch.setattr(machine.os, "access", lambda *a: False)
    says(next(machine.disks(None, tmp_path)), Level.RED, "cannot be written", "LADDER_CACHE")
    monkeypatch.undo()
    says(next(machine.disks(None, tmp_path / "file")), Level.RED, "/file is a file", "LADDER_CACHE")
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda at: usage._replace(free=1 << 36))
    for fault, said in ({"f_flag": os.ST_RDONLY}, "read-only"), ({"f_files": 9, "f_favail": 0}, "(inodes)"):
        disk = SimpleNamespace(**({"f_flag": 0, "f_files": 9, "f_favail": 9} | fault))
        monkeypatch.setattr(machine.os, "statvfs", lambda at, disk=disk: disk)
        says(next(machine.disks(None, tmp_path)), Level.RED, said, "LADDER_CACHE")


def test_few_open_files(monkeypatch: Patch):
    monkeypatch.setattr(machine.resource, "getrlimit", lambda kind: (64, 4096))
    says(worst(machine.machine()), Level.RED, "may open 64 files", "ulimit -n 4096")
    monkeypatch.setattr(machine.resource, "getrlimit", lambda kind: (64, 64))
    says(worst(machine.machine()), Level.RED, "may open 64 files", "limits.conf")


def test_little_shared_memory(monkeypatch: Patch):
    usage = shutil.disk_usage("/dev/shm")
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda at: usage._replace(total=64 << 20))
    (found,) = (f for f in machine.machine() if f.name == "shared memory")
    says(found, Level.AMBER, "/dev/shm holds 0.06 GiB", "--shm-size=4g")


def test_tokens(tmp_path: Path, monkeypatch: Patch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    says(next(ray_here()), Level.AMBER, "no token yet", "copy the head's")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    says(next(ray_here()), Level.RED, f"there is no file {tmp_path / 'none'}", "copy the head's token")
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")
    path = tmp_path / "home/.ray/auth_token"
    path.parent.mkdir(parents=True)
    path.write_text("secret")
    path.chmod(0o644)
    says(worst(ray_here()), Level.RED, "can be read by others (mode 644)", f"chmod 600 {path}")
    path.write_text("")
    path.chmod(0o600)
    says(next(ray_here()), Level.RED, "is empty", "ray get-auth-token --generate")


def test_the_port_of_a_head_that_somebody_else_has(monkeypatch: Patch):
    monkeypatch.setattr(ports, "_listeners", lambda: iter([("raylet", 40001, True)]))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(ports, "HEAD_PORT", taken.getsockname()[1])
        says(list(ray_here())[1], Level.AMBER, "is taken, by no Ray of yours", "--port")
        mine = [("gcs_server", ports.HEAD_PORT, True)]
        monkeypatch.setattr(ports, "_listeners", lambda: iter(mine))
        assert "port" not in {finding.name for finding in ray_here()}


def test_data(tmp_path: Path, monkeypatch: Patch):
    assert next(data_sets()).level is Level.AMBER
    monkeypatch.setenv("LADDER_DATA", str(tmp_path / "gone"))
    says(next(data_sets()), Level.RED, "gone: no such folder", "mount it")
    (tmp_path / "gone").mkdir()
    says(next(data_sets()), Level.AMBER, "no folder in there", "unpack")
    tree = write_tree(tmp_path / "data/mine", ("bolt",))
    monkeypatch.setenv("LADDER_DATA", str(tmp_path / "data"))
    says(next(data_sets()), Level.GREEN, "1 categories, 14 images", "")
    (tree / "bolt/test/good/000.png").write_bytes(b"no image")
    says(next(data_sets()), Level.RED, "problems", f"harness.data check {tree}")
    assert "per second and core" in next(decoding()).said


def test_weights_that_are_no_weights(tmp_path: Path, monkeypatch: Patch):
    assert {finding.level for finding in weights()} == {Level.GREEN}
    (tmp_path / "net.pth").write_text("version https://git-lfs.github.com/spec/v1\n")
    monkeypatch.setenv("LADDER_WEIGHTS", str(tmp_path))
    says(worst(weights()), Level.RED, "Git-LFS pointer", "get the file again")
    monkeypatch.setenv("LADDER_WEIGHTS", str(tmp_path / "gone"))
    says(worst(weights()), Level.RED, "gone: no such folder", "LADDER_WEIGHTS")


def test_weights_that_are_not_what_their_name_says(tmp_path: Path, monkeypatch: Patch):
    monkeypatch.setenv("LADDER_WEIGHTS", str(tmp_path))
    content = (DEMO_FOLDER / "teacher.safetensors").read_bytes()
    sha = hashlib.sha256(content).hexdigest()
    for name in ("net-" + sha[:8], "net-20240131", "net"):
        (tmp_path / f"{name}.safetensors").write_bytes(content)
    assert {finding.level for finding in weights()} == {Level.GREEN}
    (tmp_path / "net-0a1b2c3d.safetensors").write_bytes(content)
    says(worst(weights()), Level.RED, "says that its sha256 begins with 0a1b2c3d", "get the file again")


def sweep_file(folder: Path, root: Path, **keys: object) -> Path:
    content = {"name": "t", "dataset": {"name": "mvtec_ad", "root": str(root)}, "shots": [1],
               "methods": [{"name": "mean_image"}], "out": str(folder / "run")}  # fmt: skip
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(content | keys))
    return path


def test_a_sweep_file(tmp_path: Path, tree: Path):
    path = sweep_file(tmp_path, tree)
    plan, room, time = planned(path, cores=2, gpus=0)
    assert "3 trials, 0 done" in plan.said and plan.level is Level.GREEN
    assert "mean_image: 2 trials at a time" in room.said
    says(time, Level.AMBER, "is not known of: mean_image", "--limit 1")
    asking = [{"name": "mean_image", "resources": {"cpus": 8, "gpus": 2}}]
    path = sweep_file(tmp_path, tree, methods=asking)
    says(list(planned(path, 2, 0))[1], Level.AMBER, "asks for 8 cpus, this machine has 2", "cpus: 2")
    says(list(planned(path, 16, 0))[1], Level.AMBER, "there is none here", "if that is meant")
    says(list(planned(path, 16, 1))[1], Level.RED, "asks for 2 GPUs, there are 1", "resources")
    path = sweep_file(tmp_path, tmp_path / "gone")
    says(worst(planned(path, 2, 0)), Level.RED, "gone: no such folder", f"mend {path}")


def test_numbers_of_this_machine(monkeypatch: Patch, capsys: pytest.CaptureFixture[str]):
    def here(command: list[str], **options: object) -> SimpleNamespace:
        """This process has torch already; how one of its own starts is seen below."""
        numerics._main(command[-1])
        return SimpleNamespace(stdout=capsys.readouterr().out, returncode=0)

    monkeypatch.setattr(numerics.subprocess, "run", here)
    found = list(numerics.numerics("cpu"))
    assert {f.level for f in found} == {Level.GREEN}, found
    assert [f.name for f in found if f.topic == "numbers"][:2] == ["device", "same twice"]


def test_a_device_that_is_not_there():
    says(worst(numerics.numerics("cuda:0")), Level.RED, "cuda:0 cannot be used", "")


def test_a_process_that_dies_or_hangs(monkeypatch: Patch):
    run = subprocess.run

    def instead(code: str) -> Callable[..., object]:
        return lambda command, **options: run([sys.executable, "-c", code], **options)

    monkeypatch.setattr(numerics.subprocess, "run", instead("import os; os.abort()"))
    says(worst(numerics.numerics("cpu")), Level.RED, "ended early", "install the packages anew")
    monkeypatch.setattr(numerics, "SECONDS", 0.2)
    monkeypatch.setattr(numerics.subprocess, "run", instead("import time; time.sleep(60)"))
    says(worst(numerics.numerics("cpu")), Level.RED, "did not answer", "restart")


def test_a_look_that_fails_ends_no_other():
    def faints() -> Iterator[Finding]:
        yield green("x", "first", "fine")
        raise RuntimeError("two\nlines")

    first, second = looked("x", faints)
    assert first.level is Level.GREEN
    says(second, Level.RED, "RuntimeError: two lines", "report")


def test_the_command(tmp_path: Path, tree: Path, capsys: pytest.CaptureFixture[str]):
    path = sweep_file(tmp_path, tree)
    words = ["--quick", "--config", str(path), "--out", str(tmp_path), "--cache", str(tmp_path)]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith(": fit") and any(line.startswith("amber data") for line in lines)
    assert main([*words, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["fit"] and content["differences"] == []
    assert main(["--quick", "--config", str(tmp_path / "gone.yaml")]) == 1
    assert "not fit" in capsys.readouterr().out


def test_machines_that_differ():
    def one(version: str, free: int) -> Machine:
        return Machine(
            "h", (green("software", "torch", "", version=version), green("disk", "run", "", free_gib=free))
        )

    told = differences({"a": one("2.14", 1), "b": one("2.13", 2), "c": Machine("c", ())})
    assert told == [("software torch", "version", {"a": "2.14", "b": "2.13", "c": "–"})]


def test_a_cluster_that_lets_nobody_in(monkeypatch: Patch):
    import ray

    from sweeps.ray_doctor import examine_cluster

    def refused(**options: object) -> None:
        raise ConnectionError(f"Failed to connect to Ray cluster at {options['address']}")

    monkeypatch.setattr(ray, "init", refused)
    with pytest.raises(ConfigError, match=r"at head:1\. Does it run.*Unauthenticated.*RAY_AUTH_MODE=token"):
        examine_cluster("head:1", Asked())


def test_what_is_looked_at_travels():
    assert examine(Asked(numbers=False)).findings

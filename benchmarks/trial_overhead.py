"""What the harness itself costs per trial: no-op trials through Ray Tune, one per work unit and grouped.

    python -m benchmarks.trial_overhead [--trials 1000 10000] [--nodes 4]

CPU seconds are those of all processes of the run together (driver, Tune, raylet, workers), read from the
operating system's accounting of the session that the run is started in; wall time depends on the machine.
With `--nodes N` the sweeps run on a cluster of so many raylets on this machine, two slots each.
The peer is Ray Tune as it is usually used: one fresh actor process per trial (`--peer N` trials of it).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

ROOT = Path(__file__).parent.parent
TICK = os.sysconf("SC_CLK_TCK")

PEER = """
import os, sys
os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AIR_NEW_OUTPUT="0", TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1")
import ray
from ray import tune
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
space = {"number": tune.grid_search(list(range(int(sys.argv[1]))))}
run = tune.RunConfig(storage_path=sys.argv[2], verbose=0)
nothing = tune.with_resources(lambda config: {"score": 0.0}, {"cpu": 1})
tune.Tuner(nothing, param_space=space, run_config=run).fit()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[1000])
    parser.add_argument(
        "--peer", type=int, default=20, metavar="N", help="trials of plain Ray Tune; 0 for none"
    )
    parser.add_argument(
        "--nodes", type=int, default=0, metavar="N", help="raylets; by default a Ray of its own"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, cluster(options.nodes) as address:
        place = Path(folder)
        images(place / "data")
        print(f"{'trials':>8} {'per unit':>9} {'CPU s each':>11} {'wall s':>8} {'files':>6} {'rerun s':>8}")
        for trials in options.trials:
            for size in (1, 20):
                ours = measure(place, trials, size, address)
                print("{:8d} {:9d} {:11.4f} {:8.1f} {:6d} {:8.2f}".format(trials, size, *ours), flush=True)
        if options.peer:
            peer(place, options.peer, ours[0])


@contextmanager
def cluster(nodes: int) -> Iterator[str]:
    """The address of a cluster of raylets; "local" where none are asked for."""
    if not nodes:
        yield "local"
        return
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    os.environ["PYTHONPATH"] = environment()["PYTHONPATH"]
    from ray.cluster_utils import Cluster

    size = {"object_store_memory": 80 << 20}
    raylets = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **size}
    )
    try:
        for _ in range(nodes):
            raylets.add_node(num_cpus=2, **size)
        yield raylets.address
    finally:
        raylets.shutdown()


def images(root: Path) -> None:
    """The smallest data set there is: one category, four images, none like another."""
    for grey, name in enumerate(("train/good/0", "train/good/1", "test/good/0", "test/square/0")):
        path = root / "dot" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 20 + 40 * grey, np.uint8)).save(path)
    mask = np.zeros((8, 8), np.uint8)
    mask[2:4, 2:4] = 255
    path = root / "dot/ground_truth/square/0_mask.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(mask).save(path)


def measure(place: Path, trials: int, size: int, address: str) -> tuple[float, float, int, float]:
    """CPU seconds per trial, wall seconds, files left, seconds to recognise the finished run."""
    run = place / f"run-{trials}-{size}"
    config = {
        "name": "overhead",
        "dataset": {"name": "mvtec_ad", "root": str(place / "data")},
        "shots": [1],
        "seeds": 1,
        "methods": [{"name": "no_op", "grid": {"number": list(range(trials))}}],
        "unit_trials": size,
        "out": str(run),
        "cache": {"enabled": False},
    }
    path = place / "overhead.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "harness.sweep", str(path), "--address", address]
    cpu, wall = timed(command)
    began = time.perf_counter()
    again = subprocess.run(command, env=environment(), check=True, capture_output=True, text=True)
    if f"{trials} already there" not in again.stdout:
        raise SystemExit(again.stdout)
    files = sum(p.is_file() for p in run.rglob("*"))
    return cpu / trials, wall, files, time.perf_counter() - began


def environment() -> dict[str, str]:
    """The no-op method is registered as an outside package registers its own."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "plugin")])}


def timed(command: list[str]) -> tuple[float, float]:
    """CPU and wall seconds of a command with everything that it starts."""
    # raylets are this process's children, as the run is: what they had spent before is not the run's
    before = session_seconds(os.getpid())
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    spent: dict[int, float] = {}
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(0.2):
            spent.update(session_seconds(os.getpid()))

    sampler = threading.Thread(target=sample)
    sampler.start()
    code = process.wait()
    stop.set()
    sampler.join()
    if code:
        raise SystemExit(f"{command}: exit code {code}")
    of_run = sum(s - before.get(pid, 0.0) for pid, s in spent.items() if pid != os.getpid())
    return of_run, time.perf_counter() - began


def session_seconds(session: int) -> dict[int, float]:
    """process id -> CPU seconds so far, of every process descended from the session's leader."""
    parents, seconds = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(path.parent.name)
        parents[pid] = int(fields[1])
        seconds[pid] = (int(fields[11]) + int(fields[12])) / TICK
    return {pid: s for pid, s in seconds.items() if descends(pid, session, parents)}


def descends(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while pid and pid != ancestor:
        pid = parents.get(pid, 0)
    return pid == ancestor


def peer(place: Path, trials: int, ours: float) -> None:
    """Ray Tune with a fresh process per trial, in the same run of this benchmark."""
    cpu, _ = timed([sys.executable, "-c", PEER, str(trials), str(place / "peer")])
    each = cpu / trials
    print(f"plain Ray Tune, a process per trial: {each:.3f} CPU s each, {each / ours:.0f} times ours")


if __name__ == "__main__":
    main()

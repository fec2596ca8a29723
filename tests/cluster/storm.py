"""Kills at random, until a sweep is through nevertheless: `python tests/cluster/storm.py [--kills 200]`.

Four raylets on this machine, half of the trials on cards (on paper, so that metrics run beside them). Killed
by SIGKILL are driver, worker, supervisor, measurer, raylet, node (a raylet with all its processes; another
one joins), head (with the cluster; a new one comes up). A driver that is gone is started again with the same
command. The last line counts what must be 0: lost, recomputed and duplicate rows, and hangs.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent), str(ROOT)]

import pyarrow.parquet as pq  # noqa: E402
import pytest  # noqa: E402
from conftest import write_tree  # noqa: E402
from raylets import add, children, kill, raylets  # noqa: E402

from harness.results import read_run  # noqa: E402

HANG_SECONDS = 180  # without a new row, while nothing is killed: many times what a trial and a node take
KINDS = ("driver", "worker", "supervisor", "measurer", "raylet", "node", "head")
WEIGHTS = (4, 6, 5, 3, 2, 2, 1)
TITLES = {"worker": "ray::Worker", "supervisor": "ray::_Inner", "measurer": "ray::Measurer"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=int, help="by default as many as the kills take")
    parser.add_argument("--drive", nargs=2, metavar=("CONFIG", "ADDRESS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        raise SystemExit(drive(*options.drive))
    with tempfile.TemporaryDirectory() as folder:
        storm = Storm(Path(folder), options.kills, options.seed, options.trials or 40 + 3 * options.kills)
        while not storm.through():
            storm.season()
        raise SystemExit(storm.summary())


def drive(config: str, address: str) -> int:
    """A driver that believes in cards on paper."""
    from harness.sweep import main as sweep
    from sweeps.ray import cards

    cards.first_use = lambda: cards.Tried(None, (24_000,))
    return sweep([config, "--address", address])


class Storm:
    """One sweep and what befalls it."""

    def __init__(self, place: Path, kills: int, seed: int, trials: int):
        self.place, self.kills, self.random = place, kills, random.Random(seed)
        self.run, self.config = place / "run", place / "storm.yaml"
        self.done: Counter[str] = Counter()
        self.seen: dict[str, Any] = {}
        self.recomputed, self.hangs, self.code = set[str](), 0, -1
        seeds = -(-trials // 6)
        content = {
            "name": "storm",
            "dataset": {"name": "mvtec_ad", "root": str(write_tree(place / "data", ("bolt", "cap", "nut")))},
            "shots": [1],
            "seeds": seeds,
            "methods": [
                {"name": "faulty", "params": {"seconds": 1.0}, "resources": {"gpus": 0}},
                {"name": "faulty", "params": {"seconds": 1.1}, "resources": {"gpus": 0.5}},
            ],
            "out": str(self.run),
            "cache": {"enabled": False},
        }
        self.planned = 6 * seeds
        self.config.write_text(yaml.safe_dump(content))

    def through(self) -> bool:
        # a trial whose worker was killed in both of its attempts is a row that says so: no reason to go on
        return self.code == 0 or (self.code == 1 and self.done.total() >= self.kills)

    def season(self) -> None:
        """One cluster's life: until its head is killed, or the sweep is through."""
        with pytest.MonkeyPatch.context() as patch, raylets(patch, num_cpus=0) as cluster:
            patch.setenv("LADDER_CACHE", str(self.place / "cache"))
            for number in range(3):
                add(cluster, num_cpus=2, num_gpus=number % 2)
            while not self.through():
                driver = self._start(cluster.address)
                if not self._weather(cluster, driver):
                    return

    def _start(self, address: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, str(HERE / "storm.py"), "--drive", str(self.config), address]
        output = (self.place / "output").open("ab")
        return subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT, start_new_session=True)

    def _weather(self, cluster: Any, driver: "subprocess.Popen[bytes]") -> bool:
        """Kills while a driver lives; False where the head was among them."""
        last = time.monotonic()
        while driver.poll() is None:
            time.sleep(self.random.uniform(1.0, 6.0))
            if self._look():
                last = time.monotonic()
            if time.monotonic() - last > HANG_SECONDS:
                self.hangs += 1
                print("hangs:", (self.place / "output").read_text()[-2000:], flush=True)
                driver.kill()
            # until a driver has begun, there is nothing to disturb
            if self.done.total() < self.kills and self.seen:
                kind = self.random.choices(KINDS, WEIGHTS)[0]
                if self._strike(kind, cluster, driver):
                    self.done[kind] += 1
                    last = time.monotonic()
                    print(f"{self.done.total():4d} {kind:10s} {len(self.seen)}/{self.planned}", flush=True)
                    if kind == "head":
                        driver.wait()
                        return False
        self._look()
        self.code = driver.returncode
        return True

    def _strike(self, kind: str, cluster: Any, driver: "subprocess.Popen[bytes]") -> bool:
        node = self.random.choice(sorted(cluster.worker_nodes, key=id))
        if kind == "driver":
            driver.kill()
            driver.wait()
        elif kind == "head":
            cluster.head_node.all_processes["gcs_server"][0].process.kill()
        elif kind in ("raylet", "node"):
            if kind == "node":
                kill(cluster, node)
            else:
                cluster.remove_node(node, allow_graceful=False)
            carded = any(left._ray_params.num_gpus for left in cluster.worker_nodes)
            add(cluster, num_cpus=2, num_gpus=self.random.randint(0, 1) if carded else 1)
        else:
            return self._one_of(TITLES[kind], cluster)
        return True

    def _one_of(self, title: str, cluster: Any) -> bool:
        found = [p for n in cluster.worker_nodes for p in children(n) if _title(p).startswith(title)]
        if not found:
            return False
        with suppress(ProcessLookupError):
            os.kill(self.random.choice(found), signal.SIGKILL)
        return True

    def _look(self) -> bool:
        """Whether there are new rows; an ok row that has another end than before was computed again."""
        if not (self.run / "plan.parquet").exists():
            return False
        rows = read_run(self.run).trials
        ok = dict(zip(rows["trial_id"], rows["finished_at"].astype(str), strict=True)) if len(rows) else {}
        self.recomputed |= {trial for trial, end in ok.items() if self.seen.get(trial, end) != end}
        self.recomputed |= self.seen.keys() - ok.keys()
        new = len(ok) > len(self.seen)
        self.seen |= ok
        return new

    def summary(self) -> int:
        ids = [
            i
            for path in sorted((self.run / "trials").glob("*.parquet"))
            for i in pq.read_table(path)["trial_id"].to_pylist()
        ]
        rows = read_run(self.run).trials
        crashed = int((rows["status"] == "crashed").sum())
        lost = self.planned - int((rows["status"] == "ok").sum()) - crashed
        twice = len(ids) - len(set(ids))
        kills = ", ".join(f"{n} {kind}" for kind, n in self.done.items())
        print(
            f"{self.done.total()} kills ({kills}), {self.planned} trials: {lost} lost, "
            f"{crashed} killed twice, "
            f"{len(self.recomputed)} recomputed, {twice} duplicate, {self.hangs} hanging"
        )
        return int(bool(lost or self.recomputed or twice or self.hangs))


def _title(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


if __name__ == "__main__":
    main()

"""What each command costs on a run of 10,000 trials × 300 images: seconds, peak memory, size of pages.

    python -m benchmarks.reports_scale [--trials 10000] [--images 300] [--keep FOLDER] [--only report,diff]
    python -m benchmarks.reports_scale --runs 50 --images 20      # one site over 50 runs, built twice

The runs are drawn: 20 methods, 10 categories, 5 numbers of shots, as many seeds as it takes; scores from a
normal distribution, metrics computed from them; a quarter of the methods has trials that failed. Seconds
are of the wall clock, memory is the largest resident set of the process (`ru_maxrss`).
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import rankdata

from harness.results import write_plan, write_sweep
from harness.results.schema import PLAN, SCHEMAS
from harness.results.tables import Part
from tests.browser import CHROMIUM, browser

METHODS, CATEGORIES, SHOTS = 20, 10, (1, 2, 4, 8, None)
BY_SEED = METHODS * CATEGORIES * len(SHOTS)
FRAIL = 15  # methods from here on do not get through everything
A_PART = 1000  # trials in a part, as the writer seals them
SUBSETS = ("all", "logical", "structural", "mean")
MEASURES = (("auroc", None), ("ap", None), ("auspro", 0.05), ("auspro", 0.3))
BEGAN = datetime(2026, 1, 2, tzinfo=UTC)
LARGEST = 5_000_000  # bytes that a page may have


def write_run(path: Path, trials: int, images: int, number: int = 0) -> Path:
    """A run; runs of different numbers have other seeds, but for the first one."""
    seeds = -(-trials // BY_SEED)
    rows = [row for seed in range(seeds) for row in _rows(seed + 1000 * number, path.name)][:trials]
    config = {"name": path.name, "dataset": {"name": "mvtec_loco"}, "seeds": seeds, "out": str(path)}
    write_plan(path, [{name: row.get(name) for name in PLAN.names} for row in rows])
    for part in range(-(-len(rows) // A_PART)):
        Part(path, part).write(_tables(rows[part * A_PART : (part + 1) * A_PART], images))
    write_sweep(path, config)
    return path


def _rows(seed: int, sweep: str) -> Iterator[dict[str, Any]]:
    for k in range(BY_SEED):
        method, category, shots = k % METHODS, k // METHODS % CATEGORIES, SHOTS[k // (METHODS * CATEGORIES)]
        drawn = seed % 1000 if seed % 1000 == 0 else seed
        place = [method, category, shots, drawn]
        yield _row(method, category, shots, drawn, hashlib.sha256(json.dumps(place).encode()), sweep)


def _row(method: int, category: int, shots: int | None, seed: int, key: Any, sweep: str) -> dict[str, Any]:
    chance = int(key.hexdigest()[-8:], 16)
    bad = method >= FRAIL  # others are complete, and so have a rank
    status = "failed" if bad and chance % 8 == 0 else "skipped" if bad and chance % 12 == 1 else "ok"
    ended = BEGAN + timedelta(seconds=chance % 10**6)
    reasons = {"failed": f"tried to allocate {chance % 97}.{chance % 7} GiB", "skipped": "no part masks"}
    trace = f'Traceback (most recent call last):\n  File "m.py", line {chance % 400}, in fit\n' + "  x\n" * 20
    return {
        "trial_id": key.hexdigest()[:16],
        "sweep": sweep,
        "method": f"method_{method:02d}",
        "method_version": 1,
        "params": json.dumps({"backbone": "wide_resnet50_2", "k": 9, "layers": ["layer2", "layer3"]}),
        "dataset": "mvtec_loco",
        "category": f"category_{category}",
        "fingerprint": f"{category:064d}",
        "shots": shots,
        "split_seed": seed,
        "run_seed": seed,
        "status": status,
        "reason": reasons.get(status),
        "error_type": "OutOfMemoryError" if status == "failed" else None,
        "traceback": trace if status == "failed" else None,
        "support": [
            f"train/good/{(seed * 7 + i * 31 + category) % 351:03d}.png" for i in range(shots or 351)
        ],
        "n_train": shots or 351,
        "fit_seconds": chance % 1000 / 10,
        "score_seconds": chance % 300 / 10,
        "metric_seconds": 1.0,
        "total_seconds": chance % 1300 / 10,
        "ms_per_image": chance % 900 / 10,
        "peak_rss_mib": 2000 + chance % 999,
        "peak_gpu_mib": 3000 + chance % 999,
        "device": "cuda:0",
        "gpu_name": "NVIDIA H100 80GB HBM3",
        "gpu_share": 0.25,
        "host": f"node{chance % 16}",
        "attempt": 1,
        "weights": [{"name": "wide_resnet50_2", "sha256": "ab" * 32}],
        "marks": [],
        "versions": json.dumps({"ladder": "0.1", "torch": "2.15"}),
        "git_commit": "0123456789abcdef0123456789abcdef01234567",
        "git_dirty": False,
        "started_at": ended - timedelta(minutes=2),
        "finished_at": ended,
    }


def _tables(rows: Sequence[Mapping[str, Any]], images: int) -> dict[str, pa.Table]:
    ok = [row for row in rows if row["status"] == "ok"]
    scores = np.stack([_scores(row, images) for row in ok])
    trials = [dict(row) | {"n_test": images} for row in rows]
    return {
        "trials": pa.Table.from_pylist(trials, SCHEMAS["trials"]),
        "metrics": _metrics([row["trial_id"] for row in ok], scores),
        "scores": _score_table([row["trial_id"] for row in ok], scores),
    }


def _labels(images: int) -> NDArray[np.intp]:
    """0 good, 1 logical, 2 structural: a third of the images each."""
    return np.arange(images) * 3 // images


def _scores(row: Mapping[str, Any], images: int) -> NDArray[np.float64]:
    """(images,): anomalous ones higher, the more the better the method and the more shots."""
    random = np.random.default_rng(int(row["trial_id"], 16))
    hard = np.random.default_rng(int(row["category"][-1])).normal(size=images)  # the same for all methods
    lift = 0.3 + 0.08 * int(row["method"][-2:]) + 0.1 * np.log2(row["shots"] or 32)
    return lift * (_labels(images) > 0) + 0.7 * hard + 0.7 * random.normal(size=images)


def _metrics(ids: Sequence[str], scores: NDArray[np.float64]) -> pa.Table:
    labels = _labels(scores.shape[1])
    areas = {"logical": _areas(scores, labels, 1), "structural": _areas(scores, labels, 2)}
    areas["all"] = (areas["logical"] + areas["structural"]) / 2  # as many images of either kind
    areas["mean"] = areas["all"]
    columns: dict[str, list[Any]] = {
        name: [] for name in ("trial_id", "subset", "metric", "fpr_limit", "value")
    }
    for (metric, limit), subset in ((m, s) for m in MEASURES for s in SUBSETS):
        columns["trial_id"] += ids
        columns["subset"] += [subset] * len(ids)
        columns["metric"] += [metric] * len(ids)
        columns["fpr_limit"] += [limit] * len(ids)
        columns["value"] += (areas[subset] * (1 if metric == "auroc" else 0.8)).tolist()
    counts = {
        "n_normal": int((labels == 0).sum()),
        "n_anomalous": int((labels > 0).sum()),
        "metric_version": 1,
    }
    n = len(columns["value"])
    return _in_schema("metrics", columns | {name: [value] * n for name, value in counts.items()}, n)


def _areas(scores: NDArray[np.float64], labels: NDArray[np.intp], kind: int) -> NDArray[np.float64]:
    """(trials,): AUROC of one kind of anomalies against the good images."""
    of_them = np.isin(labels, (0, kind))
    positive = labels[of_them] == kind
    ranks = rankdata(scores[:, of_them], axis=1)[:, positive].sum(1)
    n, m = int(positive.sum()), int((~positive).sum())
    return (ranks - n * (n + 1) / 2) / (n * m)


def _score_table(ids: Sequence[str], scores: NDArray[np.float64]) -> pa.Table:
    images = scores.shape[1]
    kinds = np.array(["good", "logical_anomalies", "structural_anomalies"])[_labels(images)]
    labels = np.array(["good", "logical", "structural"])[_labels(images)]
    names = [f"test/{kind}/{i:03d}.png" for i, kind in enumerate(kinds)]
    columns = {
        "trial_id": np.repeat(np.array(ids), images),
        "image": np.tile(np.array(names), len(ids)),
        "label": np.tile(labels, len(ids)),
        "score": scores.ravel(),
    }
    return _in_schema("scores", columns, scores.size)


def _in_schema(name: str, columns: Mapping[str, Any], rows: int) -> pa.Table:
    arrays = [
        pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(rows, f.type)
        for f in SCHEMAS[name]
    ]
    return pa.table(arrays, schema=SCHEMAS[name])


def commands(runs: Sequence[Path], out: Path) -> dict[str, list[str]]:
    """Name -> words after `python -m`, in this order."""
    first, last, every = str(runs[0]), str(runs[-1]), [str(run) for run in runs]
    return {
        "report": ["reports", first, "--out", f"{out / 'report'}"],
        "diff": ["reports", "diff", first, last, "--out", f"{out / 'diff'}"],
        "merge": ["reports", "merge", first, last, "--out", f"{out / 'merge'}"],
        "status": ["harness.status", first],
        "verify": ["harness.verify", first],
        "site": ["reports", "site", *every, "--out", f"{out / 'site'}"],
        "site again": ["reports", "site", *every, "--out", f"{out / 'site'}"],
        "site, 1 new": ["reports", "site", *every, "--out", f"{out / 'site'}"],
    }


def measured(words: Sequence[str]) -> tuple[float, float, float, int]:
    """Seconds by the clock and of the CPU, peak MiB and exit code of `python -m …`."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = usage.ru_utime + usage.ru_stime
    return time.monotonic() - began, seconds, usage.ru_maxrss / 1024, process.returncode


def written(folder: Path) -> str:
    """How much lies in a folder, and the largest page or script of it."""
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    pages = [path for path in files if path.suffix in (".html", ".js")]
    if not pages:
        return f"{len(files)} files" if files else ""
    largest = max(pages, key=lambda path: path.stat().st_size)
    size, total = largest.stat().st_size, sum(path.stat().st_size for path in files)
    over = "  TOO LARGE" if size > LARGEST else ""
    return f"{len(files)} files, {total / 1e6:.1f} MB; largest {largest.name} {size / 1e6:.2f} MB{over}"


def show(name: str, words: Sequence[str], folder: Path) -> None:
    wall, cpu, memory, code = measured(words)
    times = f"{wall:7.1f} s {cpu:7.1f} s of CPU {memory:6.0f} MiB"
    print(f"{name:>12} {times}  exit {code}  {written(folder)}", flush=True)


def opened(page: Path) -> None:
    """How long Chromium takes for a page, and for its first answer to a choice."""
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as tab:
        tab.open(page)
        entry = "performance.getEntriesByType('navigation')[0]"
        loaded, done = (tab.run(f"{entry}.{name}") for name in ("domContentLoadedEventEnd", "loadEventEnd"))
        script = "document.querySelector('#trial-status')"
        answer = (
            f"(() => {{ if (!{script}) return 0; const began = performance.now(); {script}.selectedIndex = 1;"
            f" {script}.dispatchEvent(new Event('change')); document.body.offsetHeight;"
            " return performance.now() - began; })()"
        )
        heap = tab.run("performance.memory.usedJSHeapSize") / 1e6
        print(
            f"{page.name:>12}: DOMContentLoaded {loaded:.0f} ms, loaded {done:.0f} ms, a choice of status "
            f"{tab.run(answer):.0f} ms, {heap:.0f} MB of heap"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument(
        "--only", default="", metavar="NAMES", help="some of report,diff,merge,status,verify,site"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where the runs are, or are to be, kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        keep = options.keep or Path(folder)
        runs = [keep / f"run{i:02d}" for i in range(options.runs)]
        began = time.monotonic()
        for number, path in enumerate(runs):
            if not (path / "sweep.json").exists():
                write_run(path, options.trials, options.images, number)
        took = time.monotonic() - began
        print(f"{len(runs)} runs of {options.trials} trials, {options.images} images: {took:.0f} s")
        compare(runs, Path(folder) / "out", [name for name in options.only.split(",") if name])


def compare(runs: Sequence[Path], out: Path, only: Sequence[str]) -> None:
    """Every command, then how its pages open; of many runs the site alone."""
    wanted = only or (["site"] if len(runs) > 2 else [])
    for name, words in commands(runs, out).items():
        kind = name.split()[0].rstrip(",")
        if wanted and kind not in wanted:
            continue
        if name == "site, 1 new":
            os.utime(runs[0] / "sweep.json")
        show(name, words, out / kind)
    pages = [out / "report/report.html", out / "site/index.html", *sorted(out.glob("site/boards/*"))[:1]]
    for page in pages if CHROMIUM else []:
        if page.exists():
            opened(page)


if __name__ == "__main__":
    main()

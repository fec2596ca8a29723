"""PSAD's patch bank against other exact searches: processor time, peak memory, and the largest difference.

    python -m benchmarks.psad_banks                          1 minute
    python -m benchmarks.psad_banks --peer VENV/bin/python   with anomalib, installed there
    python -m benchmarks.psad_banks --images 352 --queries 1 --out 0   a full category of LOCO
    python -m benchmarks.psad_banks --features FILE.npz      arrays train and test, (images, patches, d)

Every contestant is a process of its own that searches the same patches on one thread. Ours gives the
nearest patch of every training image; the peers, which are faiss (`methods.shared.nearest`) and the search of
anomalib's PatchCore, that of the whole bank. For leave-one-out the peers' bank is built again without the
image, as the released PSAD code does.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

DECAY = 1.7  # of the spectrum of patch features; 99 % of it then lies in 230 of 1536 dimensions
COMMON = """
import json, sys, time
import numpy as np, torch
torch.set_num_threads(1)
folder = sys.argv[1]

def memory(name):
    return int(next(l for l in open("/proc/self/status") if l.startswith(name)).split()[1]) / 2**20

def timed(work):
    start = time.process_time()
    result = work()
    return time.process_time() - start, result

"""
REPORT = """
empty = memory("VmRSS")
build, bank = timed(lambda: Bank(np.load(folder + "/train.npy")))
queries = np.load(folder + "/test.npy")
seconds, scores = timed(lambda: [bank.score(q) for q in queries])
peak = memory("VmHWM") - empty
out = int(sys.argv[2])
loo, references = timed(lambda: [bank.without(k) for k in range(out)])
found = dict(build=build, seconds=seconds, loo=loo, peak=peak, scores=scores, references=references)
print(json.dumps(found))
"""
OURS = """
from methods.psad.banks import PatchBank, max_min

class Bank:
    def __init__(self, rows):
        self.bank = PatchBank(rows)
        self.bank.minima(rows[0, :1])
    def score(self, q):
        return max_min(self.bank.minima(q))
    def without(self, k):
        return max_min(self.bank.minima(self.bank.rows[k], without=k))
"""
FAISS = """
import faiss
from methods.shared.nearest import MemoryBank
faiss.omp_set_num_threads(1)

class Bank:
    def __init__(self, rows):
        self.rows = rows
        self.bank = MemoryBank(rows.reshape(-1, rows.shape[2]))
    def score(self, q):
        return float(self.bank.search(q)[0].max())
    def without(self, k):
        others = np.delete(self.rows, k, axis=0)
        return float(MemoryBank(others.reshape(-1, others.shape[2])).search(self.rows[k])[0].max())
"""
ANOMALIB = """
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
torch.set_grad_enabled(False)

class Bank:
    def __init__(self, rows):
        self.rows = torch.from_numpy(rows)
        self.model = PatchcoreModel.__new__(PatchcoreModel)
        torch.nn.Module.__init__(self.model)
        self.model.memory_bank = self.rows.flatten(0, 1)
    def score(self, q):
        return float(self.model.nearest_neighbors(torch.from_numpy(q), 1)[0].max())
    def without(self, k):
        whole = self.model.memory_bank
        self.model.memory_bank = torch.cat([self.rows[:k], self.rows[k + 1:]]).flatten(0, 1)
        distance = self.score(self.rows[k].numpy())
        self.model.memory_bank = whole
        return distance
"""


def patch_like(images: int, patches: int, dimension: int, seed: int) -> np.ndarray:
    """Normal vectors with the spectrum of patch features, image by image."""
    rng = np.random.default_rng(seed)
    scale = np.arange(1, dimension + 1, dtype=np.float32) ** np.float32(-DECAY / 2)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(dimension, dimension)))[0].astype(
        np.float32
    )
    found = np.empty((images, patches, dimension), np.float32)
    for image in found:
        image[:] = (rng.standard_normal((patches, dimension), np.float32) * scale) @ rotation
    return found


def run(python: str, code: str, folder: Path, out: int) -> dict[str, Any]:
    """Search in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [python, "-c", COMMON + code + REPORT, str(folder), str(out)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def shown(name: str, found: dict[str, Any], ours: dict[str, Any], number: tuple[int, int]) -> str:
    """One line."""
    line = f"{name:9s} {found['build']:6.1f} CPU s to build, {found['seconds'] / number[0]:7.2f} per image"
    if number[1]:
        line += f", {found['loo'] / number[1]:7.2f} per image left out"
    line += f", peak {found['peak']:.2f} GiB"
    if found is ours:
        return line
    ratios = [found[key] / ours[key] for key, n in zip(("seconds", "loo"), number, strict=True) if n]
    pairs = zip((found["scores"], found["references"]), (ours["scores"], ours["references"]), strict=True)
    largest = max((abs(a - b) / b for x, y in pairs for a, b in zip(x, y, strict=True)), default=0)
    return (
        line + f"; ours is {' and '.join(f'{r:.1f}' for r in ratios)} times as fast, differs by {largest:.0e}"
    )


def main() -> None:
    """Run every contestant once."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--patches", type=int, default=1024)
    parser.add_argument("--dimension", type=int, default=1536)
    parser.add_argument("--queries", type=int, default=4)
    parser.add_argument("--out", type=int, default=2, help="images left out")
    parser.add_argument("--features", type=Path, help="features to search instead of made-up ones")
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has anomalib")
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        if options.features:
            arrays = np.load(options.features)
            train, test = arrays["train"], arrays["test"][: options.queries]
        else:
            train = patch_like(options.images, options.patches, options.dimension, 1)
            test = patch_like(options.queries, options.patches, options.dimension, 2)
        np.save(folder / "train.npy", train)
        np.save(folder / "test.npy", test)
        print(
            f"bank {train.shape}, {train.nbytes / 2**30:.2f} GiB; {len(test)} images, {options.out} left out"
        )
        number = (len(test), options.out)
        del train, test
        contestants = {"ours": (sys.executable, OURS), "faiss": (sys.executable, FAISS)}
        contestants |= {"anomalib": (options.peer, ANOMALIB)} if options.peer else {}
        ours: dict[str, Any] = {}
        for label, (python, code) in contestants.items():
            found = run(python, code, folder, options.out)
            ours = ours or found
            print(shown(label, found, ours, number), flush=True)


if __name__ == "__main__":
    main()

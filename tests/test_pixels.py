"""Resized images: the right ones, each decoded once for all sizes, in good time."""

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from data_trees import planned
from PIL import Image

from harness.artifacts import ArtifactStore, no_store
from harness.config import load
from harness.data import ImageSet
from harness.errors import DataError
from harness.method import Resources
from methods import METHODS
from methods.shared import pixels
from methods.shared.ahead import FAR, Ahead
from methods.shared.pixels import Geometry, batches, resized, working
from sweeps.drive import _setting
from sweeps.expand import expand
from sweeps.worker import execute

SIZES = (Geometry.square(9), Geometry.square(12, 8), Geometry(5, 14), Geometry.square(30))
N = 50


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty images, the first in more than eight bits."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(1, N):
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(folder / f"{i:03d}.png")
    Image.fromarray(rng.integers(0, 65536, (20, 24), dtype=np.uint16)).save(folder / "000.png")
    return folder


@pytest.fixture
def images(folder: Path) -> ImageSet:
    return planned(sorted(folder.glob("*.png")))


@pytest.fixture(autouse=True)
def no_memory() -> Iterator[None]:
    yield
    pixels._AHEAD.forget()


def twin(images: ImageSet, geometry: Geometry) -> list[np.ndarray]:
    """One image after the other: decode, resize, cut."""
    found = []
    for image in images:
        picture = Image.fromarray(image).resize((geometry.width, geometry.height), Image.Resampling.BILINEAR)
        top, left = ((geometry.height - (s := geometry.crop or 0)) // 2, (geometry.width - s) // 2)
        found.append(np.asarray(picture)[top : top + s, left : left + s] if s else np.asarray(picture))
    return found


def same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often each image is decoded."""
    seen: Counter[str] = Counter()
    real, lock = ImageSet.picture, threading.Lock()

    def picture(self: ImageSet, index: int, key: str = "") -> Image.Image:
        with lock:
            seen[self.ids[index]] += 1
        return real(self, index, key)

    with monkeypatch.context() as patched:
        patched.setattr(ImageSet, "picture", picture)
        yield seen


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kept", [True, False], ids=["stored", "not_stored"])
def test_pixels_are_those_of_the_plain_loop(images: ImageSet, tmp_path: Path, threads: int, kept: bool):
    expected = {size: twin(images, size) for size in SIZES}
    with working(threads, SIZES[:3]):
        store = ArtifactStore(tmp_path) if kept else no_store()
        for size in (*SIZES, *SIZES):
            parts = [resized(part, size, store) for part in batches(images, 16)]
            assert same([image for part in parts for image in part], expected[size]), size
            assert same(resized(images, size, store), expected[size])
            assert not any(image.flags.writeable for part in parts for image in part)


def test_an_image_is_decoded_once_for_all_sizes(images, tmp_path, monkeypatch):
    with watched(monkeypatch) as seen, working(2, SIZES):
        for size in reversed(SIZES):
            for part in batches(images, 7):
                resized(part, size, store := ArtifactStore(tmp_path))
            assert store.counters["resized.computes"] in (0, 7, 1) or size == SIZES[-1]
    assert set(seen.values()) == {1} and len(seen) == N


def test_without_a_plan_every_size_costs_a_decode_and_stores_nothing_else(images, tmp_path, monkeypatch):
    """Images that are not of the data set (a folder of others, arrays) are wanted at one size alone."""
    others = ImageSet(images.ids, images.sources)
    arrays = ImageSet.of_arrays(list(images.subset(range(4))))
    store = ArtifactStore(tmp_path)
    with watched(monkeypatch) as seen, working(2, SIZES):
        for some, size in ((others, SIZES[0]), (others, SIZES[1]), (arrays, SIZES[0])):
            resized(some, size, store)
    assert set(seen.values()) == {1, 2} and store.counters["decodes"] == 2 * N + 4
    assert store.counters["resized.computes"] == 2 * N + 4


def test_what_is_lacking_alone_is_made(images, tmp_path, monkeypatch):
    """A size that was evicted, or a plan that has grown."""
    store = ArtifactStore(tmp_path)
    few = ImageSet(images.ids[:10], images.sources[:10], planned=images.planned[:10])
    expected = twin(few, SIZES[2]), twin(images, SIZES[1])
    with working(1, SIZES[:2]):
        resized(few, SIZES[0], store)
    with watched(monkeypatch) as seen, working(1, SIZES[:3]):
        assert same(resized(few, SIZES[2], store), expected[0])
        assert same(resized(images, SIZES[1], store), expected[1])
    assert store.counters["resized.computes"] == 10 * 3 + 3 * (N - 10)
    assert set(seen.values()) == {1} and len(seen) == N


def test_processes_that_begin_at_different_sizes_share_the_decoding(folder: Path, tmp_path: Path):
    code = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from pathlib import Path
from data_trees import planned
from methods.shared.pixels import Geometry, batches, resized, working
from harness.artifacts import ArtifactStore
SIZES = [Geometry(*size) for size in {list(map(tuple, SIZES))}]
store, order = ArtifactStore(Path({str(tmp_path)!r})), SIZES if sys.argv[1] == "0" else SIZES[::-1]
images = planned(sorted(Path({str(folder)!r}).glob("*.png")))
with working(2, SIZES):
    for size in order:
        for part in batches(images, 8):
            resized(part, size, store)
print(store.counters["decodes"], store.counters["resized.computes"])
"""
    command = [sys.executable, "-c", code]
    started = [subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, text=True) for n in (0, 1)]
    counts = [tuple(map(int, p.communicate(timeout=120)[0].split())) for p in started]
    assert [sum(c) for c in zip(*counts, strict=True)] == [N, N * len(SIZES)]


# --- ahead of the network -----------------------------------------------------------------------------------


def test_what_follows_is_decoded_while_nobody_asks(images, tmp_path, monkeypatch):
    far = threading.Event()
    real = ImageSet.picture

    def picture(self: ImageSet, index: int, key: str = "") -> Image.Image:
        if self.ids[index] == images.ids[FAR - 1]:
            far.set()
        return real(self, index, key)

    monkeypatch.setattr(ImageSet, "picture", picture)
    store = ArtifactStore(tmp_path)
    first = images.subset(range(32)).subset(range(0, 32, 2))  # half of a chunk, as a store of features asks
    resized(first, SIZES[0], store)
    assert far.wait(30)
    monkeypatch.setattr(ImageSet, "picture", real)
    second = images.subset(range(1, 32, 2))
    assert same(resized(second, SIZES[0], store), twin(second, SIZES[0]))


def test_a_set_that_was_not_taken_from_a_data_set_is_not_run_ahead_of(images, monkeypatch):
    others = ImageSet(images.ids, images.sources)
    with watched(monkeypatch) as seen:
        resized(others.subset(range(3)), SIZES[0], no_store())
        resized(images, SIZES[0], no_store())
        assert pixels._AHEAD._courses == {}
    assert sum(seen.values()) == N + 3


def test_nothing_is_decoded_twice_on_the_way(images, monkeypatch):
    with watched(monkeypatch) as seen, working(2):
        for part in batches(images, 32):
            for half in (part.subset(range(0, len(part), 2)), part.subset(range(1, len(part), 2))):
                resized(half, SIZES[1], no_store())
    assert set(seen.values()) == {1} and len(seen) == N


def test_a_bad_image_fails_where_it_is_asked_for(folder: Path, tmp_path: Path):
    paths = [tmp_path / path.name for path in sorted(folder.glob("*.png"))[:20]]
    for path in paths:
        path.write_bytes((folder / path.name).read_bytes())
    paths[13].write_bytes(paths[13].read_bytes()[:-300])
    images = planned(paths)
    for part in batches(images, 4):
        if paths[13].name in part.ids:
            with pytest.raises(DataError, match=f"{paths[13]}: not a readable image"):
                resized(part, SIZES[0], no_store())
        else:
            assert same(resized(part, SIZES[0], no_store()), twin(part, SIZES[0]))


def test_any_way_through_a_set_gives_what_loading_gives(images):
    rng = np.random.default_rng(1)
    calls: list[str] = []

    def loaded(part: ImageSet) -> list[np.ndarray]:
        calls.extend(part.ids)
        return [np.array([int(name[:3])]) for name in part.ids]

    for _ in range(30):
        ahead = Ahead()
        for _ in range(8):
            part = images.subset(rng.integers(0, N, rng.integers(1, 20)).tolist())
            names = [int(array[0]) for array in ahead.fetch(part, rng.integers(2), loaded)]
            assert names == [int(name[:3]) for name in part.ids]
        ahead.forget()
    assert calls


def test_a_set_forgets_what_it_was_taken_from_when_it_is_sent(images):
    import pickle

    part = pickle.loads(pickle.dumps(images.subset([3, 4])))  # noqa: S301 - our own bytes
    assert part == images.subset([3, 4]) and part.whole is None and len(pickle.dumps(part)) < 2000
    assert images.subset([9, 8, 7]).subset([2, 0]).places == (7, 9)


# --- how it reaches the trials ------------------------------------------------------------------------------


def test_a_sweep_decodes_every_image_once(sweep_file, tmp_path: Path):
    methods = [{"name": "mean_image", "grid": {"image_size": [8, 16, 24, 32]}}]
    config = load(sweep_file(methods=methods, categories=["bolt", "cap"], shots="full"))
    planned_trials = expand(config)
    setting = _setting(config, [trial for trial, _ in planned_trials])
    assert setting.sizes == {c: tuple((s, s, None) for s in (8, 16, 24, 32)) for c in ("bolt", "cap")}
    rows = [execute(trial, setting, Resources(cpus=2)).trial for trial, _ in planned_trials]
    assert {row["status"] for row in rows} == {"ok"}
    counts = [json.loads(row["artifacts"]) for row in rows]
    images = 2 * (6 + 4 + 4)  # of two categories: train, good, defective
    assert sum(each.get("decodes", 0) for each in counts) == images
    assert sum(each.get("resized.computes", 0) for each in counts) == 4 * images


@pytest.mark.parametrize("cpus", [1, 2])
def test_a_trial_decodes_with_as_many_threads_as_it_has_cores(sweep_file, monkeypatch, cpus: int):
    seen = []
    monkeypatch.setattr(pixels, "_pool", lambda n: seen.append(n) or pixels.ThreadPoolExecutor(n))
    config = load(sweep_file(cache={"enabled": False}, shots="full"))
    (trial, _), *_ = expand(config)
    assert execute(trial, _setting(config, [trial]), Resources(cpus=cpus)).trial["status"] == "ok"
    assert set(seen) == ({2} if cpus == 2 else set())


@pytest.mark.parametrize("name", METHODS)
def test_methods_that_ship_name_their_sizes(name: str):
    """What they ask for is held against it by the battery (`sizes_are_named`)."""
    from harness.params import resolve

    owner = METHODS.load(name)
    params = resolve(owner, getattr(owner, "check_params", {}))
    assert owner.card.sizes(params, (20, 24))

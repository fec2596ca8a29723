"""A store that is damaged, full, read-only, another user's or gone: slower, never wrong, never failed."""

import os
import random
import resource
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from stores import OP, ask, child, ended, packs, put, value

from harness.artifacts import GIB, ArtifactStore

NAMES = ("a", "b", "L", "c")
NOBODY = 65534


@pytest.fixture
def pristine(tmp_path: Path) -> dict[Path, bytes]:
    """A store of three small arrays and a large one: its two files."""
    ask(ArtifactStore(tmp_path), NAMES)
    return {path: path.read_bytes() for path in (*packs(tmp_path), *packs(tmp_path, "data"))}


def mended(root: Path) -> tuple[int, int]:
    """Use a damaged store, and then use it again; (arrays computed, found damaged)."""
    store, again = ArtifactStore(root), ArtifactStore(root)
    ask(store, NAMES)
    ask(again, NAMES)
    assert (again.counters["square.hits"], again.counters["damaged"]) == (4, 0)
    return store.counters["square.computes"], store.counters["damaged"]


def restore(pristine: dict[Path, bytes]) -> None:
    folder = next(iter(pristine)).parent
    for path in folder.iterdir():
        if path not in pristine and path.is_file():
            path.unlink()
    for path, content in pristine.items():
        put(path, content)


def test_a_flipped_bit_anywhere_costs_one_array(tmp_path: Path, pristine: dict[Path, bytes]):
    chance, padding = random.Random(1), 0
    for path, content in pristine.items():
        step = 1 if path.suffix == ".index" else 397
        for at in range(0, len(content), step):
            restore(pristine)
            flipped = content[at] ^ (1 << chance.randrange(8))
            put(path, content[:at] + bytes([flipped]) + content[at + 1 :])
            computed, damaged = mended(tmp_path)
            key_of_nobody = path.suffix == ".index" and at % 64 < 32
            padding += computed == 0  # between two arrays, for alignment
            assert computed <= 1
            assert damaged == (0 if key_of_nobody else computed)
    assert padding < 4


def cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def zeroed(content: bytes, chance: random.Random) -> bytes:
    """What a power loss leaves: the size, without the bytes from some point on."""
    kept = chance.choice((0, chance.randrange(len(content))))
    return content[:kept] + bytes(len(content) - kept)


def noise(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    return content[:at] + chance.randbytes(300) + content[at + 300 :]


def longer(content: bytes, chance: random.Random) -> bytes:
    return content + chance.randbytes(chance.randrange(200))


def doubled(content: bytes, chance: random.Random) -> bytes:
    return content + content


def shifted(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    return content[:at] + content[at + chance.choice((1, 64)) :]


def empty(content: bytes, chance: random.Random) -> bytes:
    return b""


DAMAGES: list[Callable[[bytes, random.Random], bytes]] = [
    cut,
    zeroed,
    noise,
    longer,
    doubled,
    shifted,
    empty,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_any_damage_is_mended(tmp_path: Path, pristine: dict[Path, bytes], damage: Callable):
    chance = random.Random(2)
    for path, content in pristine.items():
        for _ in range(1 if damage is empty else 25):
            restore(pristine)
            put(path, damage(content, chance))
            mended(tmp_path)


def test_files_that_are_missing_swapped_or_no_files(tmp_path: Path, pristine: dict[Path, bytes]):
    index, data = pristine
    for path in (index, data):
        restore(pristine)
        path.unlink()
        mended(tmp_path)
        restore(pristine)
        path.unlink()
        path.mkdir()
        mended(tmp_path)
        path.rmdir()
    restore(pristine)
    put(index, pristine[data])
    mended(tmp_path)
    restore(pristine)
    (tmp_path / "packed" / "square" / "claims" / "x.keys").write_bytes(b"nobody's")
    mended(tmp_path)


@pytest.mark.parametrize(("suffix", "number"), [("index", 1), ("data", 2)])
def test_nothing_is_put_where_something_else_has_been(tmp_path: Path, suffix: str, number: int):
    store = ArtifactStore(tmp_path)
    ask(store, ["a", "L"])
    (path,) = packs(tmp_path, suffix)
    os.truncate(path, path.stat().st_size - 1)
    for user in (store, ArtifactStore(tmp_path)):
        ask(user, ["b", "Lb"])
        ask(user, ["a", "L"])
    assert len(packs(tmp_path)) == number
    ask(ArtifactStore(tmp_path), ["a", "b", "L", "Lb"])


def test_the_other_copy_of_an_array_is_found(tmp_path: Path, pristine: dict[Path, bytes]):
    index, data = pristine
    for path in (index, data):
        put(path.with_name("elsewhere-0" + path.suffix), pristine[path])
    for path in (data, data.with_name("elsewhere-0.data")):
        put(path, bytes(len(pristine[data])))
        store = ArtifactStore(tmp_path)
        ask(store, NAMES)
        put(path, pristine[data])
        for name in (index, index.with_name("elsewhere-0.index")):
            put(name, pristine[index])
        assert (store.counters["square.hits"], store.counters["square.computes"]) == (4, 0)


def test_damage_is_looked_for_once_per_process_and_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from harness.artifacts import pack

    ask(ArtifactStore(tmp_path), NAMES)
    store, looked = ArtifactStore(tmp_path), list[int]()
    checked = pack._checked
    monkeypatch.setattr(pack, "_checked", lambda raw, entry: looked.append(len(raw)) or checked(raw, entry))
    ask(store, ["L"])
    ask(store, ["L"])
    assert len(looked) == 1


class Twin(RuleBasedStateMachine):
    """A plain dictionary beside the store, whatever is done to the store."""

    @initialize(limit=st.sampled_from([50.0, 150_000 / GIB]))
    def begin(self, limit: float) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.limit = limit
        self.stores = [ArtifactStore(self.folder, limit) for _ in range(2)]
        self.kept: set[str] | None = set()  # what must be there; None once nobody can say
        self.damaged = False

    names = st.lists(st.sampled_from([f"{kind}{n}" for kind in "Ls" for n in range(6)]), max_size=8)

    @rule(which=st.integers(0, 1), names=names, batch=st.integers(1, 5))
    def get_many(self, which: int, names: list[str], batch: int) -> None:
        store = self.stores[which]
        before = store.counters["square.computes"]
        ask(store, names, batch)
        if self.kept is not None:
            assert store.counters["square.computes"] - before == len(set(names) - self.kept)
            self.kept = self.kept | set(names) if self.limit == 50.0 else None

    @rule(which=st.integers(0, 1), names=names)
    def read(self, which: int, names: list[str]) -> None:
        for name in names:
            found = self.stores[which].read(OP, OP.key(name))
            assert self.kept is None or (found is not None) == (name in self.kept)
            assert found is None or np.array_equal(found, value(name))

    @rule(which=st.integers(0, 1))
    def reopen(self, which: int) -> None:
        self.stores[which] = ArtifactStore(self.folder, self.limit)

    @rule(damage=st.sampled_from(DAMAGES), suffix=st.sampled_from(["index", "data"]), seed=st.integers(0, 99))
    def harm(self, damage: Callable[[bytes, random.Random], bytes], suffix: str, seed: int) -> None:
        for path in packs(self.folder, suffix)[-1:]:
            if content := path.read_bytes():
                put(path, damage(content, random.Random(seed)))
                self.kept, self.damaged = None, True

    @rule()
    def vanish(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.kept = set() if self.limit == 50.0 and not self.damaged else None

    @invariant()
    def undamaged(self) -> None:
        if hasattr(self, "stores") and not self.damaged:
            assert not any(store.counters["damaged"] or store.counters["unkept"] for store in self.stores)

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


TestTwin = Twin.TestCase
TestTwin.settings = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "store"


def as_stranger(action: Callable[[], object]) -> None:
    """Run something as another user, who may read and not write."""

    def run() -> None:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        action()

    assert ended(child(run)) == 0


def modes(root: Path, folders: int, files: int) -> None:
    for path in (root, *root.rglob("*")):
        path.chmod(folders if path.is_dir() else files)


def test_another_users_store_is_read_and_not_written(open_folder: Path):
    ask(ArtifactStore(open_folder), ["a", "L"])
    modes(open_folder, 0o555, 0o444)

    def use() -> None:
        store = ArtifactStore(open_folder)
        ask(store, ["a", "b", "L", "Lb"])
        assert store.counters["square.hits"] == 2
        assert (store.counters["unkept"], store.counters["unkept.EACCES"]) == (2, 2)

    as_stranger(use)
    modes(open_folder, 0o755, 0o644)
    ask(ArtifactStore(open_folder), ["a", "b", "L", "Lb"])


def test_another_users_damaged_store_is_read_around(open_folder: Path):
    ask(ArtifactStore(open_folder), ["a", "L"])
    (data,) = packs(open_folder, "data")
    put(data, bytes(data.stat().st_size))
    modes(open_folder, 0o555, 0o444)

    def use() -> None:
        store = ArtifactStore(open_folder)
        for _ in range(2):
            ask(store, ["a", "L"])
        assert store.counters["damaged"] == 2
        assert store.counters["square.computes"] == 4

    as_stranger(use)
    modes(open_folder, 0o755, 0o644)


def test_files_that_may_not_be_read_are_not_there(open_folder: Path):
    ask(ArtifactStore(open_folder), ["a", "L"])
    modes(open_folder, 0o000, 0o000)

    def use() -> None:
        store = ArtifactStore(open_folder)
        ask(store, ["a", "L"])
        assert store.counters["square.computes"] == store.counters["unkept.EACCES"] == 2

    as_stranger(use)
    modes(open_folder, 0o755, 0o644)


def test_two_users_share_a_folder_that_both_may_write_to(open_folder: Path):
    if os.getuid():
        pytest.skip("needs another user")
    ask(ArtifactStore(open_folder), ["a", "L"])
    for path in (open_folder, *open_folder.rglob("*/")):
        path.chmod(0o777)

    def use() -> None:
        store = ArtifactStore(open_folder)
        ask(store, ["a", "b", "L", "Lb"])
        assert (store.counters["square.hits"], store.counters["unkept"]) == (2, 0)

    as_stranger(use)
    store = ArtifactStore(open_folder)
    ask(store, ["a", "b", "L", "Lb"])
    assert (store.counters["square.hits"], len(packs(open_folder))) == (4, 2)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system of its own in memory; skips where that is not allowed."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("may not mount")
        return place

    yield mount
    subprocess.run(["umount", "-l", str(place)], capture_output=True)


@pytest.mark.parametrize("options", ["size=600k", "nr_inodes=20", "size=4k", "nr_inodes=2"])
def test_a_full_disk_costs_the_store_and_not_the_trial(small_disk: Callable[[str], Path], options: str):
    root = small_disk(options) / "store"
    names = [f"{'L' if n % 20 == 0 else 's'}{n}" for n in range(400)]
    first = ArtifactStore(root)
    ask(first, names, batch=16)
    assert first.counters["square.computes"] == 400
    assert first.counters["unkept"] == first.counters["unkept.ENOSPC"]
    assert (first.counters["unkept"] > 0) == (options != "nr_inodes=20")
    second = ArtifactStore(root)
    ask(second, names)
    assert second.counters["damaged"] == 0
    assert second.counters["square.hits"] == 400 - first.counters["unkept"]
    shutil.rmtree(root, ignore_errors=True)
    ask(second, names[:20])


def test_a_read_only_disk_is_read(small_disk: Callable[[str], Path]):
    root = small_disk("size=2m")
    ask(ArtifactStore(root), ["a", "L"])
    assert subprocess.run(["mount", "-o", "remount,ro", str(root)]).returncode == 0
    store = ArtifactStore(root)
    ask(store, ["a", "b", "L", "Lb"])
    assert (store.counters["square.hits"], store.counters["unkept.EROFS"]) == (2, 2)


def test_a_write_that_ends_early_leaves_nothing(tmp_path: Path):
    """A limit on the size of files, as a disk that is full in the middle of an array."""

    def use() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        store = ArtifactStore(tmp_path)
        ask(store, ["L1", "L2", "L3", "s"], batch=1)
        assert store.counters["unkept.EFBIG"] == 2
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        ask(store, ["L1", "L2", "L3", "s"])
        assert store.counters["damaged"] == 0

    assert ended(child(use)) == 0


@pytest.mark.parametrize("name", ["a", "L"])
def test_a_store_that_vanishes_while_it_computes(tmp_path: Path, name: str):
    store = ArtifactStore(tmp_path / "store")
    held = ask(store, ["L0", "s0"])

    def compute(missing: list[int]) -> list[np.ndarray]:
        shutil.rmtree(tmp_path / "store")
        return [value(name)]

    np.testing.assert_array_equal(store.get_many(OP, [name], compute)[0], value(name))
    for array, what in zip(held, ("L0", "s0"), strict=True):
        np.testing.assert_array_equal(array, value(what))
    ask(store, ["L0", "s0", name])
    assert (store.counters["unkept"], store.counters["damaged"]) == (0, 0)


def test_a_store_that_vanishes_all_the_time(tmp_path: Path):
    stop = threading.Event()

    def remove() -> None:
        while not stop.is_set():
            shutil.rmtree(tmp_path / "store", ignore_errors=True)

    remover = threading.Thread(target=remove)
    remover.start()
    store, chance = ArtifactStore(tmp_path / "store"), random.Random(3)
    try:
        for _ in range(25):
            ask(store, [f"{chance.choice('Ls')}{chance.randrange(20)}" for _ in range(10)])
    finally:
        stop.set()
        remover.join()
    assert store.counters["damaged"] == 0

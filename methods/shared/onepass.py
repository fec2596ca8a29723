"""Several arrays per image out of one pass, each stored once, whichever of them is asked for.

Trials read different layers of one network. What others of the sweep read of a pass (`Card.reads`) is taken
along when the pass is made; nobody makes it again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, final

from numpy.typing import NDArray

from harness.artifacts import ArtifactStore, Op
from harness.errors import ConfigError, WeightsError

Array = NDArray[Any]
Found = TypeVar("Found")
_WANTED: ContextVar[dict[str, Sequence[str]] | None] = ContextVar("wanted", default=None)


@contextmanager
def shared(reads: Mapping[str, Sequence[str]]) -> Iterator[None]:
    """Until the block ends, passes also give what others want of them.

    Args:
        reads: pass -> what is read of it by anybody, as `Card.reads` names both.
    """
    token = _WANTED.set(dict(reads))
    try:
        yield
    finally:
        _WANTED.reset(token)


def wanted(of: str, own: Sequence[str], store: ArtifactStore) -> list[str]:
    """What to take of a pass, sorted: one's own, and what others want where it can be kept for them."""
    others = (_WANTED.get() or {}).get(of, ()) if store.root is not None else ()
    return sorted({*own, *others})


def with_others(
    of: str, own: Sequence[str], store: ArtifactStore, make: Callable[[Sequence[str]], Found]
) -> Found:
    """What `make` gives when it is told what to take of a pass: see `wanted`.

    What another trial wants may not be in this network or file. That is said in its row, and costs nobody
    else: one's own is then made alone, and the others' is not tried again.

    Raises:
        ConfigError, WeightsError: one's own cannot be had either.
    """
    every = wanted(of, own, store)
    if set(every) == set(own):
        return make(every)
    try:
        return make(every)
    except (ConfigError, WeightsError):
        (_WANTED.get() or {}).pop(of, None)
        return make(sorted(set(own)))


@final
class OnePass:
    """The arrays of some images.

    Args:
        store: keeps them.
        keys: content hashes of the images, or what the store takes beside one.
        ops: name -> operation "image -> array", of everything that a pass gives; in the order of the names,
            which has to be the same everywhere: locks are taken in it, and others could wait for each other.
        run: indices of images -> for each, name -> array; called once per image.
        batch: how many images at a time.
    """

    def __init__(
        self,
        store: ArtifactStore,
        keys: Sequence[str | tuple[str, ...]],
        ops: Mapping[str, Op],
        run: Callable[[list[int]], Sequence[Mapping[str, Array]]],
        batch: int = 16,
    ):
        self.store, self.keys, self.ops, self._run, self._batch = store, keys, ops, run, batch
        self._given: dict[int, Mapping[str, Array]] = {}  # what a pass gave
        self._found: dict[tuple[str, int], Array] = {}  # (name, image) -> what is stored

    def arrays(self, own: Sequence[str]) -> list[Mapping[str, Array]]:
        """For every image, name -> array, read-only; passes are made of images that lack one of them."""
        for name in own:
            arrays = enumerate(self.store.read_many(self.ops[name], self.keys))
            self._found |= {(name, i): array for i, array in arrays if array is not None}
        lacking = [i for i in range(len(self.keys)) if any((name, i) not in self._found for name in own)]
        order = list(self.ops)
        for n, name in enumerate(order):
            self._store(name, [i for i in lacking if (name, i) not in self._found], order[n + 1 :])
        return [{name: self._found[name, i] for name in own} for i in range(len(self.keys))]

    def _store(self, name: str, indices: Sequence[int], others: Sequence[str]) -> None:
        """Find or compute one array; what else a pass gave is stored while its locks are held."""

        def compute(missing: list[int]) -> list[Array]:
            chosen = [indices[i] for i in missing]
            self._pass([i for i in chosen if i not in self._given])
            if others:
                self._store(others[0], [i for i in chosen if (others[0], i) not in self._found], others[1:])
            return [self._given[i][name] for i in chosen]

        if indices:
            keys = [self.keys[i] for i in indices]
            arrays = self.store.get_many(self.ops[name], keys, compute, self._batch)
            self._found.update({(name, i): a for i, a in zip(indices, arrays, strict=True)})

    def _pass(self, indices: list[int]) -> None:
        if indices:
            self._given |= zip(indices, self._run(indices), strict=True)

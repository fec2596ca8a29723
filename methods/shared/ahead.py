"""Images that will be asked for next are fetched while a network works on those before them.

Nobody says what comes next: a set of images knows what it was taken from (`ImageSet.whole`), and who asks for
some of it goes on in its order. What is fetched for nothing is found in the store when somebody does want it.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from harness.data import ImageSet

Array = NDArray[Any]
Load = Callable[[ImageSet], Sequence[Array]]
BLOCK = 8  # images fetched in one go, so that the first need not wait for many
FAR = 32  # images in advance: what the methods hand to a network at a time, once more
COURSES = 4  # ways through sets of images that are remembered: training and test images at two sizes


@final
class Ahead:
    """Fetches arrays of images before they are asked for, in one background thread."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None  # made when first needed: a process may never be
        self._courses: OrderedDict[Hashable, _Course] = OrderedDict()

    def fetch(self, images: ImageSet, what: Hashable, load: Load) -> list[Array]:
        """What `load` gives for `images`, partly fetched already; then sets out to fetch what follows.

        Args:
            images: part of a larger set.
            what: tells loads of different results apart.
            load: images -> an array each, the same whenever it is called.

        Raises:
            Exception: what `load` raises for these images; of others it does not matter.
        """
        course = self._course(images, what)
        found = course.taken(images.places)
        missing = [n for n in range(len(images)) if n not in found]
        if missing:
            found |= zip(missing, load(images.subset(missing)), strict=True)
        course.set_out(images.places, load, self._submit)
        for n, fetched in found.items():
            if isinstance(fetched, _Fetched):
                found[n] = fetched.result(lambda n=n: load(images.subset([n]))[0])
        return [found[n] for n in range(len(images))]

    def forget(self) -> None:
        """Let go of what was fetched and is not wanted; afterwards nothing goes on in the background."""
        running = [block for course in self._courses.values() for block in course.cancelled()]
        self._courses.clear()
        wait(running)

    def _course(self, images: ImageSet, what: Hashable) -> "_Course":
        whole = images.whole
        assert whole is not None
        key = (id(whole), what)  # the course holds on to `whole`, so that its id is not given away
        course = self._courses.setdefault(key, _Course(whole))
        self._courses.move_to_end(key)
        while len(self._courses) > COURSES:
            self._courses.popitem(last=False)[1].cancelled()
        return course

    def _submit(self, task: Callable[[], list[Array]]) -> "Future[list[Array]]":
        self._thread = self._thread or ThreadPoolExecutor(1, "ahead")
        return self._thread.submit(task)


@final
class _Fetched:
    """One image of a block that is being fetched."""

    def __init__(self, block: "Future[list[Array]]", place: int):
        self.block, self._place = block, place

    def result(self, otherwise: Callable[[], Array]) -> Array:
        """The array; asked for anew where fetching it failed, since another image may be to blame."""
        return self.block.result()[self._place] if self.block.exception() is None else otherwise()


@final
class _Course:
    """How far somebody has come in a set of images."""

    def __init__(self, whole: ImageSet):
        self._whole = whole
        self._done: set[int] = set()
        self._coming: dict[int, _Fetched] = {}

    def taken(self, places: Sequence[int]) -> dict[int, Any]:
        """Position in `places` -> what is being fetched for it."""
        self._done.update(places)
        found = {n: self._coming.pop(place, None) for n, place in enumerate(places)}
        return {n: fetched for n, fetched in found.items() if fetched is not None}

    def set_out(self, places: Sequence[int], load: Load, submit: Callable[..., Any]) -> None:
        """Fetch what comes after the first of `places` and was neither asked for nor set out for yet."""
        new = (
            place
            for place in range(min(places, default=0), len(self._whole))
            if place not in self._done and place not in self._coming
        )
        chosen = [place for place, _ in zip(new, range(FAR - len(self._coming)), strict=False)]
        for start in range(0, len(chosen), BLOCK):
            block = chosen[start : start + BLOCK]
            future = submit(partial(_in_memory, load, self._whole.subset(block)))
            self._coming |= {place: _Fetched(future, n) for n, place in enumerate(block)}

    def cancelled(self) -> list["Future[list[Array]]"]:
        """Give up what nobody has begun; blocks that were begun go on."""
        blocks = {fetched.block for fetched in self._coming.values()}
        return [block for block in blocks if not block.cancel()]


def _in_memory(load: Load, images: ImageSet) -> list[Array]:
    """Copies: a mapped array would be read from the disk only where it is used."""
    copies = [np.array(array) for array in load(images)]
    for copy in copies:
        copy.flags.writeable = False
    return copies

"""Results of a function in the order of its arguments, made by threads a little ahead of who takes them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """`map(function, items)`; no more than `threads` results wait to be taken, so that memory stays flat.

    Args:
        function: may be called by several threads at once, unless `threads` is 1.
        items: its arguments.
        threads: at least 1; with 1 each result is made when it is asked for, and by who asks.

    Raises:
        Exception: of the first item, in order, whose call raised one.
    """
    if threads <= 1:
        yield from map(function, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, "metrics") as pool:
        try:
            for item in items:
                if len(waiting) > threads:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(function, item))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

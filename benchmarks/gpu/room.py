"""(i) Steps of the methods of the training room: as a CUDA graph and one by one, what a precision changes."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.gpu.row import Row, Scale, peak_gib, row, seconds
from benchmarks.trained_step import OURS, SIDE, begun

TRACED = 20


def room(scale: Scale) -> Iterator[Row]:
    """Milliseconds per step of each method, and its losses against those of single steps in float32."""
    with TemporaryDirectory() as name:
        for method in OURS if not scale.tiny else ("draem",):
            yield from _method(method, scale, Path(name))


def _method(method: str, scale: Scale, folder: Path) -> Iterator[Row]:
    ways = [("float32", False), ("float32", True), ("auto", True), ("bfloat16", True)]
    exact = None
    for precision, graph in ways if scale.on_gpu else ways[:1]:
        run = _begun(method, precision, graph, scale, folder)
        losses, step = _losses(run, scale), _step(run, scale)
        way = f"{method}, {run.training.precision}, {'graph' if graph else 'single steps'}"
        yield row(f"{way}: per step of {scale.of(4, 2)} images", 1000 * step, "ms")
        exact = losses if exact is None else exact
        apart = np.abs(losses - exact).max() / np.abs(exact).max()
        yield row(f"{way}: losses of {len(losses)} steps against single float32 ones, relative", apart, "")
        run.feeding.close()
    yield row(f"{method}: memory", peak_gib(scale), "GiB")


def _begun(method: str, precision: str, graph: bool, scale: Scale, folder: Path) -> Any:
    run = begun(
        method, scale.device, scale.of(4, 2), folder, precision=precision, image_size=scale.of(SIDE, 64)
    )
    run.feeding._graph = graph and run.feeding._graph
    return run


def _losses(run: Any, scale: Scale) -> Any:
    from methods.shared.training.precision import arithmetic

    found = []
    with arithmetic(run.training.precision, timed=True):
        for step in range(scale.of(TRACED, 2)):
            terms = run._take(step)
            found.append([float(value) for value in terms.values()])
    return np.array(found)


def _step(run: Any, scale: Scale) -> float:
    from methods.shared.training.precision import arithmetic

    number = count(scale.of(TRACED, 2))
    with arithmetic(run.training.precision, timed=True):
        return seconds(lambda: run._take(next(number)), scale, scale.of(50, 1))

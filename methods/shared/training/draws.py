"""Every random choice of a training, drawn from (seed, stream, step): any step can be taken anew.

A stream is a small number of the method's own that keeps its choices apart: 0 the order of images, 1 weights,
and so on.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray


def rng(seed: int, stream: int, step: int) -> np.random.Generator:
    """The generator of one step's choices in a stream."""
    return np.random.default_rng([seed, stream, step])


def index(seed: int, stream: int, step: int, number: int) -> int:
    """Which of `number` images a step takes: each once per epoch, in a new order every time."""
    epoch, place = divmod(step, number)
    return int(_order(seed, stream, epoch, number)[place])


def batch(seed: int, stream: int, step: int, number: int, size: int) -> list[int]:
    """Which of `number` images a step takes, at most `size`: each once per epoch, in a new order every time.

    The last batch of an epoch is what is left over, and is taken: with fewer images than `size` there is no
    other.
    """
    epoch, place = divmod(step, batches(number, size))
    return _order(seed, stream, epoch, number)[place * size : (place + 1) * size].tolist()


def batches(number: int, size: int) -> int:
    """Steps of an epoch."""
    return math.ceil(number / size)


@lru_cache(maxsize=64)
def _order(seed: int, stream: int, epoch: int, number: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, stream, epoch]).permutation(number)


def torch_seed(*entropy: int) -> int:
    """One 32-bit seed for torch of several numbers."""
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


@contextmanager
def seeded(*entropy: int) -> Iterator[None]:
    """Until the block ends, torch's generator of the CPU is that of these numbers: for initial weights."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(torch_seed(*entropy))
        yield

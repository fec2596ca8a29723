"""Global random state: seeded for a trial, then left as it was found."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python, NumPy and (where loaded) torch; restore all three at the end.

    Methods take their randomness from `Context.run_seed`; this is for libraries below them that only
    know the global generators.
    """
    # not imported for it: what does without torch stays fast
    torch = sys.modules.get("torch")
    python, numpy = random.getstate(), np.random.get_state()
    # the CPU's alone: reading a GPU's would start CUDA in a process that may be without
    tensors = torch.random.get_rng_state() if torch else None
    random.seed(seed)
    # NumPy's old generator refuses seeds of more than 32 bits
    np.random.seed(seed % 2**32)
    if torch:
        # also seeds every GPU
        torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        if torch:
            torch.random.set_rng_state(tensors)

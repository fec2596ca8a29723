"""Maps of several fields and kinds on one scale: mean 0 and deviation 1 over normal images."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Maps = Mapping[str, NDArray[np.float32]]
Scales = Mapping[str, tuple[float, float]]


def scales(maps: Sequence[Maps]) -> Scales:
    """Kind -> mean and deviation over all pixels of some images, in float64.

    A deviation of 0 counts as 1: a single student has no variance.
    """
    found = {}
    for kind in maps[0]:
        mean = float(np.mean([m[kind].mean(dtype=np.float64) for m in maps]))
        squares = np.mean([np.square(m[kind] - mean, dtype=np.float64).mean() for m in maps])
        found[kind] = (mean, float(np.sqrt(squares)) or 1.0)
    return found


def fused(fields: Sequence[Maps], of: Sequence[Scales]) -> dict[str, NDArray[np.float32]]:
    """Kind -> mean over fields of its standardised maps of one image."""
    pairs = list(zip(fields, of, strict=True))
    return {
        kind: np.mean(np.stack([(m[kind] - s[kind][0]) / s[kind][1] for m, s in pairs]), axis=0)
        for kind in fields[0]
    }

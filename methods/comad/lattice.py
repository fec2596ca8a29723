"""Gaussian filtering on the permutohedral lattice (Adams, Baek, Davis, 2010), and a mean field with it.

Points are spread over the corners of the simplex that they lie in, blurred there along every axis of the
lattice, and read where they were spread. All three are sparse matrices here.
"""

from collections.abc import Callable
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.ndimage import correlate1d

Rows = NDArray[np.float64]
Filter = Callable[[Rows], Rows]
REACH = 6  # of the Gaussian over places, in standard deviations


def permutohedral(features: Rows) -> Filter:
    """Sums over all points, weighted by exp(-|f_i - f_j|²/2), approximately.

    Args:
        features: (n, d), divided by their standard deviations.

    Returns:
        A function of values (n, m).
    """
    spread, corners = _simplices(features)
    blurs = [_blur(corners, axis) for axis in range(corners.shape[1] + 1)]
    alpha = 1 / (1 + 2.0 ** -features.shape[1])  # what blurring adds to a constant, as Adams et al. take it
    gathered = spread.T.tocsr()

    def filtered(values: Rows) -> Rows:
        return alpha * (spread @ reduce(lambda at, blur: blur @ at, blurs, gathered @ values))

    return filtered


def _simplices(features: Rows) -> tuple[sparse.csr_array, NDArray[np.int64]]:
    """(weights of every point at the corners of its simplex (n, m), the corners' coordinates (m, d))."""
    n, d = features.shape
    elevated = features @ _elevation(d).T
    nearest = np.round(elevated / (d + 1)).astype(np.int64)
    offset = elevated - nearest * (d + 1)
    # how many coordinates lie further out; equal ones in the order in which they come
    rank = np.argsort(np.argsort(-offset, axis=1, kind="stable"), axis=1, kind="stable")
    rank += nearest.sum(axis=1, keepdims=True)  # the rounded point may lie off the plane of sum 0
    low, high = rank < 0, rank > d
    rank += (d + 1) * low - (d + 1) * high
    nearest += low.astype(np.int64) - high
    fraction = (elevated - nearest * (d + 1)) / (d + 1)
    ordered = np.empty_like(fraction)
    np.put_along_axis(ordered, rank, fraction, axis=1)  # falling
    weights = np.empty((n, d + 1))
    weights[:, 1:] = (ordered[:, :-1] - ordered[:, 1:])[:, ::-1]
    weights[:, 0] = 1 + ordered[:, -1] - ordered[:, 0]
    steps = np.arange(d + 1)[None, :, None]  # of the corners
    keys = nearest[:, None, :] * (d + 1) + steps - (d + 1) * (rank[:, None, :] > d - steps)
    flat = keys[..., :d].reshape(-1, d)  # the last coordinate follows from the others
    _, first, places = np.unique(_coded(flat, flat)[0], return_index=True, return_inverse=True)
    rows = np.repeat(np.arange(n), d + 1)
    matrix = sparse.csr_array((weights.ravel(), (rows, places.ravel())), shape=(n, len(first)))
    return matrix, flat[first]


def _coded(keys: NDArray[np.int64], among: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(one number for each of some corners, in their order; the numbers' digits), also for neighbours."""
    margin = keys.shape[1]
    spans = np.ptp(among, axis=0) + 2 * margin + 1
    base = np.append(np.cumprod(spans[::-1])[::-1][1:], 1)
    return (keys - among.min(axis=0) + margin) @ base, base


def _elevation(d: int) -> Rows:
    """(d + 1, d): into the plane of sum 0, scaled so that the blur has the standard deviation 1."""
    E = np.zeros((d + 1, d))
    for i in range(d):
        E[: i + 1, i] = 1
        E[i + 1, i] = -(i + 1)
    return E / np.sqrt(np.arange(1, d + 1) * np.arange(2, d + 2)) * np.sqrt(2 / 3) * (d + 1)


def _blur(corners: NDArray[np.int64], axis: int) -> sparse.csr_array:
    """Half of both neighbours along an axis of the lattice, added to a corner itself."""
    m, d = corners.shape
    step = np.full(d, -1)
    if axis < d:
        step[axis] = d
    codes, base = _coded(corners, corners)  # rising
    parts = [sparse.eye_array(m, format="csr")]
    for sign in (1, -1):
        wanted = codes + sign * (step @ base)
        at = np.minimum(np.searchsorted(codes, wanted), m - 1)
        there = np.flatnonzero(codes[at] == wanted)
        parts.append(sparse.csr_array((np.full(len(there), 0.5), (there, at[there])), shape=(m, m)))
    return parts[0] + parts[1] + parts[2]


def over_places(shape: tuple[int, int], deviation: float) -> Filter:
    """The same over the places of an image alone, exactly but for what is beyond `REACH`."""
    reach = int(np.ceil(REACH * deviation))
    kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * deviation**2))

    def filtered(values: Rows) -> Rows:
        image = values.reshape(*shape, -1)
        rows = correlate1d(image, kernel, axis=0, mode="constant")
        return correlate1d(rows, kernel, axis=1, mode="constant").reshape(values.shape)

    return filtered


def mean_field(probabilities: Rows, kernels: list[tuple[float, Filter]], iterations: int) -> Rows:
    """Krähenbühl and Koltun's mean field with a Potts model.

    Args:
        probabilities: of every place, (n, labels).
        kernels: (weight, filter); each is normalised symmetrically.
        iterations: 0 gives the probabilities back.
    """
    ones = np.ones((len(probabilities), 1))
    scaled = [(w, f, 1 / np.sqrt(f(ones) + 1e-20)) for w, f in kernels]
    unary = np.log(np.maximum(probabilities, 1e-20))
    Q = probabilities
    for _ in range(iterations):
        logits = unary + sum((w * s * f(s * Q) for w, f, s in scaled), np.zeros_like(unary))
        Q = np.exp(logits - logits.max(axis=1, keepdims=True))
        Q /= Q.sum(axis=1, keepdims=True)
    return Q

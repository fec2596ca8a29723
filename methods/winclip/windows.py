"""What CLIP sees through windows of a few patches (Jeong et al., 2023, sections 4.2 and 4.3)."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.artifacts import ArtifactStore, Op
from harness.data import ImageSet
from methods.shared.openclip.distances import pair_rows
from methods.shared.openclip.features import reading_op, readings
from methods.shared.openclip.spec import ClipSpec
from methods.shared.pixels import RGB, Geometry, resized

if TYPE_CHECKING:
    from torch import Tensor

    from methods.shared.openclip.model import ClipModel

Rows = NDArray[np.float32]
PatchLayer = Literal["last", "penultimate"]


@cache
def windows(grid: int, side: int) -> NDArray[np.int64]:
    """Every square window: indices of its patches, (windows, side²), both row by row.

    Neighbouring windows are one patch apart; there are (grid - side + 1)² of them.
    """
    patches = np.arange(grid * grid).reshape(grid, grid)
    shown = np.lib.stride_tricks.sliding_window_view(patches, (side, side))
    return shown.reshape(-1, side * side)


def harmonic(values: NDArray[np.floating[Any]], grid: int, side: int) -> NDArray[np.float64]:
    """Per patch the harmonic mean of the windows that contain it (section 4.2).

    Args:
        values: one per window, at least 0, (n, windows).
        grid: patches along a side of the image.
        side: patches along a side of a window.

    Returns:
        (n, grid, grid); 0 where a window's value is 0.
    """
    size = grid - side + 1
    with np.errstate(divide="ignore"):
        inverse = (1 / values.astype(np.float64)).reshape(-1, size, size)
    total, count = np.zeros((len(values), grid, grid)), np.zeros((grid, grid))
    for y in range(side):
        for x in range(side):
            total[:, y : y + size, x : x + size] += inverse
            count[y : y + size, x : x + size] += 1
    return count / total


def window_embeddings(
    images: ImageSet, side: int, spec: ClipSpec, store: ArtifactStore, device: str
) -> list[NDArray[np.floating[Any]]]:
    """The embedding of every window: class token and the window's patches through the whole network.

    Patches keep the position embeddings of their places in the image. The counter "window_passes" of
    the store counts images.

    Returns:
        For each image unit vectors (windows, d), stored.

    Raises:
        ConfigError, DataError, WeightsError: see `methods.shared.openclip.features.readings`.
    """

    def compute(missing: list[int]) -> list[NDArray[np.floating[Any]]]:
        from methods.shared.openclip.model import model_of

        store.counters["window_passes"] += len(missing)
        pixels = resized(images.subset(missing), Geometry.square(spec.size), store)
        model = model_of(spec, device)
        return [_through(model, each, windows(spec.grid, side)) for each in pixels]

    return store.get_many(_window_op(side, spec, device), images.keys(), compute)


def _window_op(side: int, spec: ClipSpec, device: str) -> Op:
    return Op("winclip_windows", {**spec.key(device), "side": side})


def _through(model: "ClipModel", image: RGB, chosen: NDArray[np.int64]) -> NDArray[np.floating[Any]]:
    """All windows of one image at once: short sequences, many of them."""
    import torch

    from methods.shared.backbones.frozen import arithmetic
    from methods.shared.openclip.model import blocks

    tokens = model.embedded([image])[0]
    index = torch.from_numpy(np.insert(chosen + 1, 0, 0, axis=1)).to(tokens.device)  # class token first
    with torch.inference_mode(), arithmetic(model.device, model.precision):
        shown = tokens[index]
        for block in blocks(model.visual):
            shown = block(shown)
        return model.exported(model.pooled(shown)).cpu().numpy()


def window_distances(
    queries: ImageSet, supports: ImageSet, side: int, spec: ClipSpec, store: ArtifactStore, device: str
) -> Rows:
    """1 - cosine of every window to the nearest window of every support image: (n, m, windows).

    Raises:
        ConfigError, DataError, WeightsError: see `methods.shared.openclip.features.readings`.
    """

    def vectors(images: ImageSet) -> Sequence["Tensor"]:
        return [_unit(each, device) for each in window_embeddings(images, side, spec, store, device)]

    op = _window_op(side, spec, device)
    length = len(windows(spec.grid, side))
    return pair_rows(
        queries, supports, Op("winclip_window_distances", op.params), vectors, length, spec, store
    )


def patch_distances(
    queries: ImageSet,
    supports: ImageSet,
    layer: PatchLayer,
    spec: ClipSpec,
    store: ArtifactStore,
    device: str,
) -> Rows:
    """1 - cosine of every patch to the nearest patch of every support image: (n, m, grid²).

    Args:
        queries: n images.
        supports: m images.
        layer: "last": the last block's tokens behind ln_post, before the projection, as in public
            implementations; "penultimate": the tokens before the last block.
        spec: the model.
        store: keeps one array per pair.
        device: torch device name.

    Raises:
        ConfigError, DataError, WeightsError: see `methods.shared.openclip.features.readings`.
    """
    reading = patch_reading(layer, spec)

    def vectors(images: ImageSet) -> Sequence["Tensor"]:
        found = readings(images, (reading,), spec, store, device)
        return [_unit(_patches(each[reading], layer, spec, device), device) for each in found]

    op = reading_op(reading, spec, device)
    op = Op("winclip_patch_distances", {**op.params, "layer": layer})
    return pair_rows(queries, supports, op, vectors, spec.grid**2, spec, store)


def patch_reading(layer: PatchLayer, spec: ClipSpec) -> int | str:
    """Which output of the network `patch_distances` compares."""
    return spec.depth if layer == "last" else "input"


def _patches(tokens: NDArray[Any], layer: PatchLayer, spec: ClipSpec, device: str) -> "Tensor":
    import torch

    from methods.shared.openclip.model import model_of

    with torch.inference_mode():
        values = torch.from_numpy(np.array(tokens, np.float32)).to(device)
        return model_of(spec, device).visual.ln_post(values) if layer == "last" else values[1:]


def _unit(vectors: Any, device: str) -> "Tensor":
    import torch

    from methods.shared.openclip.tokens import unit

    values = vectors if isinstance(vectors, torch.Tensor) else torch.from_numpy(np.array(vectors, np.float32))
    return unit(values.to(device))

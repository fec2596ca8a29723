"""Frozen features of every place of an image, for sources that train no encoder, and label maps of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from harness.artifacts import Op
from harness.data import ImageSet
from harness.data.labels import Labels
from harness.method import Context
from methods.shared.backbones.features import FeatureSpec, Maps, features
from methods.shared.pixels import batches

BATCH = 16  # images whose features are held in memory together
COARSE = 2  # blocks of the encoder that are read: the two deepest, of which the finer gives the places


def deep(encoder: FeatureSpec) -> FeatureSpec:
    """The part of the encoder that is read: of WideResNet-101, layers 2 and 3 (strides 8 and 16)."""
    return replace(encoder, layers=encoder.layers[-COARSE:])


def dense(images: ImageSet, spec: FeatureSpec, context: Context) -> Iterator[Tensor]:
    """Features of every place, each of unit length, float32 (d, h, w) on the device.

    The layers count alike: each is brought to unit length before they are joined.
    """
    for part in batches(images, BATCH):
        for maps in features(part, spec, context.artifacts, context.device):
            yield _joined(maps, spec.layers, context.device)


def _joined(maps: Maps, layers: Sequence[str], device: str) -> Tensor:
    found = [torch.from_numpy(np.array(maps[name], np.float32))[None].to(device) for name in layers]
    size = found[0].shape[-2:]
    alike = [enlarged(F.normalize(layer, dim=1), size) for layer in found]
    return F.normalize(torch.cat(alike, dim=1), dim=1)[0]


def enlarged(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (n, c, h, w) at another size, bilinearly."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def op_of(name: str, spec: FeatureSpec, context: Context, **own: object) -> Op:
    """An operation on such features."""
    of_features = spec.op(",".join(spec.layers), context.device).params
    return Op(name, {**of_features, **own})


def stored(
    key: str, images: ImageSet, context: Context, compute: Callable[[ImageSet], Sequence[NDArray[np.uint8]]]
) -> list[Labels]:
    """Label maps through the artifact store."""
    return context.artifacts.get_many(
        Op("psad_parts", {"segmenter": key}), images.keys(), lambda missing: compute(images.subset(missing))
    )

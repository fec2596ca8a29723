"""The frozen teacher: its file, its maps of every image (each computed once), its channel statistics."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from harness.artifacts import ArtifactStore, Op
from harness.data import ImageSet
from harness.errors import WeightsError
from methods.shared.picture_folder import listed
from methods.shared.pixels import Geometry, resized
from methods.shared.weights import DEMO, Weights, demo, find

if TYPE_CHECKING:
    from torch import Tensor, nn

Maps = NDArray[np.float32]
Size = Literal["S", "M"]
LEAST_VARIANCE = 1e-12  # of a channel: one that never changes must not be divided by 0


@final
@dataclass(frozen=True)
class Teacher:
    """A patch description network and the size at which it sees images.

    Attributes:
        size: PDN-S or PDN-M.
        file: its weights.
        image_size: side in pixels.
        device: torch device name.
    """

    size: Size
    file: Weights
    image_size: int
    device: str

    @property
    def network(self) -> "nn.Sequential":
        """The network, in evaluation mode on its device.

        Raises:
            WeightsError: the file holds something else than a PDN of this size.
        """
        return _loaded(self.file, self.size, self.device)

    def maps(self, images: ImageSet, store: ArtifactStore) -> list[Maps]:
        """Its maps of every image, float32 (channels, h, w), not normalised; read-only.

        The counter "teacher_passes" of the store counts images that went through the network.
        """
        return store.get_many(
            self._op("efficientad_teacher"), images.keys(), lambda m: self._pass(images.subset(m), store)
        )

    def statistics(self, images: ImageSet, store: ArtifactStore) -> tuple[Maps, Maps]:
        """Mean and standard deviation of every channel over images, float32 (channels,) each.

        Every image weighs the same. Moments of single images add up, so that any support set costs a
        sum over its images.
        """
        moments = store.get_many(
            self._op("efficientad_moments"),
            images.keys(),
            lambda m: [_moments(maps) for maps in self.maps(images.subset(m), store)],
        )
        mean, square = np.mean(np.stack(moments), axis=0)
        deviation = np.sqrt(np.maximum(square - mean**2, LEAST_VARIANCE))
        return mean.astype(np.float32), deviation.astype(np.float32)

    @property
    def identity(self) -> dict[str, Any]:
        """What its maps depend on besides the image."""
        kind = self.device.partition(":")[0]
        return {"weights": self.file.sha256, "image_size": self.image_size, "device": kind}

    def _op(self, name: str) -> Op:
        return Op(name, self.identity)

    def _pass(self, images: ImageSet, store: ArtifactStore) -> Sequence[Maps]:
        import torch

        from methods.shared.training.precision import arithmetic

        store.counters["teacher_passes"] += len(images)
        network = self.network
        with torch.inference_mode(), arithmetic("float32"):
            pixels = resized(images, Geometry.square(self.image_size), store)
            return [network(batch_of(image, self.device))[0].contiguous().cpu().numpy() for image in pixels]


def batch_of(image: NDArray[np.uint8], device: str) -> "Tensor":
    """An image (h, w, 3) as networks take it: normalised float32 (1, 3, h, w), channels last."""
    import torch

    from methods.shared.training.distillation import imagenet

    tensor = torch.from_numpy(np.array(image)).to(device).permute(2, 0, 1)[None]
    return imagenet(tensor.float() / 255)


def _moments(maps: Maps) -> NDArray[np.float64]:
    """Mean and mean square of every channel, (2, channels)."""
    values = maps.reshape(len(maps), -1).astype(np.float64)
    return np.stack([values.mean(axis=1), (values**2).mean(axis=1)])


@lru_cache(maxsize=2)
def _loaded(file: Weights, size: Size, device: str) -> "nn.Sequential":
    import torch

    from methods.efficientad.networks import placed
    from methods.shared.checkpoints import read
    from methods.shared.training.pdn import pdn_from, shape_of

    state = {key: value.float() for key, value in read(file.path).items()}
    if shape_of(state).size != size and not file.marks:
        raise WeightsError(f"{file.path}: the weights of a PDN-{shape_of(state).size}, not of a PDN-{size}")
    network = pdn_from(state).requires_grad_(False)
    return placed(network, torch.device(device))


def teacher_file(size: Size, weights: str | None) -> Weights:
    """The file of a teacher; found without importing torch.

    Args:
        size: which PDN.
        weights: a path, or "demo".

    Raises:
        WeightsError: there is no such file, or none is named.
    """
    name = {"S": "pdn_small", "M": "pdn_medium"}[size]
    if weights is None:
        published = {"S": "teacher_small.pth", "M": "teacher_medium.pth"}[size]
        raise WeightsError(
            f"weights: EfficientAD needs a teacher: give the path of {published} (github.com/nelson1425/"
            "EfficientAD, folder models), of anomalib's pretrained_teacher file, or of one made by "
            "`python -m methods.efficientad.distill`; or `weights: demo`"
        )
    return demo(name, "teachers") if weights == DEMO else find(name, weights)


def folder_digest(folder: str) -> tuple[str, tuple[Path, ...]]:
    """Hash of the names and sizes of the images below a folder, and their paths in order.

    Their content is not read: ImageNet would take an hour.

    Raises:
        WeightsError: no such folder, or no image below it.
    """
    return listed(folder, "imagenet_penalty")

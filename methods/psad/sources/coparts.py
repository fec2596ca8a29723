"""Parts without labels: K-means over frozen features of training images, a stand-in for co-part methods."""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.data import ImageSet
from harness.data.labels import Labels
from harness.method import Context
from methods.psad.sources.dense import deep, dense, enlarged, op_of, stored
from methods.psad.sources.source import Given
from methods.psad.sources.specs import CoPartsSpec
from methods.shared.backbones.features import FeatureSpec
from methods.shared.kmeans import kmeans

MOST = 50_000  # places that K-means sees: LOCO's images together have 1.4 million


@final
@dataclass(frozen=True)
class CoParts:
    """The nearest centre of every pixel; the number 0 of the background is never given.

    Attributes:
        spec: the frozen features.
        number: of parts.
        train: the training images, by name.
        context: seed, device, store.
    """

    spec: FeatureSpec
    number: int
    train: ImageSet
    context: Context

    @property
    def key(self) -> str:
        """See `PartSource.key`."""
        own = {"number": self.number, "most": MOST, "seed": self.context.run_seed}
        return op_of("psad_co_parts", self.spec, self.context, **own).key(*self.train.keys())

    @property
    def n_classes(self) -> int:
        """See `PartSource.n_classes`."""
        return self.number + 1

    def labels(self, images: ImageSet) -> list[Labels]:
        """See `PartSource.labels`."""
        return stored(self.key, images, self.context, self._computed)

    @property
    def centres(self) -> NDArray[np.float32]:
        """(number, d), or as many as there are places."""
        op = op_of("psad_co_part_centres", self.spec, self.context)
        return self.context.artifacts.get(op, [self.key], self._centred)

    def _centred(self) -> NDArray[np.float32]:
        points = np.concatenate([self._some(i, z) for i, z in enumerate(self._dense(self.train))])
        number = min(self.number, len(points))
        return kmeans(points, number, self.context.run_seed, device=self.context.device)

    def _some(self, image: int, features: Tensor) -> NDArray[np.float32]:
        """So many places of an image that all together are at most `MOST`."""
        places = features.flatten(1).T.cpu().numpy()
        most = max(1, MOST // len(self.train))
        rng = np.random.default_rng([self.context.run_seed, image])
        return places[rng.choice(len(places), min(most, len(places)), replace=False)]

    def _computed(self, images: ImageSet) -> list[Labels]:
        centres = torch.from_numpy(np.array(self.centres)).to(self.context.device)
        return [self._nearest(z, centres) for z in self._dense(images)]

    def _nearest(self, features: Tensor, centres: Tensor) -> Labels:
        # the squared distance but for |z|², which is the same for all centres; linear, so it can be enlarged
        near = torch.einsum("kd,dhw->khw", centres, features) - centres.square().sum(1)[:, None, None] / 2
        whole = enlarged(near[None], self.spec.geometry.shape)[0]
        return (whole.argmax(dim=0) + 1).to(torch.uint8).cpu().numpy()

    def _dense(self, images: ImageSet):
        return dense(images, self.spec, self.context)


def source(given: Given, spec: CoPartsSpec) -> tuple[CoParts, tuple[str, ...]]:
    """Co-parts of the training images, and their names.

    Raises:
        ConfigError, WeightsError: see `methods.shared.backbones.features.features`.
    """
    train = given.canvas.framed(given.data.train, given.context.artifacts)
    by_name = train.subset(sorted(range(len(train)), key=train.ids.__getitem__))
    names = ("background", *(f"part {i}" for i in range(1, spec.co_parts + 1)))
    return CoParts(deep(given.encoder), spec.co_parts, by_name, given.context), names

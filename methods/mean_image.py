"""Mean image: the floor that every method has to clear, and the worked example of a method.

A method is a final dataclass whose first field is the `Context` and whose other fields are its
hyper-parameters; it has a `card`, `fit` and `score`. One line in `methods/__init__.py` registers
it, and `tests/test_methods.py` puts it through the battery of `harness.checks` as it is.
"""

from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Literal, Self, final

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat
from scipy.ndimage import gaussian_filter

from harness.data import FitData, ImageSet
from harness.method import Card, Context, Demo, Scores
from methods.shared.pixels import RGB, Geometry, Side, batches, resized, square_input


@final
@dataclass
class MeanImage:
    """Absolute difference to the pixel-wise mean of the training images; with k = 1, to one image.

    Args:
        context: run seed, device, artifact store; only the store is used here.
        image_size: side in pixels to which images are resized.
        smoothing: standard deviation of the Gaussian that smooths the map, in pixels of that size.
        pooling: how the map becomes the image score.
    """

    card: ClassVar[Card] = Card(
        title="Mean image",
        summary="Smoothed absolute difference to the pixel-wise mean of the training images.",
        licence="Apache-2.0",
        trained=False,
        validation=False,
        demo=Demo(),
        ignores=lambda params: frozenset({"run_seed"}),
        seconds=5.0,
        sizes=square_input,
    )

    context: Context
    _: KW_ONLY
    image_size: Side = 64
    smoothing: NonNegativeFloat = 1.0
    pooling: Literal["max", "mean"] = "max"
    mean: NDArray[np.float64] = field(init=False, repr=False)

    def fit(self, data: FitData) -> Self:
        """Take the mean of the training images, (image_size, image_size, 3) in [0, 255]."""
        self.mean = np.stack(self._pixels(data.train)).mean(axis=0)
        return self

    def score(self, images: ImageSet) -> Scores:
        """Maps (n, image_size, image_size) in grey levels; an image scores their max or mean."""
        maps = [self._map(image) for part in batches(images, 64) for image in self._pixels(part)]
        pool: Any = np.max if self.pooling == "max" else np.mean
        return Scores(image=np.array([pool(m) for m in maps], float), maps=np.array(maps, np.float32))

    def _pixels(self, images: ImageSet) -> list[RGB]:
        return resized(images, Geometry.square(self.image_size), self.context.artifacts)

    def _map(self, image: RGB) -> NDArray[np.float64]:
        return gaussian_filter(np.abs(image - self.mean).mean(axis=2), self.smoothing)

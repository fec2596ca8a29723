"""Scores of many images, a few at a time, held against what a method promises."""

from collections.abc import Sequence

import numpy as np

from harness.data import ImageSet, Sample, image_size
from harness.errors import DataError
from harness.method import Method, Scores
from harness.metrics import Moments, moments, upsample
from harness.metrics.inputs import checked_map

CHUNK = 32  # images scored at a time: memory stays flat in their number


def score_chunks(method: Method, images: ImageSet, size: int = CHUNK) -> Scores:
    """Scores of all images, a chunk at a time; each image is scored on its own anyway.

    Raises:
        DataError: the method returned scores of a wrong shape, or not finite.
    """
    chunks = []
    for start in range(0, len(images), size):
        part = images.subset(range(start, min(start + size, len(images))))
        chunks.append(_checked(method.score(part), part))
    return Scores(
        image=np.concatenate([c.image for c in chunks]),
        parts={k: np.concatenate([c.parts[k] for c in chunks]) for k in chunks[0].parts},
        maps=None if chunks[0].maps is None else np.concatenate([c.maps for c in chunks]),
    )


def _checked(scores: Scores, images: ImageSet) -> Scores:
    for name, values in {"image": scores.image, **scores.parts}.items():
        if np.shape(values) != (len(images),):
            raise DataError(f"score {name!r} has shape {np.shape(values)} for {len(images)} images")
        # named here: one NaN among thousands of scores would make every metric undefined without a word
        if not np.isfinite(values).all():
            raise DataError(
                f"score {name!r} of {images.ids[int(np.argmin(np.isfinite(values)))]} is not finite"
            )
    return scores


def map_moments(method: Method, samples: Sequence[Sample]) -> Moments | None:
    """The moments of all pixels of the maps of some images; None where the method makes no maps.

    Raises:
        DataError: a map is not finite; the image is named.
    """
    maps = score_chunks(method, ImageSet.of_samples(samples)).maps
    if maps is None:
        return None
    checked = (checked_map(one, sample.id) for one, sample in zip(maps, samples, strict=True))
    # at the size at which test images are judged: pixels of large images count as often as they do there
    return moments(upsample(one, image_size(s.path)) for one, s in zip(checked, samples, strict=True))

"""Which files a submission holds: one map per private test image, and perhaps one mask beside each.

anomaly_images/<object>/test_private/NNN_regular.tiff             float16, one channel, finite
anomaly_images/<object>/test_private_mixed/NNN_mixed.tiff
anomaly_images_thresholded/<object>/<split>/NNN_….png             8 bits, one channel, 0 or 255

NNN counts from 000. There are no other files and folders, and a .tar.gz holds one folder with all of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from harness.data import image_size
from harness.datasets.mvtec_ad2 import COUNTS, MVTEC_AD2, Ad2Options

MAPS, MASKS = "anomaly_images", "anomaly_images_thresholded"
SUFFIXES = {MAPS: ".tiff", MASKS: ".png"}
LIGHTS = {"test_private": "regular", "test_private_mixed": "mixed"}
Size = tuple[int, int]


@final
@dataclass(frozen=True)
class Wanted:
    """The images that a submission has to be about.

    Attributes:
        images: "<object>/<split>/<name without suffix>" -> size of the image (height, width), None if it is
            not known.
        source: where that comes from, for messages.
    """

    images: Mapping[str, Size | None]
    source: str

    def files(self, masks: bool) -> dict[str, Size | None]:
        """Path of every file -> its size; with the thresholded ones or without."""
        kinds = (MAPS, MASKS) if masks else (MAPS,)
        return {f"{k}/{name}{SUFFIXES[k]}": size for k in kinds for name, size in self.images.items()}


def published() -> Wanted:
    """By the numbers that the server's rules give; sizes are not among them."""
    images = {
        f"{name}/{split}/{i:03d}_{LIGHTS[split]}": None
        for name, splits in COUNTS.items()
        for split, number in splits.items()
        for i in range(number)
    }
    return Wanted(images, "the server's rules")


def of_data(root: Path) -> Wanted:
    """By the private images of a data set.

    Raises:
        DataError: it is not MVTec AD 2 with both private splits.
    """
    images: dict[str, Size | None] = {}
    for name in MVTEC_AD2.categories(root, Ad2Options("server")):
        for sample in MVTEC_AD2.read(root, name, Ad2Options("server")).test:
            images[f"{name}/{sample.id.rpartition('.')[0]}"] = image_size(sample.path)
    return Wanted(images, str(root))


def other_numbers(wanted: Wanted) -> list[str]:
    """Where a data set has other private images than the server wants; one sentence each."""
    server, mine = set(published().images), set(wanted.images)
    lacking, more = len(server - mine), len(mine - server)
    if not (lacking or more):
        return []
    return [f"{wanted.source}: not what the server wants: {lacking} images lack, {more} are none of its"]

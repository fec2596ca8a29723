"""Ground-truth masks as anomalous regions at native size, one per mask file."""

import numpy as np
from numpy.typing import NDArray

from harness.data.decoding import turned_size
from harness.data.images import image_size
from harness.data.index import MOST_VALUES, Facts, decode_mask, image_facts, mask_values
from harness.data.rule import PixelRule
from harness.data.samples import Sample, Split
from harness.errors import DataError
from harness.metrics.regions import Region


def regions(sample: Sample, split: Split) -> list[Region]:
    """The anomalous regions of one image, one per mask file and in their order; none for a good image.

    With defect types (MVTec LOCO AD) the single non-zero value of a mask names its type and thereby how
    much of it has to be found; without, every non-zero pixel counts and all of it has to be found.

    Raises:
        DataError: a mask is unreadable, empty, of another size than its image, holds an unknown or a second
            pixel value, or is not the one that was planned with; the message names the file.
    """
    if not sample.masks:
        return []
    size = image_size(sample.path)
    return [_region(sample, number, size, split) for number in range(len(sample.masks))]


def _region(sample: Sample, number: int, size: tuple[int, int], split: Split) -> Region:
    path = sample.masks[number]
    pixels = mask_pixels(sample, number)
    if problem := mask_problem(pixels.shape, size, mask_values(pixels), split):
        raise DataError(f"{path}: {problem}")
    if not split.defects:
        name = sample.defects[0] if sample.defects else sample.label
        return Region(pixels > 0, 1.0, True, name)
    defect = split.defects[int(pixels.max())]
    return Region(pixels > 0, defect.saturation_threshold, defect.relative_saturation, defect.name)


def mask_pixels(sample: Sample, number: int) -> NDArray[np.uint8]:
    """One mask of an image, turned as its data set says: uint8 (height, width).

    Raises:
        DataError: see `regions`.
    """
    path, rule = sample.masks[number], sample.rule
    turn = None if rule.mask_exif == "own" else rule.mask_turn(1, image_facts(sample.path, rule).orientation)
    return decode_mask(path, turn, sample.planned(path), rule)


def exif_hint(mask: Facts, image: Facts) -> str:
    """Why two sizes differ, where it is an orientation tag that turns one of them; else empty."""
    if mask.size is None or mask.orientation == image.orientation == 1:
        return ""
    for name, turn in (("image", image.orientation), ("ignore", 1)):
        if turned_size(mask.size, turn) == image.shown:
            return (
                f" (an EXIF orientation tag turns one of them; `pixels: {{mask_exif: {name}}}` under "
                "`dataset:` makes them fit)"
            )
    return " (an EXIF orientation tag turns one of them)"


def mask_problem(
    size: tuple[int, ...], image_size: tuple[int, int] | None, values: tuple[int, ...], split: Split
) -> str:
    """What is wrong with a mask of this size and these non-zero values; empty if nothing is."""
    if image_size is not None and tuple(size) != tuple(image_size):
        return f"the mask has {size[1]}x{size[0]} pixels, its image {image_size[1]}x{image_size[0]}"
    if not values:
        return "no pixel of the mask is marked"
    unknown = [str(value) for value in values if value not in split.defects]
    if split.defects and unknown:
        allowed = ", ".join(str(value) for value in sorted(split.defects))
        return f"pixel value {', '.join(unknown)} is no defect type (allowed: {allowed})"
    if split.defects and len(values) > 1:
        return f"two or more pixel values ({', '.join(map(str, values))}) in one mask; a mask is one region"
    return ""


def form_problem(mask: Facts, split: Split, rule: PixelRule) -> str:
    """Why a mask cannot be meant as it is, and the option that settles it; empty if it can."""
    if mask.in_alpha and rule.mask_channel == "colour":
        return (
            "everything is marked, the drawing lies in the alpha channel; "
            "say `pixels: {mask_channel: alpha}` under `dataset:`"
        )
    if rule.mask_threshold is not None:
        return ""
    if mask.lossy:
        return (
            "saved as JPEG, whose noise would count as defects; save masks as PNG, "
            "or say `pixels: {mask_threshold: 127}` under `dataset:`"
        )
    if len(mask.values) >= MOST_VALUES and not split.defects:
        return (
            f"has {MOST_VALUES} or more grey levels, each of which would count as a defect; "
            "say above which one: `pixels: {mask_threshold: 127}` under `dataset:`"
        )
    return ""

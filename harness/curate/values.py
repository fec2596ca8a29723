"""What the pixels of a data set are: their range per category, and images that show nothing."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from harness.data import decoding
from harness.data.files import content, reason
from harness.data.index import image_facts
from harness.data.rule import Depth
from harness.data.samples import Sample
from harness.errors import DataError

NEARLY_BLACK = 16  # of 255: what 12 bits reach that are taken for 16
CLIPPED = 0.5  # of all values at either end: there was more to see than the file holds
NAMED = 3  # images in a note


@final
@dataclass(frozen=True)
class Look:
    """What one decoded image is like.

    Attributes:
        low, high: smallest and largest number in the file.
        brightest: largest of its values on the scale 0..255.
        clipped: share of its values that are 0 or 255 on that scale.
        one_colour: whether all of its pixels are the same.
        transparent: whether it has transparent pixels, whose colours nobody was meant to see.
        depth: of the file.
    """

    low: float
    high: float
    brightest: int
    clipped: float
    one_colour: bool
    transparent: bool
    depth: Depth


def look(sample: Sample) -> Look:
    """Decode an image as its data set says and look at its values.

    Raises:
        DataError: it cannot be read.
    """
    path, rule = sample.path, sample.rule
    try:
        data = content(path, rule.most_bytes)
        picture, head = decoding.rgb(data, rule)
        counts = np.reshape(picture.histogram(), (3, 256))
        used = np.flatnonzero(counts.any(axis=0))
        ends = (used[0], used[-1]) if head.depth == "8" else _ends(data)
        return Look(
            low=float(ends[0]),
            high=float(ends[1]),
            brightest=int(used[-1]),
            clipped=float(counts[:, [0, 255]].sum() / counts.sum()),
            one_colour=bool(((counts > 0).sum(axis=1) == 1).all()),
            transparent=_transparent(data),
            depth=head.depth,
        )
    except decoding.UNREADABLE as error:
        raise DataError(f"{path}: not a readable image ({reason(error)})") from error


def _ends(data: bytes) -> tuple[float, float]:
    numbers = decoding.values(data)
    return numbers.min(), numbers.max()


def _transparent(data: bytes) -> bool:
    image = decoding.opened(io.BytesIO(data))
    if not image.has_transparency_data:
        return False
    lowest = image.convert("RGBA").getchannel("A").getextrema()[0]
    return isinstance(lowest, int | float) and lowest < 255


def span(looks: Sequence[Look]) -> str:
    """Smallest and largest number in the files of a category, with their depth where it is not 8 bits."""
    if not looks:
        return "–"
    depth = looks[0].depth if len({look.depth for look in looks}) == 1 else "mixed"
    text = f"{min(look.low for look in looks):g}–{max(look.high for look in looks):g}"
    return text if depth == "8" else f"{text} ({depth})"


def odd(category: str, looks: Mapping[Sample, Look]) -> list[str]:
    """What is odd about the images of a category, one sentence each."""
    blank = [s for s, look in looks.items() if look.one_colour]
    dark = [s for s, look in looks.items() if look.brightest <= NEARLY_BLACK and s not in blank]
    cut = [s for s, look in looks.items() if look.clipped > CLIPPED and s not in blank + dark]
    clear = [s for s, look in looks.items() if look.transparent]
    deep = any(looks[s].depth.startswith("16") for s in dark)
    bits = "; of 12 bits in files of 16? `pixels: {bits: 12}` under `dataset:`" if deep else ""
    found = [
        ("of one colour all over", blank, ""),
        (f"nearly black, no value above {NEARLY_BLACK} of 255", dark, bits),
        ("clipped, more than half of the values are 0 or 255", cut, ""),
        ("partly transparent, which is ignored", clear, ""),
    ]
    return [_note(category, what, samples) + advice for what, samples, advice in found if samples]


def turned(category: str, samples: Sequence[Sample]) -> list[str]:
    """Which images are turned by their EXIF tag, and what that means for their masks."""
    found = [s for s in samples if _orientation(s.path) > 1]
    if not found:
        return []
    rule = found[0].rule.mask_exif
    how = {
        "own": "masks are turned by their own tag only; drawn on the pictures as stored? "
        "`pixels: {mask_exif: image}` under `dataset:`",
        "image": "masks are turned with their image",
        "ignore": "masks are not turned",
    }[rule]
    masks = f"; {how}" if any(s.masks for s in found) else ""
    return [_note(category, "turned, as their EXIF orientation says", found) + masks]


def _orientation(path: Path) -> int:
    try:
        return image_facts(path).orientation
    except DataError:  # said elsewhere
        return 1


def _note(category: str, what: str, samples: Sequence[Sample]) -> str:
    names = ", ".join(sample.id for sample in samples[:NAMED])
    more = f", and {len(samples) - NAMED} more" if len(samples) > NAMED else ""
    verb = "image is" if len(samples) == 1 else "images are"
    return f"{category}: {len(samples)} {verb} {what} ({names}{more})"

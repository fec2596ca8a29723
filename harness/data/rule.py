"""How the values in the image files of a data set become 8 bits: declared once, part of what trials are."""

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, final

VERSION = 1  # raised when the same rule makes other pixels of the same file
Depth = Literal["8", "12", "16", "16 colour", "int16", "int32", "uint32", "float"]

_BITS: dict[Depth, int] = {"12": 12, "16": 16, "16 colour": 16}  # unsigned ones: all of their range is meant
_WORDS: dict[Depth, str] = {
    "int16": "signed 16-bit integers",
    "int32": "32-bit integers",
    "uint32": "32-bit integers",
    "float": "floating-point numbers",
}
_BYTES_PER_PIXEL = 16  # four channels of 32 bits: no image file that is read here needs more


class Levels(NamedTuple):
    """Which values become 0 and 255; `exact` if there must be none outside."""

    low: float
    high: float
    exact: bool


@final
@dataclass(frozen=True)
class PixelRule:
    """How files are read that are not plain 8-bit images; `pixels:` under `dataset:` in a sweep file.

    Images of 8 bits per channel are taken as they are. Nothing is ever stretched image by image: the same
    value is the same grey in all images of a data set.

    Attributes:
        bits: how many bits of 16-bit integers are in use: with 12, 4095 becomes 255 and a larger value is an
            error. By default all: 65535 becomes 255.
        range: [low, high], the values that become 0 and 255; what lies outside is cut off. Files of
            floating-point, signed or 32-bit numbers are refused without it.
        mask_exif: which orientation tag turns a ground-truth mask: its "own", as with images; that of its
            "image", where masks were drawn on the picture as stored; or "ignore".
        mask_threshold: pixels of a mask above it are marked; for masks of many grey levels, as resizing and
            JPEG make them. Without, every value but 0 is.
        mask_channel: "alpha" where editors have drawn masks into the transparency.
        mask_invert: true where black is marked; false where it is meant that most masks mark nearly all.
        max_megapixels: larger images are refused; a file of a few bytes can ask for any amount of memory.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    bits: int | None = None
    range: tuple[float, float] | None = None
    mask_exif: Literal["own", "image", "ignore"] = "own"
    mask_threshold: int | None = None
    mask_channel: Literal["colour", "alpha"] = "colour"
    mask_invert: bool | None = None
    max_megapixels: float = 179.0  # where Pillow gives up, too

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; the message goes to the person who wrote it."""
        if self.bits is not None and not 9 <= self.bits <= 16:
            raise ValueError(f"bits must be 9..16, not {self.bits}")
        if self.range is not None and not (
            all(map(math.isfinite, self.range)) and self.range[0] < self.range[1]
        ):
            raise ValueError(f"range must be [low, high] with low < high, not {list(self.range)}")
        if self.bits is not None and self.range is not None:
            raise ValueError("bits and range say the same; give one of them")
        if self.mask_threshold is not None and not 0 <= self.mask_threshold <= 254:
            raise ValueError(f"mask_threshold must be 0..254, not {self.mask_threshold}")
        if not 0 < self.max_megapixels < math.inf:
            raise ValueError(f"max_megapixels must be above 0, not {self.max_megapixels}")

    @property
    def most_bytes(self) -> int:
        """The size of the largest file that can be an allowed image."""
        return int(self.max_megapixels * 1e6) * _BYTES_PER_PIXEL + (64 << 20)

    def levels(self, depth: Depth) -> Levels | None:
        """What becomes black and white; None for 8 bits, and where nobody has said it."""
        if depth == "8":
            return None
        if self.range is not None:
            return Levels(float(self.range[0]), float(self.range[1]), False)
        return Levels(0.0, 2.0 ** (self.bits or _BITS[depth]) - 1, True) if depth in _BITS else None

    def problem(self, size: tuple[int, int], depth: Depth) -> str:
        """Why an image of this size (height, width) and depth cannot be read; empty if it can."""
        height, width = size
        if height * width > self.max_megapixels * 1e6:
            return (
                f"{width}x{height} are {height * width / 1e6:.0f} megapixels, more than `pixels: "
                f"{{max_megapixels: {self.max_megapixels:g}}}` under `dataset:` allows"
            )
        if depth != "8" and self.levels(depth) is None:
            return (
                f"holds {_WORDS[depth]}, which are black and white at no known value: "
                "say it by `pixels: {range: [LOW, HIGH]}` under `dataset:`"
            )
        return ""

    def key(self, sha256: str, depth: Depth, orientation: int) -> str:
        """Stands for the pixels of an image: the hash of a plain file, else of file and reading."""
        if depth == "8" and orientation == 1:
            return sha256
        levels = self.levels(depth)
        text = json.dumps([sha256, VERSION, levels and levels[:2], orientation])
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def mask_reading(self) -> str:
        """How masks are read where it is not the usual way; part of what trials are. Else empty."""
        found = (self.mask_threshold, self.mask_channel, bool(self.mask_invert))
        return "" if found == (None, "colour", False) else json.dumps(found)

    def mask_key(self, sha256: str, orientation: int) -> str:
        """Stands for the pixels of a mask, as `key` does for those of an image."""
        return self.key(sha256 + self.mask_reading, "8", orientation)

    def mask_turn(self, own: int, image: int) -> int:
        """The EXIF orientation by which a mask is turned, of its own and its image's."""
        return {"own": own, "image": image, "ignore": 1}[self.mask_exif]


PLAIN = PixelRule()  # the rule of data sets that say nothing

"""MPDD: six kinds of painted metal parts in MVTec AD's layout, masks `<stem>_mask.png`.

ROOT/bracket_black/train/good/000.png
ROOT/bracket_black/test/good/000.png
ROOT/bracket_black/test/scratches/000.png
ROOT/bracket_black/ground_truth/scratches/000_mask.png
"""

from harness.datasets.easel import Easel
from harness.datasets.expected import by_category
from harness.datasets.folders import Layout
from harness.datasets.reader import LayoutReader
from harness.datasets.record import DataSet

# they add up to the paper's 888, 176 and 282; per category no source of the authors was seen: unconfirmed
_COUNTS = {
    "bracket_black": (289, 32, 47),
    "bracket_brown": (185, 26, 51),
    "bracket_white": (110, 30, 30),
    "connector": (128, 30, 14),
    "metal_plate": (54, 26, 71),
    "tubes": (122, 32, 69),
}
COUNTS = by_category(_COUNTS)
_DEFECTS = {
    "bracket_black": "scratches",
    "bracket_brown": "parts_mismatch",
    "bracket_white": "defective_painting",
    "connector": "parts_mismatch",
    "metal_plate": "major_rust",
    "tubes": "anomalous",
}
_READER = LayoutReader("mpdd", Layout(validation=()), COUNTS, closed=True)


def _sketch(easel: Easel) -> None:
    for category in easel.categories(COUNTS):
        easel.good(f"{category}/{{split}}/good/{{i:03d}}.png", category)
        defect = _DEFECTS[category]
        for i in range(easel.test):
            image, mask = f"test/{defect}/{i:03d}.png", f"ground_truth/{defect}/{i:03d}_mask.png"
            easel.masked(f"{category}/{image}", f"{category}/{mask}", category, defect)


MPDD = DataSet(
    name="mpdd",
    title="MPDD",
    summary="Six kinds of painted metal parts, several to a picture and in any position; few images.",
    defects="not divided; the folder is the label",
    licence="CC BY-NC-SA 4.0",
    citation="Jezek, Jonak, Burget, Dvorak, Skotak: Deep learning-based defect detection of metal parts: "
    "evaluating current methods in complex conditions. ICUMT 2021.",
    url="https://github.com/stepanje/MPDD",
    counts=COUNTS,
    inspector=_READER.inspect,
    lister=_READER.names,
    doc=__doc__,
    recognise=_READER.recognises,
    sketcher=_sketch,
)

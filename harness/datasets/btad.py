"""BTAD: three products; images .bmp (01, 03) or .png (02), masks .png: each goes with the image of its stem.

ROOT/01/train/ok/0000.bmp
ROOT/01/test/ok/0000.bmp
ROOT/01/test/ko/0000.bmp
ROOT/01/ground_truth/ko/0000.png
ROOT/02/test/ko/0000.png
"""

from harness.datasets.easel import Easel
from harness.datasets.expected import by_category
from harness.datasets.folders import Layout
from harness.datasets.reader import LayoutReader
from harness.datasets.record import DataSet

# they add up to the archive's 1,799 training images, 451 good and 290 bad test images (github.com/
# dataset-ninja/btad, 2d45172); per category no source was seen: unconfirmed
_COUNTS = {"01": (400, 21, 49), "02": (399, 30, 200), "03": (1000, 400, 41)}
COUNTS = by_category(_COUNTS)
LAYOUT = Layout("train/ok", (), "test/ok", ("test/ko",))
_SUFFIXES = {"01": "bmp", "02": "png", "03": "bmp"}  # of images

_READER = LayoutReader("btad", LAYOUT, COUNTS, closed=True)


def _sketch(easel: Easel) -> None:
    for category in easel.categories(COUNTS):
        suffix = _SUFFIXES[category]
        easel.good(f"{category}/{{split}}/ok/{{i:04d}}.{suffix}", category)
        for i in range(easel.test):
            truth = f"{category}/ground_truth/ko/{i:04d}.png"
            easel.masked(f"{category}/test/ko/{i:04d}.{suffix}", truth, category, "ko")


BTAD = DataSet(
    name="btad",
    title="BTAD",
    summary="Three industrial products with defects of body and surface, all of one kind (`ko`).",
    defects="not divided, all are called ko",
    licence="CC BY-NC-SA 4.0",
    # as the authors ask to be cited; anomalib has ICIP 2021 and one author less
    citation="Mishra, Verk, Fornasier, Piciarelli, Foresti: VT-ADL: A Vision Transformer Network for Image "
    "Anomaly Detection and Localization. ISIE 2021.",
    url="https://avires.dimi.uniud.it/papers/btad/btad.zip",
    archive="btad.zip",
    sha256="461c9387e515bfed41ecaae07c50cf6b10def647b36c9e31d239ab2736b10d2a",
    counts=COUNTS,
    inspector=_READER.inspect,
    lister=_READER.names,
    doc=__doc__,
    recognise=_READER.recognises,
    sketcher=_sketch,
    looked_for=("CATEGORY/train/ok", "CATEGORY/test/ok"),
)

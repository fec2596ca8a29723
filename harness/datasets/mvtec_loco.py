"""MVTec LOCO AD: five categories with logical and structural anomalies."""

from pathlib import Path

from harness.datasets.easel import Easel
from harness.datasets.loco import LocoOptions, LocoReader
from harness.datasets.loco import __doc__ as LAYOUT_DOC
from harness.datasets.loco_files import DEFECTS
from harness.datasets.record import DataSet

_SPLITS = ("train", "validation", "test good", "test logical", "test structural")


def _table(rows: dict[str, tuple[int, ...]]) -> dict[str, dict[str, int]]:
    return {category: dict(zip(_SPLITS, row, strict=True)) for category, row in rows.items()}


# counted in the distributed archive: 3,651 images
COUNTS = _table(
    {
        "breakfast_box": (351, 62, 102, 83, 90),
        "juice_bottle": (335, 54, 94, 142, 94),
        "pushpins": (372, 69, 138, 91, 81),
        "screw_bag": (360, 60, 122, 137, 82),
        "splicing_connectors": (360, 60, 119, 108, 85),
    }
)
# Table 1 of the paper, which sums to 3,644; the other categories agree with the archive
PAPER_COUNTS = _table({"splicing_connectors": (354, 59, 119, 108, 85)})

_READER = LocoReader("mvtec_loco", COUNTS, PAPER_COUNTS)


def _recognise(root: Path) -> bool:
    return any((root / category / DEFECTS).is_file() for category in COUNTS)


def _sketch(easel: Easel) -> None:
    from harness.datasets.demo.sketch import sketch  # the painter takes a while to import

    sketch(easel, easel.categories(COUNTS))


MVTEC_LOCO = DataSet(
    name="mvtec_loco",
    title="MVTec LOCO AD",
    summary="Five categories with logical and structural anomalies; `all` means the nine sub-categories "
    "if there is a sub-type manifest, else the five categories.",
    licence="CC BY-NC-SA 4.0",
    citation="Bergmann, Batzner, Fauser, Sattlegger, Steger: Beyond Dents and Scratches: Logical "
    "Constraints in Unsupervised Anomaly Detection and Localization. IJCV 130, 947-969, 2022.",
    url="https://www.mvtec.com/company/research/datasets/mvtec-loco/downloads",
    archive="mvtec_loco_anomaly_detection.tar.xz",
    sha256="9e7c84dba550fd2e59d8e9e231c929c45ba737b6b6a6d3814100f54d63aae687",
    counts=COUNTS,
    Options=LocoOptions,
    inspector=_READER.inspect,
    lister=_READER.names,
    doc=LAYOUT_DOC,
    recognise=_recognise,
    sketcher=_sketch,
)

"""The demo data set: five procedural categories in LOCO's layout (`python -m harness.data demo OUT`)."""

from pathlib import Path

from harness.datasets.drawn import DEMO_MARK
from harness.datasets.folders import category_folders
from harness.datasets.loco import LAYOUT, LocoOptions, LocoReader
from harness.datasets.loco import __doc__ as LAYOUT_DOC
from harness.datasets.loco_files import PART_CLASSES
from harness.datasets.record import DataSet

_READER = LocoReader("demo", marks=(DEMO_MARK,), split_by_subtype=False)


def _recognise(root: Path) -> bool:
    return (root / "demo.json").is_file() or any(
        (root / c / PART_CLASSES).is_file() for c in category_folders(root, LAYOUT)
    )


DEMO = DataSet(
    name="demo",
    title="Demo data",
    summary="Procedural scenes with exact part and defect masks; `all` means the whole categories, "
    "sub-categories are read by name (juice_bottle/cherry).",
    licence="Apache-2.0",
    citation="this project",
    Options=LocoOptions,
    inspector=_READER.inspect,
    lister=_READER.names,
    doc=LAYOUT_DOC,
    recognise=_recognise,
)

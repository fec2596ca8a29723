"""CAD-SD: one product, a screw rod with a nut on one side; logical and structural anomalies, no masks.

ROOT/train/0_good/000.jpg
ROOT/test/0_good/000.jpg
ROOT/test/1_scratch/000.jpg
ROOT/test/2_paint/000.jpg
ROOT/test/3_over-coupling/000.jpg
ROOT/test/4_lacking/000.jpg

Over-coupling (a nut on either side) and lacking (on none) are what its authors call anomalies of the
co-occurrence relation: logical. Scratch and paint are theirs of a local region: structural.
"""

from dataclasses import replace
from pathlib import Path

from harness.data.samples import LOGICAL, STRUCTURAL
from harness.datasets.easel import Easel
from harness.datasets.folders import Layout
from harness.datasets.reader import LayoutReader
from harness.datasets.record import CommonOptions, DataSet, Inspection, Names
from harness.datasets.walk import found_folders
from harness.errors import nearest

CATEGORY = "screw"
FOLDERS = {"1_scratch": STRUCTURAL, "2_paint": STRUCTURAL, "3_over-coupling": LOGICAL, "4_lacking": LOGICAL}
LAYOUT = Layout("train/*good", (), "test/*good", ("test/*",), None, FOLDERS)
# folders as in the authors' run.py, numbers as in their README (run.py has 44 of "lacking", not 40)
COUNTS = {CATEGORY: {"train": 400, "test good": 210, "test logical": 84, "test structural": 82}}

_READER = LayoutReader("cad_sd", LAYOUT, COUNTS)


def _names(root: Path, options: CommonOptions) -> Names:
    """The one category, whose folder is the root itself."""
    del options
    one = (CATEGORY,) if found_folders(root, LAYOUT.train) and _kinds(root) & set(FOLDERS) else ()
    return Names(one, one, one)


def _inspect(root: Path, category: str, options: CommonOptions) -> Inspection:
    found = _READER.inspect_folder(root, category, options)
    other = sorted(_kinds(root) - set(FOLDERS))
    problems = [_unknown(root / "test" / name) for name in other]
    return replace(found, problems=[*problems, *found.problems])


def _kinds(root: Path) -> set[str]:
    """Folders of test images that are not good."""
    normal = found_folders(root, LAYOUT.normal)
    return {path.name for path in found_folders(root, "test/*") if path not in normal}


def _unknown(path: Path) -> str:
    allowed = ", ".join(FOLDERS)
    return (
        f"{path}: neither logical nor structural by its name{nearest(path.name, FOLDERS)}; allowed: {allowed}"
    )


def _sketch(easel: Easel) -> None:
    for _ in easel.categories((CATEGORY,)):
        easel.good("{split}/0_good/{i:03d}.jpg", CATEGORY)
        for folder, label in FOLDERS.items():
            for i in range(easel.test):
                easel.picture(f"test/{folder}/{i:03d}.jpg", CATEGORY, label)


CAD_SD = DataSet(
    name="cad_sd",
    title="CAD-SD",
    summary="Screws with a nut on one side: scratch and paint (structural), over-coupling and lacking "
    "(logical); one category, no masks.",
    defects="over-coupling and lacking are logical (anomalies of the co-occurrence relation, says the "
    "authors' README), scratch and paint structural (of a local region)",
    licence="none stated",
    # the README has no citation; as other papers cite it
    citation="Ishida, Takena, Nota, Mochizuki, Matsumura, Ohashi: SA-PatchCore: Anomaly Detection in "
    "Dataset With Co-Occurrence Relationships Using Self-Attention. IEEE Access 11, 2023.",
    url="https://github.com/IshidaKengo/SA-PatchCore",
    counts=COUNTS,
    inspector=_inspect,
    lister=_names,
    doc=__doc__,
    recognise=lambda root: (root / "train/0_good").is_dir(),
    sketcher=_sketch,
    looked_for=("train/0_good", *(f"test/{name}" for name in FOLDERS)),
)

"""AutoVI: six tasks of a car factory, with MVTec LOCO AD's masks and defects_config.json; scored by AU-sPRO.

ROOT/pipe_clip/defects_config.json: which pixel value of a mask is which defect, and when it is found
ROOT/pipe_clip/train/good/0000.png
ROOT/pipe_clip/test/good/0000.png
ROOT/pipe_clip/test/unclipped/0000.png
ROOT/pipe_clip/ground_truth/unclipped/0000/0000.png

The archives hold the category folder twice (pipe_clip/pipe_clip/train); both are read. Its authors' code has
no division into logical and structural anomalies; the folder of an image is its label. No validation images.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data.samples import DefectType
from harness.datasets.easel import Easel
from harness.datasets.expected import of_this, unlike
from harness.datasets.folders import Layout, read_tree
from harness.datasets.loco_files import DEFECTS, read_defects
from harness.datasets.record import CommonOptions, DataSet, Inspection, Names
from harness.datasets.splits import assemble
from harness.datasets.walk import found_folders
from harness.errors import DataError

# counted by a user in the unpacked archives (github.com/PlatDrake2875/autovi_evaluation_code, 6f740c2)
_COUNTS = {
    "engine_wiring": (
        285,
        285,
        {"blue_hoop": 5, "cardboard": 5, "fastening": 277, "multiple": 33, "obstruction": 2},
    ),
    "pipe_clip": (195, 195, {"operator": 1, "unclipped": 141}),
    "pipe_staple": (191, 188, {"missing": 117}),
    "tank_screw": (318, 318, {"missing": 95}),
    "underbody_pipes": (161, 161, {"multiple": 1, "obstruction": 180, "operator": 3}),
    "underbody_screw": (373, 374, {"missing": 18}),
}
COUNTS: dict[str, dict[str, int]] = {
    category: {"train": train, "test good": good, "test anomalous": sum(defects.values())}
    for category, (train, good, defects) in _COUNTS.items()
}
# one archive per category (zenodo.org/records/10459003), as anomalib 2.6.0 checks them
ARCHIVES = {
    "engine_wiring.zip": "252590d3249f7fbdf83a7e9b735ef0df175adc218460247e9a63bef1c03d420c",
    "pipe_clip.zip": "955bb17b3a471e23979f46f998a4723acd00cf3afc4d5edf0578dfb6ea80d6c3",
    "pipe_staple.zip": "fb9287f2cc86d660310e9886fdebbe2bd17269e853e29d06d708c6a996df1b18",
    "tank_screw.zip": "48d7193164b36de03cc10c9f7b1b64ea98a0ce7aa57867c8f1d96341c497b4b0",
    "underbody_pipes.zip": "fc1e53336d46fb2317d71e95c011bac012b609f2898fdb02780c920c19a113c7",
    "underbody_screw.zip": "3e9bf6a43033a22c7c9f927a43c392a3b037d22580a27a48d379d4504d9cc6cf",
}
LAYOUT = Layout(validation=())


def _folder(root: Path, category: str) -> Path:
    """The folder that holds train/: the category's, or the one of the same name inside it."""
    inner = root / category / category
    return inner if found_folders(inner, "train") else root / category


def _names(root: Path, options: CommonOptions) -> Names:
    del options
    inside = sorted(path.name for path in root.iterdir())
    found = of_this([name for name in inside if found_folders(_folder(root, name), "train")], COUNTS)
    return Names(found, found, found)


def _inspect(root: Path, category: str, options: CommonOptions) -> Inspection:
    folder = _folder(root, category)
    tree = read_tree(folder, LAYOUT)
    defects, problems = _defects(folder)
    marks, notes = unlike(category, tree, COUNTS.get(category, {}))
    split, found = assemble(
        ("autovi", category, folder),
        tree,
        defects,
        marks=[*marks, *options.marks],
        pixels=options.pixels,
        duplicates=options.allow_duplicates,
    )
    return Inspection(split, [*problems, *found], [*tree.notes, *notes])


def _defects(folder: Path) -> tuple[dict[int, DefectType], list[str]]:
    try:
        return read_defects(folder / DEFECTS), []
    except DataError as error:
        return {}, str(error).splitlines()


def _recognise(root: Path) -> bool:
    return any(found_folders(_folder(root, category), "train/good") for category in COUNTS)


def _sketch(easel: Easel) -> None:
    for category in easel.categories(COUNTS):
        defects = list(_COUNTS[category][2])
        values = {defect: 255 - i for i, defect in enumerate(defects)}
        easel.json(f"{category}/{DEFECTS}", [_config(name, value) for name, value in values.items()])
        easel.good(f"{category}/{{split}}/good/{{i:04d}}.png", category)
        for defect, value in values.items():
            for i in range(easel.test):
                marked = easel.picture(f"{category}/test/{defect}/{i:04d}.png", category, defect)
                truth = f"{category}/ground_truth/{defect}/{i:04d}/0000.png"
                easel.image(truth, _coloured(marked.astype(np.uint8) * np.uint8(value)))


def _coloured(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A grey mask as the archive stores it: its authors' code takes the first three of several channels."""
    return np.dstack([mask, mask, mask, np.full_like(mask, 255)])


def _config(name: str, value: int) -> dict[str, object]:
    return {
        "defect_name": name,
        "pixel_value": value,
        "saturation_threshold": 1.0,
        "relative_saturation": True,
    }


AUTOVI = DataSet(
    name="autovi",
    title="AutoVI",
    summary="Six inspection tasks of a car factory; masks and AU-sPRO as in MVTec LOCO AD, labels by folder.",
    defects="not divided: the authors' code scores each folder by itself",
    licence="CC BY-NC-SA 4.0",
    citation="Carvalho, Lafou, Durupt, Leblanc, Grandvalet: The Automotive Visual Inspection Dataset "
    "(AutoVI): A Genuine Industrial Production Dataset for Unsupervised Anomaly Detection. Zenodo, 2024.",
    url="https://doi.org/10.5281/zenodo.10459003",
    archives=ARCHIVES,
    counts=COUNTS,
    inspector=_inspect,
    lister=_names,
    doc=__doc__,
    recognise=_recognise,
    sketcher=_sketch,
)

"""MVTec LOCO's layout with scenes of the demo painter, and nothing in it that LOCO has not."""

from collections.abc import Iterable

from harness.datasets.demo.catalog import Category
from harness.datasets.demo.layout import defects_config
from harness.datasets.demo.scenes.drawing import CATEGORIES, MIN_SIZE, defects_at, scene
from harness.datasets.easel import Easel

_FOLDERS = {"logical_anomalies": "logical", "structural_anomalies": "structural"}


def sketch(easel: Easel, categories: Iterable[str]) -> None:
    """Draw some categories: images, masks, `defects_config.json`."""
    for name in categories:
        easel.json(f"{name}/defects_config.json", defects_config(name, MIN_SIZE))
        for folder, count in {"train": easel.train, "validation": easel.test, "test": easel.test}.items():
            for i in range(count):
                _draw(easel, CATEGORIES[name], f"{folder}/good", i)
        for folder, kind in _FOLDERS.items():
            for i in range(easel.test):
                _draw(easel, CATEGORIES[name], f"test/{folder}", i, defects_at(name, 0, kind, i))


def _draw(easel: Easel, category: Category, folder: str, index: int, defects: tuple[str, ...] = ()) -> None:
    drawn = scene(category.name, 0, f"sketch/{folder}", index, MIN_SIZE, defects)
    easel.image(f"{category.name}/{folder}/{index:03d}.png", drawn.image)
    truth = f"{category.name}/ground_truth/{folder.removeprefix('test/')}/{index:03d}"
    for number, (defect, marked) in enumerate(drawn.regions):
        easel.mask(f"{truth}/{number:03d}.png", marked, category.pixel_values()[defect])

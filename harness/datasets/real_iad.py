"""Real-IAD: thirty products, each from five sides; JSON files say what is trained and tested with.

ROOT/realiad_256/audiojack/OK/S0001/audiojack_0001_OK_C1_20231021130716.jpg: five views of one product
ROOT/realiad_256/audiojack/NG/HS/S0001/audiojack_0001_NG_HS_C1_20231021130716.jpg
ROOT/realiad_256/audiojack/NG/HS/S0001/audiojack_0001_NG_HS_C1_20231021130716_mask.png
ROOT/realiad_jsons/realiad_jsons/audiojack.json: lists train and test of image_path, mask_path, anomaly_class

Images come in several sizes (realiad_256, 512, 1024, raw): `size`. A product is anomalous if any of its
views is; its score in `sample_auroc` is the highest of its views.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal, final

from harness.data.rule import PLAIN, PixelRule
from harness.data.samples import GOOD
from harness.datasets.easel import Easel
from harness.datasets.folders import Tree
from harness.datasets.listed import TEST, TRAIN, Entry, listed_tree
from harness.datasets.record import DataSet, Inspection, Names
from harness.datasets.splits import assemble
from harness.errors import DataError, nearest

CATEGORIES = (
    "audiojack", "bottle_cap", "button_battery", "end_cap", "eraser", "fire_hood", "mint", "mounts", "pcb",
    "phone_battery", "plastic_nut", "plastic_plug", "porcelain_doll", "regulator", "rolled_strip_base",
    "sim_card_set", "switch", "tape", "terminalblock", "toothbrush", "toy", "toy_brick", "transistor1",
    "u_block", "usb", "usb_adaptor", "vcpill", "wooden_beads", "woodstick", "zipper",
)  # fmt: skip
SIZES = ("256", "512", "1024", "raw")
JSONS, VIEWS = "realiad_jsons", 5
Size = Literal["", "256", "512", "1024", "raw"]


@final
@dataclass(frozen=True)
class RealIadOptions:
    """What a sweep file may say about Real-IAD.

    Attributes:
        size: which of the folders realiad_256, realiad_512, realiad_1024, realiad_raw; may be left out where
            only one is there.
        index: folder in realiad_jsons/: "realiad_jsons" (five views), "realiad_jsons_sv" (one). Those of the
            noisy setting (fuiad) have anomalous training images and are refused.
        marks: what tables have to say of the numbers.
        pixels: how files are read that are not plain 8-bit images: `bits` that are in use of 16, `range` of
            other numbers, `mask_exif` (own, image, ignore), `mask_threshold`, `mask_channel`,
            `mask_invert`, `max_megapixels`.
        allow_duplicates: accept test images that are training images as well; every table then says so.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    size: Size = ""
    index: str = JSONS
    marks: tuple[str, ...] = ()
    pixels: PixelRule = PLAIN
    allow_duplicates: bool = False


def _images(root: Path, options: RealIadOptions) -> Path | None:
    """The folder of images in the size that is asked for, or in the only one there; None where there is none.

    Raises:
        DataError: several sizes are there and none is asked for, or not the one that is.
    """
    there = [size for size in SIZES if (root / f"realiad_{size}").is_dir()]
    if options.size and there and options.size not in there:
        raise DataError(f"{root}: size {options.size} is not there; there: {', '.join(there)}")
    if len(there) > 1 and not options.size:
        raise DataError(
            f"{root}: images in sizes {', '.join(there)}; say which under `dataset:`: size: '{there[0]}'"
        )
    return root / f"realiad_{options.size or there[0]}" if there else None


def _names(root: Path, options: RealIadOptions) -> Names:
    images = _images(root, options)
    inner = sorted(images.iterdir()) if images else []
    found = tuple(path.name for path in inner if (path / "OK").is_dir() or (path / "NG").is_dir())
    places = _places(root, options.index)
    if found and not any((place / f"{name}.json").is_file() for place in places for name in found):
        raise DataError(f"{places[0]}: no index of any category{_instead(root, options.index)}")
    return Names(found, found, found)


def _inspect(root: Path, category: str, options: RealIadOptions) -> Inspection:
    images = _images(root, options)
    assert images is not None  # a category was found in it
    folder = images / category
    try:
        entries, problems = read_index(_file(root, options.index, category))
        tree = listed_tree(folder, folder, entries, problems)
    except DataError as error:
        tree = Tree((), (), (), (str(error),))
    split, found = assemble(
        ("real_iad", category, folder),
        tree,
        marks=options.marks,
        pixels=options.pixels,
        duplicates=options.allow_duplicates,
    )
    return Inspection(split, found, tree.notes)


def _places(root: Path, index: str) -> list[Path]:
    """Where an index may lie: the outer folder of its archive may be missing."""
    return [root / JSONS / index, root / JSONS if index == JSONS else root / index]


def _instead(root: Path, index: str) -> str:
    there = sorted(path.name for path in (root / JSONS).glob("*/"))
    hint = "" if index in there else nearest(index, there)  # there, and empty
    return f"{hint}; indices there: {', '.join(there) or 'none'}"


def _file(root: Path, index: str, category: str) -> Path:
    """The JSON file of a category.

    Raises:
        DataError: there is none.
    """
    files = [place / f"{category}.json" for place in _places(root, index)]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        known = sorted(path.stem for path in files[0].parent.glob("*.json"))
        hint = nearest(category, known)
        raise DataError(f"{files[0]}: no such file, which says what is trained and tested with{hint}")
    return found


def read_index(file: Path) -> tuple[list[Entry], list[str]]:
    """The images of one category, and what is wrong with their entries, one sentence each.

    Raises:
        DataError: not readable, or without the lists "train" and "test".
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: not readable as JSON ({error})") from error
    lists = {key: content.get(key) if isinstance(content, dict) else None for key in (TRAIN, TEST)}
    if not all(isinstance(found, list) for found in lists.values()):
        raise DataError(f"{file}: must be an object with the lists {TRAIN} and {TEST}")
    entries, problems = [], []
    for split, number, item in _items(lists):
        where = f"{file}: {split} {number}"
        if wrong := _wrong(item):
            problems.append(f"{where}: {wrong}")
        else:
            entries.append(_entry(where, split, item))
    return entries, problems


def _items(lists: Mapping[str, Any]) -> Iterator[tuple[str, int, Any]]:
    for split, found in lists.items():
        for number, item in enumerate(found):
            yield split, number, item


def _wrong(item: Any) -> str:
    if not isinstance(item, dict):
        return f"an object is expected, not {item!r:.80}"
    for key in ("image_path", "anomaly_class"):
        if not isinstance(item.get(key), str):
            return f"{key} must be a text, not {item.get(key)!r:.80}"
    mask = item.get("mask_path")
    return (
        "" if mask is None or isinstance(mask, str) else f"mask_path must be a text or null, not {mask!r:.80}"
    )


def _entry(where: str, split: str, item: Mapping[str, Any]) -> Entry:
    image, kind = item["image_path"], item["anomaly_class"]
    label = GOOD if kind == "OK" else kind
    product = PurePosixPath(image).parent.as_posix()  # OK/S0001, NG/HS/S0001: the folder of its views
    return Entry(where, split, label, image, item.get("mask_path") or "", product)


def _recognise(root: Path) -> bool:
    return any((root / f"realiad_{size}").is_dir() for size in SIZES)


def _sketch(easel: Easel) -> None:
    for category in easel.categories(CATEGORIES):
        index: dict[str, list[dict[str, Any]]] = {TRAIN: [], TEST: []}
        for i in range(1, easel.train + easel.test + 1):
            split = TRAIN if i <= easel.train else TEST
            index[split] += [_draw(easel, category, "OK", i, view) for view in range(1, VIEWS + 1)]
        for i in range(1, easel.test + 1):
            # a scratch is not seen from all sides: the other views of the same product are normal images
            index[TEST] += [_draw(easel, category, "NG/HS", i, view) for view in range(1, VIEWS + 1)]
        easel.json(
            f"{JSONS}/{JSONS}/{category}.json",
            {"meta": {"normal_class": "OK", "prefix": f"{category}/"}} | index,
        )


def _draw(easel: Easel, category: str, kind: str, number: int, view: int) -> dict[str, Any]:
    stem = f"{kind}/S{number:04d}/{category}_{number:04d}_{kind.replace('/', '_')}_C{view}_20231021130716"
    folder, scene = f"realiad_256/{category}", f"{category} C{view}"
    seen = kind != "OK" and view <= 2
    marked = easel.picture(f"{folder}/{stem}.jpg", scene, "scratch" if seen else GOOD)
    if seen:
        easel.mask(f"{folder}/{stem}_mask.png", marked)
    return {
        "category": category,
        "anomaly_class": "HS" if seen else "OK",
        "image_path": f"{stem}.jpg",
        "mask_path": f"{stem}_mask.png" if seen else None,
    }


REAL_IAD = DataSet(
    name="real_iad",
    title="Real-IAD",
    summary="Thirty products from five sides each, in several sizes; k shots are k images, of any "
    "side; `sample_auroc` scores a product by the highest of its views.",
    defects="not divided; the code of the defect is the label (AK pit, BX deformation, CH abrasion, HS "
    "scratch, PS damage, QS missing parts, YW foreign objects, ZW contamination)",
    licence="CC BY-NC-SA 4.0",
    citation="Wang, Zhu, Gao, Gan, Zhang, Gu, Qian, Chen, Ma: Real-IAD: A Real-World Multi-View Dataset for "
    "Benchmarking Versatile Industrial Anomaly Detection. CVPR 2024.",
    url="https://huggingface.co/datasets/REAL-IAD/Real-IAD",
    counts={category: {} for category in CATEGORIES},
    # other papers say "over 150,000"; the exact number, and which code is which defect, are unconfirmed
    totals={"all": 151_050},
    Options=RealIadOptions,
    inspector=_inspect,
    lister=_names,
    doc=__doc__,
    recognise=_recognise,
    sketcher=_sketch,
    looked_for=("realiad_SIZE/CATEGORY/OK", f"{JSONS}/{JSONS}/CATEGORY.json"),
)

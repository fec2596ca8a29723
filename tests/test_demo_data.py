"""The demo data: layout, masks, determinism, and that the drawn defects are what they say."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import label

from harness.datasets.demo import CATEGORIES, PART_NAMES, generate, preview, scene
from harness.datasets.demo.layout import defects_config
from harness.datasets.demo.scenes.drawing import defects_at, subtype_at
from harness.errors import DataError

SIZE = 64


def small(
    folder: Path,
    *,
    workers: int = 1,
    seed: int = 0,
    categories: list[str] | None = None,
    train: int = 2,
    logical: int = 3,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Nine images per category, unless told otherwise."""
    return generate(
        folder,
        size=SIZE,
        train=train,
        validation=1,
        good=1,
        logical=logical,
        structural=2,
        categories=categories,
        seed=seed,
        workers=workers,
        progress=progress,
    )


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def pieces(parts: np.ndarray, category: str, part: str, least: int = 12) -> int:
    """Connected pieces of a part, crumbs left out."""
    labelled, n = label(parts == PART_NAMES[category].index(part), np.ones((3, 3)))  # pyright: ignore
    return int((np.bincount(labelled.ravel())[1:] >= least).sum()) if n else 0


def share(parts: np.ndarray, category: str, part: str) -> float:
    return float((parts == PART_NAMES[category].index(part)).mean())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small(tmp_path_factory.mktemp("demo") / "data")


def test_layout(root: Path):
    for name, category in CATEGORIES.items():
        folder = root / name
        for kind, count in (("good", 1), ("logical_anomalies", 3), ("structural_anomalies", 2)):
            assert [p.name for p in sorted((folder / "test" / kind).iterdir())] == [
                f"{i:03d}.png" for i in range(count)
            ]
        assert len(list((folder / "train/good").glob("*.png"))) == 2
        assert len(list((folder / "validation/good").glob("*.png"))) == 1
        assert not (folder / "ground_truth/good").exists()
        assert json.loads((folder / "part_classes.json").read_text()) == list(category.parts)
        assert "procedural" in (folder / "readme.txt").read_text()
        assert (folder / "subtypes.json").exists() == bool(category.subtypes)
    assert not list(root.glob(".partial*"))


def test_manifest(root: Path):
    manifest = json.loads((root / "demo.json").read_text())
    assert manifest["demo"] is True and "demo data, procedural" in manifest["note"]
    assert manifest["complete"] and manifest["settings"]["size"] == SIZE
    assert manifest["images"] == 9 * len(CATEGORIES) == len(list(root.glob("*/t*/*/*.png"))) + len(CATEGORIES)


def test_masks(root: Path):
    for name in CATEGORIES:
        config = {
            entry["pixel_value"]: entry
            for entry in json.loads((root / name / "defects_config.json").read_text())
        }
        for image in sorted((root / name / "test").glob("*_anomalies/*.png")):
            regions = sorted((root / name / "ground_truth" / image.parent.name / image.stem).iterdir())
            assert [p.name for p in regions] == [f"{i:03d}.png" for i in range(len(regions))] and regions
            for path in regions:
                mask = read(path)
                values = set(np.unique(mask)) - {0}
                assert mask.ndim == 2 and mask.dtype == np.uint8 and mask.shape == read(image).shape[:2]
                assert len(values) == 1 and values <= set(config)


def test_part_masks(root: Path):
    for name, category in CATEGORIES.items():
        images = sorted(root.glob(f"{name}/train/*/*.png")) + sorted(root.glob(f"{name}/test/*/*.png"))
        for image in images:
            path = root / name / "part_masks" / image.relative_to(root / name)
            parts = read(path)
            assert parts.shape == read(image).shape[:2] and parts.max() < len(category.parts)


def test_subtypes(root: Path):
    for name in ("juice_bottle", "splicing_connectors"):
        table = json.loads((root / name / "subtypes.json").read_text())
        images = {
            p.relative_to(root / name).as_posix()
            for s in ("train", "validation", "test")
            for p in (root / name / s).rglob("*.png")
        }
        assert set(table) == images and set(table.values()) <= set(CATEGORIES[name].subtypes)
    juice = json.loads((root / "juice_bottle/subtypes.json").read_text())["train/good/001.png"]
    drawn = scene("juice_bottle", 0, "train", 1, SIZE)
    assert drawn.subtype == juice
    assert np.array_equal(drawn.image, read(root / "juice_bottle/train/good/001.png"))
    assert np.array_equal(drawn.parts, read(root / "juice_bottle/part_masks/train/good/001.png"))


def test_two_workers_same_bytes(tmp_path: Path):
    some = ["juice_bottle", "screw_bag"]
    one, two = (files(small(tmp_path / str(n), categories=some, workers=n)) for n in (1, 2))
    assert one == two


def test_images_do_not_depend_on_the_counts(root: Path, tmp_path: Path):
    other = files(small(tmp_path / "more", categories=["screw_bag"], train=3, logical=4))
    known = {k: v for k, v in files(root).items() if k.startswith("screw_bag/")}
    assert known.items() <= other.items() and len(other) > len(known)


def test_complete_folder_is_left_alone_and_interrupted_one_finished(tmp_path: Path):
    folder = small(tmp_path / "d", categories=["pushpins"])
    before = files(folder)
    calls: list[tuple[int, int]] = []

    def again() -> Path:
        return small(folder, categories=["pushpins"], progress=lambda *done: calls.append(done))

    assert again() == folder and calls == []
    (folder / "pushpins/train/good/001.png").unlink()
    manifest = json.loads((folder / "demo.json").read_text())
    (folder / "demo.json").write_text(json.dumps({**manifest, "complete": False}))
    again()
    assert files(folder) == before and calls == [(9, 9)]


def test_progress_counts_up(tmp_path: Path):
    calls: list[tuple[int, int]] = []
    small(tmp_path / "p", categories=["screw_bag"], progress=lambda *done: calls.append(done))
    assert calls[-1] == (9, 9) and [c[0] for c in calls] == sorted({c[0] for c in calls})


def test_other_settings_and_foreign_folders_are_refused(root: Path, tmp_path: Path):
    before = files(root)
    with pytest.raises(DataError, match="seed: there 0, asked for 1"):
        small(root, seed=1)
    assert files(root) == before
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"no demo\.json"):
        generate(tmp_path, size=SIZE)
    (tmp_path / "demo.json").write_text("[]")
    with pytest.raises(DataError, match="not the manifest"):
        generate(tmp_path, size=SIZE)
    with pytest.raises(DataError, match="not there"):
        preview(tmp_path / "nothing", tmp_path / "x.png")


def test_bad_arguments_name_the_nearest(tmp_path: Path):
    with pytest.raises(DataError, match="did you mean 'screw_bag'"):
        generate(tmp_path / "x", categories=["screw_bags"])
    with pytest.raises(DataError, match="size 32: at least 64; train -1: not negative"):
        generate(tmp_path / "x", size=32, train=-1)
    with pytest.raises(DataError, match="did you mean '1_missing_nut'"):
        scene("screw_bag", 0, "a", 0, SIZE, "1_missing_nuts")
    with pytest.raises(DataError, match="too small"):
        scene("screw_bag", 0, "a", 0, 63)
    with pytest.raises(DataError, match="unknown product type"):
        scene("juice_bottle", 0, "a", 0, SIZE, subtype="apple")
    with pytest.raises(DataError, match="not in 'blue'"):
        scene("splicing_connectors", 0, "a", 0, SIZE, "cable_too_short_T2", "blue")
    with pytest.raises(DataError, match="must not be negative"):
        scene("pushpins", -1, "a", 0, SIZE)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("category", CATEGORIES)
def test_scene_is_pure_and_varies(category: str):
    state = np.random.get_state()[1].copy()  # pyright: ignore
    first, again = (scene(category, 3, "a", 5, SIZE) for _ in range(2))
    assert np.array_equal(first.image, again.image) and np.array_equal(first.parts, again.parts)
    assert np.array_equal(np.random.get_state()[1], state)  # pyright: ignore
    assert (
        first.regions == [] and first.image.dtype == np.uint8 and first.image.shape[:2] == first.parts.shape
    )
    for other in (
        scene(category, 4, "a", 5, SIZE),
        scene(category, 3, "b", 5, SIZE),
        scene(category, 3, "a", 6, SIZE),
    ):
        assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("category", CATEGORIES)
def test_scene_is_the_same_at_another_size(category: str):
    small = scene(category, 0, "a", 1, 64)
    large = scene(category, 0, "a", 1, 128)
    h, w = small.parts.shape
    nearest = large.parts[1::2, 1::2][:h, :w]
    agree = nearest == small.parts[: nearest.shape[0], : nearest.shape[1]]
    assert agree.mean() > 0.85


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_defect_is_drawn_and_masked(category: str):
    for index, defect in enumerate(CATEGORIES[category].defects):
        drawn = scene(category, 1, "a", index, SIZE, defect.name)
        assert [name for name, _ in drawn.regions] == [defect.name]
        assert all(
            mask.shape == drawn.parts.shape and mask.dtype == bool and mask.sum() >= 4
            for _, mask in drawn.regions
        )
        if defect.subtype:
            assert drawn.subtype == defect.subtype


@pytest.mark.parametrize("category", CATEGORIES)
def test_pairs_give_two_regions(category: str):
    for pair in CATEGORIES[category].pairs:
        drawn = scene(category, 0, "a", 0, SIZE, pair)
        assert sorted(name for name, _ in drawn.regions) == sorted(pair)


def test_saturation_fits_the_regions():
    """An absolute saturation area must be reachable: not larger than the region it is for."""
    for category in CATEGORIES:
        config = {entry["defect_name"]: entry for entry in defects_config(category, 128)}
        for index, entry in enumerate(e for e in config.values() if not e["relative_saturation"]):
            assert isinstance(entry["saturation_threshold"], int)
            area = scene(category, 0, "a", index, 128, entry["defect_name"]).regions[0][1].sum()
            assert entry["saturation_threshold"] <= 1.12 * area, entry["defect_name"]


def test_defects_take_turns():
    for category in CATEGORIES.values():
        for kind in ("logical", "structural"):
            names = category.of_kind(kind)
            turn = [defects_at(category.name, 0, kind, i) for i in range(len(names))]
            assert sorted(d for (d,) in turn) == sorted(names)
    pairs = [defects_at("screw_bag", 0, "logical", i) for i in range(16, 40)]
    assert sum(len(p) == 2 for p in pairs) == 6


def test_subtypes_take_turns():
    for turn in range(5):
        drawn = {subtype_at("juice_bottle", 0, "train", 3 * turn + i) for i in range(3)}
        assert drawn == set(CATEGORIES["juice_bottle"].subtypes)
    assert subtype_at("screw_bag", 0, "train", 0) is None


@cache
def good_bags() -> list[np.ndarray]:
    return [scene("screw_bag", 0, "g", i, 96).parts for i in range(6)]


BAG = ("long screw", "short screw", "hexagonal nut", "ring washer")


@pytest.mark.parametrize(
    ("defect", "part", "factor"),
    [
        ("1_missing_washer", "ring washer", 0.5),
        ("1_additional_washer", "ring washer", 1.5),
        ("2_missing_nuts", "hexagonal nut", 0.0),
        ("2_additional_nuts", "hexagonal nut", 2.0),
        ("1_missing_long_screw", "long screw", 0.0),
        ("1_additional_short_screw", "short screw", 2.0),
        ("screw_too_long", "long screw", 1.2),
        ("1_very_short_screw", "short screw", 0.7),
    ],
)
def test_screw_bag_parts(defect: str, part: str, factor: float):
    good = good_bags()
    bad = [scene("screw_bag", 0, "b", i, 96, defect).parts for i in range(6)]
    for name in BAG:
        ratio = np.mean([share(p, "screw_bag", name) for p in bad]) / np.mean(
            [share(p, "screw_bag", name) for p in good]
        )
        assert ratio == pytest.approx(factor if name == part else 1.0, abs=0.15)


def test_screw_bag_counts_by_component():
    """Where nothing touches, two washers are two components and a missing one leaves one."""
    good = [pieces(scene("screw_bag", 0, "g", i, 128).parts, "screw_bag", "ring washer") for i in range(8)]
    bad = [
        pieces(scene("screw_bag", 0, "b", i, 128, "1_missing_washer").parts, "screw_bag", "ring washer")
        for i in range(8)
    ]
    assert np.median(good) == 2 and np.median(bad) == 1


def test_pushpins_counts():
    for defect, pins in ((None, 15), ("missing_pushpin", 14)):
        drawn = scene("pushpins", 0, "a", 2, 128, defect)
        assert pieces(drawn.parts, "pushpins", "yellow pushpin") == pins


def test_breakfast_box_counts():
    for defect, tangerines, nectarines in (
        (None, 2, 1),
        ("0_nectarines_4_tangerines", 4, 0),
        ("3_nectarines_0_tangerines", 0, 3),
    ):
        parts = scene("breakfast_box", 0, "a", 0, 96, defect).parts
        radius = np.sqrt(share(parts, "breakfast_box", "tangerine") * parts.size / np.pi) / 96
        assert radius == pytest.approx(0.126 * np.sqrt(tangerines), rel=0.06, abs=0.001)
        radius = np.sqrt(share(parts, "breakfast_box", "red nectarine") * parts.size / np.pi) / 96
        assert radius == pytest.approx(0.142 * np.sqrt(nectarines), rel=0.06, abs=0.001)
    assert (
        share(scene("breakfast_box", 0, "a", 0, 96, "missing_almonds").parts, "breakfast_box", "almond") == 0
    )


def test_juice_matches_label_unless_wrong():
    fluids = ("red cherry juice", "orange juice", "white banana juice")
    icons = ("picture of cherries", "picture of an orange fruit", "picture of bananas")
    for defect, same in ((None, True), ("wrong_juice_type", False)):
        for kind in range(3):
            subtype = CATEGORIES["juice_bottle"].subtypes[kind]
            parts = scene("juice_bottle", 0, "a", kind, 96, defect, subtype).parts
            juice = [share(parts, "juice_bottle", name) > 0 for name in fluids]
            icon = [share(parts, "juice_bottle", name) > 0 for name in icons]
            assert juice == [i == kind for i in range(3)] and sum(icon) == 1 and (icon == juice) is same


def test_fill_level():
    area = {
        d: share(scene("juice_bottle", 0, "a", 4, 96, d, "orange").parts, "juice_bottle", "orange juice")
        for d in (None, "wrong_fill_level_not_enough", "wrong_fill_level_too_much", "empty_bottle")
    }
    assert (
        area["empty_bottle"]
        == 0
        < area["wrong_fill_level_not_enough"]
        < area[None]
        < area["wrong_fill_level_too_much"]
    )


def test_cable_colour_and_clamps():
    for subtype, clamps in (("yellow", 2), ("blue", 3), ("red", 5)):
        parts = scene("splicing_connectors", 0, "a", 0, 128, subtype=subtype).parts
        assert share(parts, "splicing_connectors", f"{subtype} cable") > 0.01
        assert pieces(parts, "splicing_connectors", "orange lever") == 2 * clamps
    wrong = scene("splicing_connectors", 0, "a", 0, 128, "wrong_connector_type_5_2").parts
    assert pieces(wrong, "splicing_connectors", "orange lever") == 7


def test_whole_image_masks_exist():
    """As in LOCO, some defects blame the whole image; such a mask has no zero."""
    assert scene("splicing_connectors", 0, "a", 0, SIZE, "cable_too_short_T3").regions[0][1].all()


def test_preview_shows_every_category(tmp_path: Path):
    folder = generate(
        tmp_path / "d",
        size=SIZE,
        workers=1,
        categories=["pushpins"],
        train=1,
        validation=0,
        good=0,
        logical=0,
        structural=0,
    )
    sheet = read(preview(folder, tmp_path / "sheets/s.png"))
    tile = scene("pushpins", 0, "preview", 0, SIZE)
    assert np.array_equal(sheet[14 : 14 + SIZE, : tile.image.shape[1]], tile.image)
    assert (sheet == (255, 0, 255)).all(-1).any() and (sheet == (0, 255, 255)).all(-1).any()

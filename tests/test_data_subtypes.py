import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from data_trees import loco
from PIL import Image

from harness.curate.colours import CHROMATIC, crop, kmeans, lab, region_colour
from harness.curate.command import main as command
from harness.curate.derive import COLOUR_RULES, ColourRule, agreement, derive, published_groups
from harness.data.subtypes import Entry, Manifest, read_manifest, write_manifest
from harness.datasets import DATASETS
from harness.datasets.loco import LocoOptions
from harness.errors import ConfigError, DataError
from methods import METHODS


def _main(arguments: list[str]) -> int:
    return command(METHODS, arguments)


LOCO, DEMO = DATASETS.load("mvtec_loco"), DATASETS.load("demo")
REAL = Path(os.environ.get("LADDER_DATA", "")) / "mvtec_loco_part"
COLOURS = {"cherry": (90, 20, 10), "orange": (150, 125, 40), "banana": (150, 140, 105)}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LADDER_CACHE", str(tmp_path / "cache"))


def types(folder: Path, names=("cherry", "banana")) -> dict[str, str]:
    """Image id -> type, alternating, for every image of a category folder."""
    ids = sorted(p.relative_to(folder).as_posix() for part in ("train", "validation", "test")
                 for p in (folder / part).rglob("*.png"))  # fmt: skip
    return {image: names[n % len(names)] for n, image in enumerate(ids)}


@pytest.fixture
def root(tmp_path) -> Path:
    loco(tmp_path / "data", "juice_bottle")
    loco(tmp_path / "data", "pushpins")
    return tmp_path / "data"


def versioned(root: Path, entries: dict, name: str = "subtypes.json") -> Path:
    path = root / name
    path.write_text(json.dumps({"version": 1, "categories": {"juice_bottle": entries}}))
    return path


# --- reading a manifest ---------------------------------------------------------------------------


def test_all_means_sub_categories_where_there_is_a_manifest(root):
    assert LOCO.categories(root) == ["juice_bottle", "pushpins"]
    path = versioned(root, types(root / "juice_bottle"))
    assert LOCO.categories(root) == ["juice_bottle/banana", "juice_bottle/cherry", "pushpins"]
    assert LOCO.known_categories(root) == ["juice_bottle", *LOCO.categories(root)]
    assert DEMO.categories(root) == ["juice_bottle", "pushpins"]
    assert "juice_bottle/cherry" in DEMO.known_categories(root)
    assert DEMO.categories(root, LocoOptions(subtypes=path)) == LOCO.categories(root)


def test_sub_categories_are_filters_with_their_own_fingerprint(root):
    whole = LOCO.read(root, "juice_bottle")
    versioned(root, types(root / "juice_bottle"))
    typed = LOCO.read(root, "juice_bottle")
    assert typed.fingerprint == whole.fingerprint  # the types change nothing about the whole category
    assert {s.subtype for s in typed.train} == {"cherry", "banana"}
    parts = [LOCO.read(root, f"juice_bottle/{name}") for name in ("banana", "cherry")]
    for group in ("train", "validation", "test"):
        union = [s for split in parts for s in getattr(split, group)]
        assert sorted(union, key=lambda s: s.id) == sorted(getattr(typed, group), key=lambda s: s.id)
    assert all(s.subtype == "cherry" for s in parts[1].train + parts[1].test)
    assert len({whole.fingerprint, *(split.fingerprint for split in parts)}) == 3
    assert parts[1].category == "juice_bottle/cherry"


def test_fingerprint_of_a_sub_category_follows_its_own_images_only(root):
    entries = types(root / "juice_bottle")
    versioned(root, entries)
    before = {name: LOCO.read(root, f"juice_bottle/{name}").fingerprint for name in ("cherry", "banana")}
    cherry = next(image for image, name in entries.items() if name == "cherry" and image.startswith("train"))
    Image.new("RGB", (16, 12)).save(root / "juice_bottle" / cherry)
    after = {name: LOCO.read(root, f"juice_bottle/{name}").fingerprint for name in before}
    assert after["cherry"] != before["cherry"] and after["banana"] == before["banana"]


@pytest.mark.parametrize("form", ["root flat", "root nested", "category"])
def test_plain_forms(root, form):
    entries = types(root / "juice_bottle")
    path, content = {
        "root flat": (root / "subtypes.json", {f"juice_bottle/{k}": v for k, v in entries.items()}),
        "root nested": (root / "subtypes.json", {"juice_bottle": entries}),
        "category": (root / "juice_bottle/subtypes.json", entries),
    }[form]
    path.write_text(json.dumps(content))
    split = LOCO.read(root, "juice_bottle/cherry")
    assert {s.id for s in split.train} == {
        i for i, t in entries.items() if t == "cherry" and i.startswith("train")
    }


def test_rules_for_ambiguous_images(root):
    entries: dict = dict(types(root / "juice_bottle"))
    image = "test/logical_anomalies/001.png"
    entries[image] = {"subtype": "cherry", "ambiguous": True, "nearest_gap": "banana"}
    path = versioned(root, entries)

    def ids(subtype, rule):
        return {s.id for s in LOCO.read(root, f"juice_bottle/{subtype}", LocoOptions(path, rule)).test}

    assert image in ids("cherry", "primary_attribute") - ids("banana", "primary_attribute")
    assert image in ids("banana", "nearest_gap") - ids("cherry", "nearest_gap")
    assert image not in ids("banana", "drop_ambiguous") | ids("cherry", "drop_ambiguous")
    del entries[image]["nearest_gap"]
    versioned(root, entries)
    with pytest.raises(DataError, match=f"{image} is ambiguous and has no 'nearest_gap'"):
        ids("cherry", "nearest_gap")


def test_manifest_must_list_every_image(root):
    entries = types(root / "juice_bottle")
    del entries["train/good/002.png"], entries["test/good/001.png"]
    path = versioned(root, entries)
    LOCO.read(root, "juice_bottle")
    with pytest.raises(DataError) as caught:
        LOCO.read(root, "juice_bottle/cherry")
    lines = str(caught.value).splitlines()[1:]
    assert [line.split(": ")[-1] for line in lines] == [
        f"no entry for {root}/juice_bottle/train/good/002.png",
        f"no entry for {root}/juice_bottle/test/good/001.png",
    ]
    assert str(path) in lines[0]


def test_where_a_manifest_is_looked_for(root, tmp_path, monkeypatch):
    path = versioned(root, types(root / "juice_bottle"), "mine.json")
    assert len(LOCO.categories(root)) == 2
    assert len(LOCO.categories(root, LocoOptions(Path("mine.json")))) == 3
    path.rename(tmp_path / "mine.json")
    monkeypatch.chdir(tmp_path)
    assert len(LOCO.categories(root, LocoOptions(Path("mine.json")))) == 3
    with pytest.raises(DataError, match=r"gone.json: no such sub-type manifest \(looked in"):
        LOCO.categories(root, LocoOptions(Path("gone.json")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a readable sub-type manifest"),
        ("[]", "is a JSON object, not a list"),
        ('{"version": 2, "categories": {}}', "of version 2; version 1 is read"),
        ('{"version": 1}', "'categories' must map"),
        ('{"version": 1, "categories": {"a": {"b": {"subtyp": "c"}}}}', "a: b: must be the name"),
        (
            '{"version": 1, "categories": {"a": {"b": {"subtype": "c", "margin": "d"}}}}',
            "a: b: must be the name",
        ),
        ('{"version": 1, "categories": {"a": {"b": "c/d"}}}', "is no name of a sub-type"),
        ('{"a": "b"}', "'a' must be written category/split"),
    ],
)
def test_wrong_manifests(root, text, message):
    (root / "subtypes.json").write_text(text)
    with pytest.raises(DataError, match=message):
        LOCO.categories(root)


def test_write_keeps_other_categories(tmp_path):
    path = tmp_path / "deep/m.json"
    first = {"juice_bottle": {"a.png": Entry("cherry", "cluster", True, 0.25, "banana")}}
    write_manifest(Manifest(path, first, {"juice_bottle": {"k": 3}}))
    write_manifest(Manifest(path, {"screw_bag": {"b.png": Entry("x")}}))
    stored = read_manifest(path)
    assert stored.categories == {**first, "screw_bag": {"b.png": Entry("x")}}
    assert stored.how == {"juice_bottle": {"k": 3}}
    assert [p.name for p in path.parent.iterdir()] == ["m.json"]
    path.write_text("no manifest")
    with pytest.raises(DataError, match="not a readable"):
        write_manifest(Manifest(path, first))


# --- colours --------------------------------------------------------------------------------------


def test_lab_of_known_colours():
    # CIE Lab (D65) of sRGB primaries, as tabulated by B. Lindbloom's calculator
    for rgb, expected in {
        (255, 255, 255): (100, 0, 0),
        (0, 0, 0): (0, 0, 0),
        (255, 0, 0): (53.24, 80.09, 67.20),
        (0, 255, 0): (87.73, -86.18, 83.18),
        (0, 0, 255): (32.30, 79.19, -107.86),
        (128, 128, 128): (53.59, 0, 0),
    }.items():
        assert np.allclose(lab(rgb), expected, atol=0.02), rgb


def test_region_colour_and_crop():
    image = np.zeros((10, 20, 3), np.uint8)
    image[4:6, 10:15] = (255, 0, 0)
    assert crop(image, (0.5, 0.4, 0.75, 0.6)).shape == (2, 5, 3)
    assert np.allclose(region_colour(image, (0.5, 0.4, 0.75, 0.6)), lab((255, 0, 0)))
    assert np.allclose(region_colour(image, (0.5, 0.4, 1.0, 0.6)), lab((255, 0, 0)) / 2)
    assert np.allclose(region_colour(image, (0, 0, 1, 1), "chromatic"), lab((255, 0, 0)))
    assert CHROMATIC * 200 == 10  # the red ones


def test_kmeans_finds_separate_groups_and_is_deterministic():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0, 0], [20, 0, 0], [0, 30, 5.0]])
    points = np.concatenate([c + rng.normal(size=(n, 3)) for c, n in zip(centres, (50, 9, 21), strict=True)])
    found = kmeans(points, 3)
    assert np.allclose(
        found[np.lexsort(found.T[:2])], centres[[2, 0, 1]][np.lexsort(centres[[2, 0, 1]].T[:2])], atol=1
    )
    assert (kmeans(points, 3) == found).all()
    assert kmeans(np.ones((4, 3)), 2).shape == (2, 3)  # fewer different points than clusters


# --- deriving a manifest --------------------------------------------------------------------------


def bottles(root: Path) -> dict[str, str]:
    """Flat bottles in three colours: 12 train, 4 validation, 6 good, 2 wrong ones; image id -> type."""
    folder, names = loco(root, "juice_bottle", train=0), list(COLOURS)
    for path in folder.rglob("test/good/*.png"):
        path.unlink()
    truth = {}
    for place, n in {"train/good": 12, "validation/good": 4, "test/good": 6}.items():
        (folder / place).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            truth[f"{place}/{i:03d}.png"] = names[i % 3]
    truth["test/logical_anomalies/000.png"] = "banana"
    for n, (name, subtype) in enumerate(truth.items()):
        _bottle(folder / name, COLOURS[subtype], n)
    _bottle(folder / "test/logical_anomalies/000.png", COLOURS["banana"], 1, hidden=True)
    _bottle(folder / "test/logical_anomalies/001.png", (0, 0, 0), 2)
    _bottle(folder / "test/structural_anomalies/000.png", COLOURS["cherry"], 99)
    return truth | {"test/structural_anomalies/000.png": "cherry"}


def _bottle(path: Path, colour, seed: int, hidden: bool = False) -> None:
    pixels = np.zeros((200, 100, 3)) + colour
    pixels += np.random.default_rng(seed).normal(0, 6, pixels.shape)
    if hidden:
        pixels[133:148] = (250, 160, 40)  # a label over the region that decides
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).resize((16, 12) if not seed else (100, 200)).save(
        path
    )


def _masks_to_size(folder: Path) -> None:
    for path in folder.rglob("ground_truth/**/*.png"):
        value = int(np.asarray(Image.open(path)).max())
        pixels = np.zeros((200, 100), np.uint8)
        pixels[:9, :9] = value
        Image.fromarray(pixels).save(path)


@pytest.fixture
def juice(tmp_path):
    root = tmp_path / "juice"
    truth = bottles(root)
    _masks_to_size(root)
    return root, truth


def test_derived_types_names_and_doubts(juice, tmp_path):
    root, truth = juice
    split = LOCO.read(root, "juice_bottle")
    proposal = derive(split, COLOUR_RULES["juice_bottle"], tmp_path / "m.json")
    entries = proposal.manifest.categories["juice_bottle"]
    assert {image: entries[image].subtype for image in truth} == truth
    assert entries["test/logical_anomalies/000.png"].rule.startswith("nearest centroid, region ")
    assert proposal.ambiguous == ["test/logical_anomalies/001.png"]
    assert proposal.sizes["cherry"]["train"] == 4
    again = derive(split, COLOUR_RULES["juice_bottle"], tmp_path / "m.json")
    assert again == proposal


def test_names_in_the_order_of_hue(juice, tmp_path):
    root, truth = juice
    recipe = ColourRule(COLOUR_RULES["juice_bottle"].regions, names=("red", "brown", "pale"))
    entries = derive(LOCO.read(root, "juice_bottle"), recipe, tmp_path / "m").manifest.categories[
        "juice_bottle"
    ]
    assert entries["train/good/000.png"].subtype == "red" and truth["train/good/000.png"] == "cherry"
    assert len({entry.subtype for entry in entries.values()}) == 3


def test_wrong_recipes(juice, tmp_path):
    with pytest.raises(ConfigError) as caught:
        ColourRule(((0.5, 0, 0.4, 1),), k=1)
    assert len(caught.value.problems) == 2
    with pytest.raises(ConfigError, match="3 different names are needed, not a, b"):
        ColourRule(((0, 0, 1, 1),), names=("a", "b"))
    with pytest.raises(ConfigError, match="a region is needed"):
        ColourRule(())
    with pytest.raises(DataError, match="16 normal images cannot make 17"):
        derive(LOCO.read(juice[0], "juice_bottle"), ColourRule(((0, 0, 1, 1),), k=17), tmp_path / "m")


def test_published_groups_are_the_papers_numbers():
    assert [len(g) for g in published_groups("juice_bottle").values()] == [112, 112, 111]
    groups = published_groups("splicing_connectors")
    assert [len(g) for g in groups.values()] == [120, 120, 120]
    assert len({i for ids in groups.values() for i in ids}) == 360
    assert published_groups("pushpins") == {}


def test_agreement_matches_names_and_lists_differences():
    entries = {f"{i}.png": Entry("ab"[i % 2]) for i in range(10)}
    manifest = Manifest(Path("m"), {"x": entries})
    groups = {"0": ["1.png", "3.png", "5.png", "4.png"], "1": ["0.png", "2.png", "77.png"]}
    found = agreement(manifest, "x", groups)
    assert (found.agreed, found.compared, found.differing) == (5, 6, ("4.png",))
    assert found.names == {"0": "b", "1": "a"}
    assert agreement(manifest, "other", groups).compared == 0


def test_command_writes_manifest_and_sheet(juice, tmp_path, capsys):
    root, truth = juice
    out, sheet = tmp_path / "m.json", tmp_path / "sheet.png"
    arguments = [
        "subtypes",
        str(root),
        "--category",
        "juice_bottle",
        "--out",
        str(out),
        "--preview",
        str(sheet),
    ]
    assert _main(arguments) == 0
    assert "1 ambiguous: test/logical_anomalies/001.png" in capsys.readouterr().out
    stored = read_manifest(out).categories["juice_bottle"]
    assert {image: stored[image].subtype for image in truth} == truth
    with Image.open(sheet) as picture:
        assert picture.size[0] == 1600
    split = LOCO.read(root, "juice_bottle/orange", LocoOptions(subtypes=out))
    assert [s.id for s in split.train] == [
        i for i, t in truth.items() if t == "orange" and i.startswith("train")
    ]
    assert _main([*arguments, "--check"]) == 1  # these flat bottles are not LOCO's
    assert "of 12 agree" in capsys.readouterr().out


def test_command_without_region_for_an_unknown_category(root, tmp_path, capsys):
    assert _main(["subtypes", str(root), "--category", "pushpins", "--out", str(tmp_path / "m.json")]) == 2
    assert "a region is needed" in capsys.readouterr().err
    assert (
        _main(["subtypes", str(root), "--category", "pushpins/red", "--out", str(tmp_path / "m.json")]) == 2
    )
    assert "a whole category is divided" in capsys.readouterr().err
    region = ["--region", "0,0,1,1", "--k", "2", "--names", "dark, light"]
    assert (
        _main(["subtypes", str(root), "--category", "pushpins", "--out", str(tmp_path / "m.json"), *region])
        == 0
    )
    assert read_manifest(tmp_path / "m.json").subtypes("pushpins") == ["dark", "light"]


@pytest.mark.skipif(not REAL.is_dir(), reason="LADDER_DATA does not hold the real juice bottles")
def test_real_juice_bottles_agree_with_the_colour_table_and_with_psad(tmp_path):
    folder = REAL / "juice_bottle"
    table = _rows(folder / "subtype_by_colour_original_names.csv")
    truth = {f"{row['split']}/{row['type']}/{row['file']}": row["subtype"] for row in table}
    original = {row["file"]: row["original"] for row in _rows(folder / "provenance.csv")}
    proposal = derive(LOCO.read(REAL, "juice_bottle"), COLOUR_RULES["juice_bottle"], tmp_path / "m.json")
    entries = proposal.manifest.categories["juice_bottle"]
    good = [image for image in entries if "good" in image]
    assert len(good) == 184
    assert [i for i in good if entries[i].subtype != truth[original[i]]] == []
    found = agreement(proposal.manifest, "juice_bottle", published_groups("juice_bottle"))
    assert (found.agreed, found.compared) == (100, 100)
    empty = [f"test/logical_anomalies/{n:03d}.png" for n in (24, 26, 28, 30, 32, 34)]
    assert sorted(proposal.ambiguous) == empty


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))

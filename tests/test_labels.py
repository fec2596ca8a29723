"""Part labels: names that are one name, the annotation tool's own words, and every kind of LabelMe file."""

import base64
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from checkpoints import checkpoint
from conftest import write_tree
from PIL import Image

from harness.config import load
from harness.curate.command import main as command
from harness.data.label_names import alike, clean
from harness.data.labels import IGNORED, LabelFolder, find_labels, read_labels
from harness.errors import ConfigError, DataError
from methods import METHODS
from sweeps.expand import expand

H, W = 20, 30
SIZE = (H, W)
Shape = Mapping[str, Any]


def shape(label: str, *points: tuple[float, float], kind: str | None = "polygon", **more: Any) -> Shape:
    return {"label": label, "shape_type": kind, "points": points, **more}


def box(label: str, left: int, top: int, right: int, bottom: int) -> Shape:
    return shape(label, (left, top), (right, bottom), kind="rectangle")


def labelme(root: Path, *shapes: Shape, name: str = "000", **more: Any) -> Path:
    path = root / "box" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"shapes": list(shapes), "imageHeight": H, "imageWidth": W, **more}
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def found(root: Path) -> LabelFolder:
    labels = find_labels(root, "box")
    assert labels is not None
    return labels


def pixels(root: Path, path: Path) -> np.ndarray:
    return read_labels(path, found(root).classes, SIZE)


def png(stencil: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(stencil).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


# Names


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Disc", "disc", True),
        ("disc", "dics", True),
        ("disc", "disk", True),
        ("disc", "discs", True),
        ("long screw", "long_screw", True),
        ("long screw", "long scerw", True),
        ("label-1", "Label 1", True),
        ("größe", "GRÖSSE", True),
        ("screw 1", "screw 2", False),
        ("screw a", "screw b", False),
        ("long screw", "short screw", False),
        ("nut", "nuts", False),
        ("left label", "right label", False),
        ("glass", "liquid", False),
        ("label", "label 2", False),
        ("果汁", "标签", False),
        ("10000", "10001", False),
    ],
)
def test_what_is_one_name_written_twice(one: str, other: str, same: bool):
    assert bool(alike([one, other])) is bool(alike([other, one])) is same


def test_names_are_trimmed_and_composed():
    assert clean("  long \t screw\n") == "long screw"
    assert clean("u\N{COMBINING DIAERESIS}") == "ü"


def test_spaces_around_a_name_are_no_other_part(tmp_path: Path):
    path = labelme(tmp_path, box("disc", 0, 0, 3, 3), box("disc ", 10, 0, 13, 3), box(" bar", 0, 9, 3, 12))
    assert found(tmp_path).classes == ("background", "bar", "disc")
    assert set(np.unique(pixels(tmp_path, path))) == {0, 1, 2}


@pytest.mark.parametrize("wrong", ["Disc", "dics"])
def test_names_that_look_like_one_are_refused(tmp_path: Path, wrong: str):
    labelme(tmp_path, box("disc", 0, 0, 3, 3), box("bar", 0, 9, 3, 12))
    labelme(tmp_path, box("disc", 0, 0, 3, 3), box(wrong, 9, 9, 12, 12), name="001")
    with pytest.raises(DataError) as refused:
        find_labels(tmp_path, "box")
    for part in (f"{wrong!r} (001.json, shape 2)", "'disc' (000.json, shape 1 and 1 more)", "labels check"):
        assert part in str(refused.value)


@pytest.mark.parametrize("file", ["labels.yaml", "part_classes.json"])
def test_declared_names_are_the_only_ones(tmp_path: Path, file: str):
    labelme(tmp_path, box("disc", 0, 0, 3, 3))
    names = ["background", "bar", "disc", "Disc"]  # what is declared is meant
    content = {"classes": names} if file == "labels.yaml" else names
    (tmp_path / "box" / file).write_text(yaml.safe_dump(content) if "yaml" in file else json.dumps(content))
    assert found(tmp_path).classes == tuple(names)
    labelme(tmp_path, box("dics", 0, 0, 3, 3), box("DISC", 0, 0, 3, 3), box("baar", 0, 0, 3, 3), name="001")
    with pytest.raises(DataError) as refused:
        find_labels(tmp_path, "box")
    first, second, third = str(refused.value).splitlines()  # all of them at once
    assert "001.json: shape 1: no label is called 'dics' (did you mean 'disc'?)" in first
    assert "shape 2: no label is called 'DISC' (did you mean 'disc'?)" in second
    assert "shape 3: no label is called 'baar' (did you mean 'bar'?)" in third


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [disc]", "the first label is 'background', this begins with ['disc']"),
        ("classes: [background, disc, disc]", "'disc' is there twice"),
        ("classes: [background, no]", "quote what is no word"),
        ("classes: [background", "not valid YAML"),
        ("clases: [background]", "unknown key 'clases'; allowed: classes"),
        ("3", "must be a list"),
    ],
)
def test_wrong_declarations_are_named(tmp_path: Path, text: str, message: str):
    labelme(tmp_path, box("disc", 0, 0, 3, 3))
    (tmp_path / "box/labels.yaml").write_text(text)
    with pytest.raises(DataError) as refused:
        find_labels(tmp_path, "box")
    assert str(tmp_path / "box/labels.yaml") in str(refused.value)
    assert message in str(refused.value)


def test_two_declarations_have_to_agree(tmp_path: Path):
    labelme(tmp_path, box("disc", 0, 0, 3, 3))
    (tmp_path / "box/labels.yaml").write_text("[__ignore__, _background_, disc]")  # LabelMe's labels.txt
    (tmp_path / "box/part_classes.json").write_text('["background", "disc"]')
    assert found(tmp_path).classes == ("background", "disc")
    (tmp_path / "box/part_classes.json").write_text('["background", "bar"]')
    with pytest.raises(DataError, match="name different labels"):
        find_labels(tmp_path, "box")


def test_a_declaration_of_what_is_used_changes_nothing(tmp_path: Path):
    path = labelme(tmp_path, box("disc", 0, 0, 3, 3), box("bar", 0, 9, 3, 12))
    before, drawn = found(tmp_path), pixels(tmp_path, path)
    (tmp_path / "box/labels.yaml").write_text("classes: [background, bar, disc]")
    after = found(tmp_path)
    assert (after.classes, after.sha256) == (before.classes, before.sha256)
    assert np.array_equal(pixels(tmp_path, path), drawn)


def test_the_tools_own_words_are_understood(tmp_path: Path):
    path = labelme(
        tmp_path,
        box("disc", 0, 0, 9, 9),
        box("_background_", 2, 2, 4, 4),
        box("background", 6, 6, 7, 7),
        box("__ignore__", 20, 10, 25, 15),
    )
    assert found(tmp_path).classes == ("background", "disc")
    expected = np.zeros(SIZE, np.uint8)
    expected[:10, :10] = 1
    expected[2:5, 2:5] = expected[6:8, 6:8] = 0
    expected[10:16, 20:26] = IGNORED
    assert np.array_equal(pixels(tmp_path, path), expected)


# Shapes


def test_four_corners_are_a_rectangle(tmp_path: Path):
    """X-AnyLabeling writes all of them; turned, it is a polygon."""
    corners = [(2.0, 3.0), (12.0, 3.0), (12.0, 9.0), (2.0, 9.0)]
    four = labelme(tmp_path, shape("disc", *corners, kind="rectangle"))
    two = labelme(tmp_path, shape("disc", (12.0, 9.0), (2.0, 3.0), kind="rectangle"), name="001")
    assert np.array_equal(pixels(tmp_path, four), pixels(tmp_path, two))
    rhombus = [(15.0, 1.0), (25.0, 9.0), (15.0, 17.0), (5.0, 9.0)]
    turned = [labelme(tmp_path, shape("disc", *rhombus, kind=k), name=k or "none") for k in
              ("rectangle", "rotation", "oriented_rectangle", "quadrilateral", "polygon", None)]  # fmt: skip
    drawn = [pixels(tmp_path, path) for path in turned]
    assert all(np.array_equal(one, drawn[0]) for one in drawn)
    assert (drawn[0][9, 15], drawn[0][2, 6]) == (1, 0)


@pytest.mark.parametrize(("inclusive", "corner"), [(1, (4, 3)), (0, (4, 3)), (1, (-2, -3)), (1, (27, 18))])
def test_masks_are_decoded(tmp_path: Path, inclusive: int, corner: tuple[int, int]):
    stencil = np.random.default_rng(0).random((8, 10)) > 0.5
    (x, y), end = corner, (corner[0] + 10 - inclusive, corner[1] + 8 - inclusive)
    path = labelme(
        tmp_path, box("bar", 0, 0, 29, 19), shape("disc", corner, end, kind="mask", mask=png(stencil))
    )
    large = np.zeros((H + 40, W + 40), bool)
    large[20 + y : 28 + y, 20 + x : 30 + x] = stencil
    expected = np.where(large[20 : 20 + H, 20 : 20 + W], 2, 1)
    assert np.array_equal(pixels(tmp_path, path), expected)
    labelme(tmp_path, shape("disc", corner, end, kind="mask", mask=png(stencil.astype(np.uint8))))
    assert np.array_equal(pixels(tmp_path, path), expected - 1)


POINT = [(5.0, 5.0)]
LINE = [(5.0, 5.0), (9.0, 9.0)]
BOX: dict[str, Any] = {"label": "disc", "shape_type": "mask", "points": [(4, 3), (13, 10)]}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (shape("disc", *POINT), "a polygon of 1 point; it has 3 or more"),
        (shape("disc", *LINE), "a polygon of 2 points; it has 3 or more"),
        (shape("disc", *LINE, (7.0, 7.0)), "a polygon without area"),
        (shape("disc", *LINE, LINE[0], kind="rectangle"), "a rectangle of 3 points; it has 2 or 4"),
        (shape("disc", *POINT, *POINT, kind="rectangle"), "a rectangle without area"),
        (shape("disc", *POINT, *POINT, kind="circle"), "a circle without area"),
        (shape("disc", *LINE, kind="line"), "a line has no area; draw a polygon"),
        (shape("disc", *POINT, kind="point"), "a point has no area"),
        (shape("disc", *LINE, kind="linestrip"), "a linestrip has no area"),
        (shape("disc", *LINE, kind="rectangel"), "did you mean 'rectangle'?"),
        (shape("disc", *LINE, (float("nan"), 1.0)), "`points` must be a list of [x, y] in pixels"),
        ({"label": "disc", "points": [["a", 1]]}, "`points` must be a list of [x, y] in pixels"),
        ({"label": "disc"}, "`points` must be a list of [x, y] in pixels"),
        (shape("disc", (40.0, 5.0), (50.0, 9.0), kind="rectangle"), "outside of the image of 30 × 20 pixels"),
        (BOX, "a mask without its picture"),
        ({**BOX, "mask": "!!"}, "a mask without its picture"),
        ({**BOX, "mask": base64.b64encode(b"no png").decode()}, "its picture cannot be read"),
        ({**BOX, "mask": png(np.ones((30000, 2), np.uint8))}, "has (2, 30000) pixels, its box (10, 8)"),
    ],
)  # fmt: skip
def test_shapes_that_cannot_be_meant_are_named(tmp_path: Path, wrong: Shape, message: str):
    path = labelme(tmp_path, box("disc", 0, 0, 3, 3), wrong)
    with pytest.raises(DataError) as refused:
        pixels(tmp_path, path)
    assert f"{path}: shape 2 ('disc'): " in str(refused.value)
    assert message in str(refused.value)


def test_every_wrong_shape_of_a_folder_is_named_at_once(tmp_path: Path):
    labelme(tmp_path, shape("disc", *POINT), box("disc", 0, 0, 3, 3), {"points": LINE})
    labelme(tmp_path, "no shape", name="001")  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError) as refused:
        find_labels(tmp_path, "box")
    first, second, third = str(refused.value).splitlines()
    assert "000.json: shape 1 ('disc'): a polygon of 1 point" in first
    assert "000.json: shape 3: it has no label" in second
    assert "001.json: shape 1: not a mapping" in third


# Files


def test_the_size_is_that_of_the_image(tmp_path: Path):
    plain = pixels(tmp_path, labelme(tmp_path, box("disc", 2, 2, 8, 8)))
    for size in ({"imageHeight": None}, {"imageHeight": None, "imageWidth": None}, {"imageHeight": float(H)}):
        assert np.array_equal(pixels(tmp_path, labelme(tmp_path, box("disc", 2, 2, 8, 8), **size)), plain)
    path = labelme(tmp_path, box("disc", 2, 2, 8, 8))
    path.write_text(json.dumps({"shapes": [box("disc", 2, 2, 8, 8)]}))
    assert np.array_equal(pixels(tmp_path, path), plain)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ({"imageHeight": H + 1}, "30 × 21 pixels, but its image has 30 × 20 pixels"),
        ({"imageHeight": W, "imageWidth": H}, "turned (EXIF orientation)"),
        ({"imageHeight": 10**5, "imageWidth": 10**6}, "1000000 × 100000 pixels, but its image has"),
        ({"imageHeight": "tall"}, "imageHeight 'tall' and imageWidth 30 are no size of an image"),
        ({"imageHeight": -3}, "are no size of an image"),
    ],
)
def test_another_size_is_refused_and_nothing_of_it_allocated(tmp_path: Path, size: Shape, message: str):
    path = labelme(tmp_path, box("disc", 2, 2, 8, 8), **size)
    with pytest.raises(DataError) as refused:
        pixels(tmp_path, path)
    assert str(path) in str(refused.value) and message in str(refused.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_unicode_is_read_in_any_form(tmp_path: Path, encoding: str):
    path = labelme(tmp_path, box("标签", 2, 2, 8, 8))
    text = path.read_text(encoding="utf-8")
    path.write_text(text, encoding=encoding)
    assert found(tmp_path).classes == ("background", "标签")
    path.write_text(text, encoding="gbk")
    with pytest.raises(
        DataError, match=r"000\.json: not readable as JSON: not UTF-8 \(byte .* save it as UTF-8"
    ):
        find_labels(tmp_path, "box")


def test_what_a_system_hides_and_what_other_tools_write_is_passed_over(tmp_path: Path):
    path = labelme(tmp_path, box("disc", 2, 2, 8, 8))
    for litter in (
        "._000.json",
        ".ipynb_checkpoints/000-checkpoint.json",
        "__MACOSX/000.json",
        "@eaDir/1.png",
    ):
        (path.parent / litter).parent.mkdir(exist_ok=True)
        (path.parent / litter).write_bytes(b"\x00\x05\x16\x07")
    (path.parent / "coco.json").write_text('{"images": [], "annotations": [], "categories": []}')
    assert list(found(tmp_path).files) == ["000"]
    (path.parent / "001.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"001\.json: not readable as JSON"):
        find_labels(tmp_path, "box")


def test_an_index_png_of_another_size_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "000.png"
    Image.new("L", (5, 5)).save(path)
    monkeypatch.setattr(Image.Image, "load", None)
    with pytest.raises(DataError, match=r"\(5, 5\) pixels, but its image has \(30, 20\)"):
        read_labels(path, ("background",), SIZE)


# Before a sweep starts


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(checkpoint("test_resnet", tmp_path_factory.mktemp("weights")))


@pytest.fixture
def plan(tmp_path: Path, weights: str) -> Callable[[], str | None]:
    """Plans a sweep of PSAD over a data set of the category `box`; why its trials are skipped."""
    root = write_tree(tmp_path / "data", ("box",), train=3, side=H)
    params = {"backbone": "test_resnet", "weights": weights, "labels_dir": str(tmp_path)}
    content = {"name": "t", "dataset": {"name": "mvtec_ad", "root": str(root)}, "shots": ["full"],
               "methods": [{"name": "psad", "params": params}], "out": str(tmp_path / "run")}  # fmt: skip
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))

    def planned() -> str | None:
        ((trial, _),) = expand(load(tmp_path / "sweep.yaml"))
        return trial.reason

    return planned


def test_labels_are_read_at_planning(plan: Callable[[], str | None], tmp_path: Path):
    square = {"imageWidth": H}
    labelme(tmp_path, box("disc", 2, 2, 8, 8), **square)
    assert plan() is None
    labelme(tmp_path, box("disc", 2, 2, 8, 8), name="001")
    labelme(tmp_path, box("disc", 50, 50, 60, 60), name="002", **square)
    labelme(tmp_path, box("disc", 2, 2, 8, 8), name="777")  # of no image: whatever its size
    with pytest.raises(ConfigError) as refused:
        plan()
    assert "001.json: 30 × 20 pixels, but its image has 20 × 20" in str(refused.value)
    assert "002.json: shape 1 ('disc'): it lies outside" in str(refused.value)
    assert "777" not in str(refused.value)


def test_labels_of_no_training_image_are_a_reason_to_skip(plan: Callable[[], str | None], tmp_path: Path):
    labelme(tmp_path, box("disc", 2, 2, 8, 8), name="IMG_7")
    reason = plan()
    assert reason is not None
    assert "none of the 3 training images (train/good/000.png, …) has any in" in reason
    assert "there are 1 (IMG_7.json, …)" in reason


# The command


def run(*words: str | Path) -> int:
    return command(METHODS, ["labels", "check", *map(str, words)])


def test_the_command_shows_names_and_declares_the_usual_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    labelme(tmp_path, box("disc", 0, 0, 3, 3), box("disc", 9, 0, 12, 3), box("__ignore__", 0, 9, 3, 12))
    wrong = labelme(tmp_path, box("Disc", 0, 0, 3, 3), shape("bar", (0, 9), (3, 9), (3, 12)), name="001")
    labelme(tmp_path, name="002")
    assert run(tmp_path, "--write") == 2
    said = capsys.readouterr().out
    assert "2 labelled images, 1 still without a shape" in said
    for row in (("background", "0", "0"), ("bar", "1", "1", "1 polygon"), ("disc", "2", "1", "2 rectangle"),
                ("Disc", "?", "1"), ("__ignore__", "counts nowhere", "1")):  # fmt: skip
        assert any(
            list(row) == [c.strip() for c in line.split("│")[1 : len(row) + 1]] for line in said.splitlines()
        )
    assert "'Disc' (001.json) looks like 'disc' (000.json)" in said
    assert (tmp_path / "box/labels.yaml").read_text().endswith("classes:\n- background\n- bar\n- disc\n")
    with pytest.raises(
        DataError, match=r"001\.json: shape 1: no label is called 'Disc' \(did you mean 'disc'"
    ):
        find_labels(tmp_path, "box")
    wrong.write_text(wrong.read_text().replace("Disc", "disc"))
    assert run(tmp_path, "--category", "box") == 0
    assert found(tmp_path).classes == ("background", "bar", "disc")
    assert run(tmp_path / "box", "--write") == 0
    assert "declared already" in capsys.readouterr().out


def test_the_command_reads_what_a_sweep_would_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = labelme(tmp_path, box("disc", 0, 0, 3, 3))
    Image.new("RGB", (W, H + 2)).save(path.with_suffix(".png"))  # the picture beside it
    labelme(tmp_path, shape("disc", *POINT), name="001")
    (path.parent / "coco.json").write_text('{"images": []}')
    Image.new("L", (W, H)).save(path.with_name("004.png"))
    assert run(tmp_path) == 2
    said = " ".join(capsys.readouterr().out.split())
    for part in (
        "000.json: 30 × 20 pixels, but its image has 30 × 22",
        "001.json: shape 1 ('disc'): a polygon of 1",
        "note: ",
        "(COCO)",
        "004.png: an index PNG",
        "3 problem(s)",
    ):
        assert part in said
    (path.parent / "labels.yaml").write_text("classes: [background, disc, bar]")
    assert run(tmp_path) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "'bar' is declared, and in no file" in said and "index PNG" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("none",), "no such folder"),
        ((".", "--category", "bocks"), "no labels of 'bocks' (did you mean 'box'?); there are: box"),
        (("empty",), "neither LabelMe files nor index PNGs"),
        (("drafts", "--write"), "no label is used yet"),
    ],
)
def test_the_command_refuses(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    message: str,
):
    monkeypatch.chdir(tmp_path)
    labelme(tmp_path, box("disc", 0, 0, 3, 3))
    labelme(tmp_path / "drafts")
    (tmp_path / "empty").mkdir()
    assert run(*words) == 2
    assert message in capsys.readouterr().err

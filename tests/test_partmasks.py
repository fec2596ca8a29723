"""Part labels from files, and `python -m harness.data partmasks`."""

import json
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest
from conftest import write_tree
from PIL import Image

from harness.curate.command import main as command
from harness.data import FitData, ImageSet
from harness.data.labels import find_labels, read_labels
from harness.data.representatives import medoids
from harness.errors import DataError
from harness.method import Card, Context, Scores, Segmentation, Task
from methods import METHODS


def _main(arguments: list[str]) -> int:
    return command(METHODS, arguments)


SIZE = (20, 30)  # height, width


@dataclass
class Thresholder:
    """Two parts, dark and bright; enough to be asked for masks."""

    card: ClassVar[Card] = Card(
        title="Thresholder",
        summary="Cuts at a grey value.",
        licence="Apache-2.0",
        unmet=lambda params, task: "wants more" if task.n_train < params["least"] else None,
    )
    context: Context
    _: KW_ONLY
    cut: int = 200
    least: int = 1
    seen: int = field(init=False, default=0)

    def fit(self, data: FitData) -> Self:
        self.seen = len(data.train)
        return self

    def score(self, images: ImageSet) -> Scores:
        return Scores(np.zeros(len(images)))

    def segment(self, images: ImageSet) -> Segmentation:
        labels = np.stack([(image[::2, ::2, 0] > self.cut).astype(np.uint8) for image in images])
        return Segmentation(labels, ("background", "bright"))


@pytest.fixture(autouse=True)
def _thresholder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS._table, "thresholder", "test_partmasks:Thresholder")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "data", ("bolt", "cap"), train=7)


def partmasks(root: Path, out: Path, *words: str) -> int:
    return _main(["partmasks", str(root), "--category", "bolt", "--out", str(out), *words])


# Files


def labelme(folder: Path, *shapes: dict[str, Any], name: str = "000") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = {"shapes": list(shapes), "imageHeight": SIZE[0], "imageWidth": SIZE[1]}
    (folder / f"{name}.json").write_text(json.dumps(content))
    return folder / f"{name}.json"


def shape(label: str, kind: str, *points: tuple[float, float]) -> dict[str, Any]:
    return {"label": label, "shape_type": kind, "points": points}


def test_labelme_shapes_lie_on_each_other_in_their_order(tmp_path: Path):
    path = labelme(
        tmp_path / "box",
        shape("lid", "rectangle", (20, 15), (2, 3)),
        shape("knob", "circle", (10, 9), (13, 9)),
        shape("tip", "polygon", (25, 0), (29, 0), (29, 4)),
    )
    labels = find_labels(tmp_path, "box")
    assert labels is not None
    assert labels.classes == ("background", "knob", "lid", "tip")
    found = read_labels(path, labels.classes, SIZE)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    knob = (x - 10) ** 2 + (y - 9) ** 2
    assert (found[knob <= 2.5**2] == 1).all()
    assert (found[(x >= 2) & (x <= 20) & (y >= 3) & (y <= 15) & (knob > 3.5**2)] == 2).all()
    assert found[1, 28] == 3
    assert (found[16:] == 0).all()


def test_index_pngs_are_read_as_they_are(tmp_path: Path):
    values = np.random.default_rng(0).integers(0, 3, SIZE).astype(np.uint8)
    (tmp_path / "box/train/good").mkdir(parents=True)
    path = tmp_path / "box/train/good/001.png"
    picture = Image.fromarray(values).convert("P")
    picture.putpalette(list(range(256)) * 3)
    picture.save(path)
    (tmp_path / "box/part_classes.json").write_text('["background", "a", "b"]')
    labels = find_labels(tmp_path, "box/small")  # a sub-type shares them
    assert labels is not None
    assert labels.of("train/good/001.png") == path
    assert labels.of("train/good/002.png") is None
    assert np.array_equal(read_labels(path, labels.classes, SIZE), values)


def test_drafts_and_the_pictures_beside_them_do_not_count(tmp_path: Path):
    labelme(tmp_path / "box")
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "box/000.png")
    assert find_labels(tmp_path, "box") is None
    assert find_labels(tmp_path, "lid") is None
    labelme(tmp_path / "box", shape("lid", "rectangle", (0, 0), (3, 3)), name="001")
    labels = find_labels(tmp_path, "box")
    assert labels is not None
    assert list(labels.files) == ["001"]


def test_the_hash_follows_content_not_place(tmp_path: Path):
    for folder in ("here", "there"):
        labelme(tmp_path / folder / "box", shape("lid", "rectangle", (0, 0), (3, 3)))
    here, there = (find_labels(tmp_path / f, "box") for f in ("here", "there"))
    labelme(tmp_path / "other/box", shape("lid", "rectangle", (0, 0), (3, 4)))
    other = find_labels(tmp_path / "other", "box")
    assert here and there and other
    assert here.sha256 == there.sha256 != other.sha256


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"shapes": 3}', "not a LabelMe file"),
        ("{", "not readable as JSON"),
        ('{"shapes": [{"label": "a", "points": []}]}', r"shape 1 \('a'\): a polygon of 0 points"),
    ],
)
def test_broken_label_files_are_named(tmp_path: Path, content: str, message: str):
    (tmp_path / "box").mkdir()
    path = tmp_path / "box/000.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as raised:
        labels = find_labels(tmp_path, "box")
        assert labels is not None
        read_labels(path, labels.classes, SIZE)
    assert str(path) in str(raised.value)


def test_labels_that_do_not_fit_are_refused(tmp_path: Path):
    path = labelme(tmp_path / "box", shape("lid", "line", (0, 0), (3, 3)))
    with pytest.raises(DataError, match=r"000\.json: shape 1 .* a line has no area"):
        read_labels(path, ("background", "lid"), SIZE)
    path = labelme(tmp_path / "box", shape("lit", "rectangle", (0, 0), (3, 3)))
    with pytest.raises(DataError, match="did you mean 'lid'"):
        read_labels(path, ("background", "lid"), SIZE)
    with pytest.raises(DataError, match="30 × 20 pixels, but its image has 8 × 9"):
        read_labels(path, ("background", "lit"), (9, 8))
    picture = tmp_path / "box/001.png"
    Image.new("RGB", SIZE[::-1]).save(picture)
    with pytest.raises(DataError, match="one channel of label numbers, this is RGB"):
        read_labels(picture, ("background",), SIZE)
    with pytest.raises(DataError, match=r"part_classes\.json: missing"):
        find_labels(tmp_path, "box")


# Representatives


def test_medoids_are_the_middles_of_groups():
    rng = np.random.default_rng(0)
    groups = [rng.normal(centre, 0.1, (9, 3)) for centre in (0, 5, 20)]
    for group, centre in zip(groups, (0, 5, 20), strict=True):
        group[4] = centre
    vectors = np.concatenate(groups)
    assert medoids(vectors, 3) == [4, 13, 22]
    assert medoids(vectors, 1)[0] in range(9, 18)
    assert medoids(np.zeros((4, 2)), 3) == [0, 1, 2]
    assert medoids(vectors, 99) == list(range(27))


def test_medoids_are_no_worse_than_any_single_exchange():
    vectors = np.random.default_rng(1).normal(size=(12, 2))
    apart = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    chosen = medoids(vectors, 3)
    groups = apart[:, chosen].argmin(axis=1)
    for i, medoid in enumerate(chosen):
        members = np.flatnonzero(groups == i)
        assert apart[np.ix_(members, members)].sum(axis=1).min() == pytest.approx(
            apart[members, medoid].sum()
        )


# The command


def test_masks_are_written_at_native_size_and_marked(root: Path, tmp_path: Path, capsys):
    out = tmp_path / "labels"
    assert partmasks(root, out, "--method", "thresholder", "--shots", "2", "--param", "cut=60") == 0
    labels = find_labels(out, "bolt")
    assert labels is not None
    assert (len(labels.files), labels.classes) == (7, ("background", "bright"))
    assert labels.marks == ("stand-in labels",)
    about = json.loads((out / "bolt/labels.json").read_text())
    assert (about["by"], about["params"], about["shots"]) == ("thresholder", {"cut": 60}, 2)
    image = np.asarray(Image.open(root / "bolt/train/good/003.png"))
    path = labels.of("train/good/003.png")
    assert path is not None
    found = read_labels(path, labels.classes, image.shape[:2])
    assert np.array_equal(found[::2, ::2], image[::2, ::2, 0] > 60)
    said = capsys.readouterr().out
    assert "stand-in labels" in said
    assert f"labels_dir: {out}" in said


def test_picked_images_wait_for_somebody_to_label_them(root: Path, tmp_path: Path):
    out = tmp_path / "labels"
    assert partmasks(root, out, "--method", "none") == 0
    folder = out / "to_label/bolt/train/good"
    assert len(list(folder.glob("*.png"))) == len(list(folder.glob("*.json"))) == 5
    assert find_labels(out / "to_label", "bolt") is None  # nothing is drawn yet
    assert find_labels(out, "bolt") is None
    draft = json.loads(next(folder.glob("*.json")).read_text())
    assert (draft["shapes"], draft["imageHeight"], draft["imageWidth"]) == ([], 24, 24)
    drawn = sorted(folder.glob("*.json"))[0]
    drawn.write_text(json.dumps(draft | {"shapes": [shape("head", "rectangle", (1, 1), (5, 5))]}))
    assert partmasks(root, out, "--method", "none", "--pick", "5") == 0  # drawings are kept
    labels = find_labels(out / "to_label", "bolt")
    assert labels is not None
    assert labels.of(f"train/good/{drawn.stem}.png") == drawn
    assert labels.classes == ("background", "head")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "mean_image"], "does not segment"),
        (["--method", "thresholde"], "did you mean 'thresholder'"),
        (["--method", "thresholder", "--param", "cutt=3"], "did you mean 'cut'"),
        (["--method", "thresholder", "--param", "least=9"], "thresholder: wants more"),
    ],
)
def test_wrong_requests_are_refused(root: Path, tmp_path: Path, capsys, words: list[str], message: str):
    assert partmasks(root, tmp_path / "labels", *words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "labels").exists()


def test_the_method_sees_as_many_images_as_were_asked_for(root: Path, tmp_path: Path, monkeypatch):
    seen: list[Task] = []
    monkeypatch.setattr(
        Thresholder, "card", Card(title="T", summary="", unmet=lambda p, task: seen.append(task))
    )
    for shots in ("3", "full"):
        assert partmasks(root, tmp_path / shots, "--method", "thresholder", "--shots", shots) == 0
    assert [(task.shots, task.n_train) for task in seen] == [(3, 3), (None, 7)]

"""What PSAD's networks see of an image: its canvas, room to turn in, and whose histogram it should have."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import checkpoint
from PIL import Image

from harness.artifacts import ArtifactStore
from harness.checks.plates import PARTS, plates
from harness.data import FitData, ImageSet
from harness.data.labels import IGNORED
from harness.errors import ConfigError, DataError
from harness.method import Context, Task
from harness.views import Heat, Parts
from methods.psad import PSAD, labelling
from methods.psad.augment import Sample, coordinates, enlarged, missing_room, stacked, turned
from methods.psad.canvas import Canvas
from methods.psad.pairs import Lessons

H, W = 44, 64  # of a picture with the aspect ratio of a screw bag's


class Fixed:
    """Draws the same angle again and again."""

    def __init__(self, degrees: int):
        self.degrees = degrees

    def integers(self, *bounds: int) -> int:
        return self.degrees


def turn(sample: Sample, degrees: int, room: bool) -> Sample:
    return turned(sample, 180, room, Fixed(degrees))  # pyright: ignore[reportArgumentType]


def bag(margin: int = 1) -> Sample:
    labels = np.zeros((H, W), np.uint8)
    labels[margin:-margin, margin:-margin] = 1
    labels[margin:8, margin:8] = 2
    image = np.repeat(100 * labels[..., None], 3, axis=2)
    return Sample(image, labels, coordinates(H, W))


# Room to turn in


@pytest.mark.parametrize("degrees", [*range(-180, 180, 15), 1, -1, 89, 91])
def test_nothing_labelled_is_turned_out_of_the_picture(degrees: int):
    """As many pixels of every part as on a canvas that is larger than needed."""
    roomy = turn(bag(), degrees, room=True)
    ample = turn(enlarged(bag(), 32, 32), degrees, room=False)
    for part in (1, 2):
        assert (roomy.labels == part).sum() == (ample.labels == part).sum()
    assert roomy.image.shape[:2] == roomy.labels.shape == roomy.coordinates.shape[:2]
    outside = roomy.labels == 0
    assert (roomy.image[outside].mean(), roomy.coordinates[outside].max()) < (10, 1.01)


def test_without_room_a_bag_loses_a_third():
    labelled = (bag().labels > 0).sum()
    kept = [(turn(bag(), d, room=False).labels > 0).sum() / labelled for d in range(-180, 180)]
    assert min(kept) == pytest.approx(H / W, abs=0.03)


@pytest.mark.parametrize("degrees", [-20, 7, 180])
def test_a_picture_is_no_larger_than_it_has_to_be(degrees: int):
    small = bag(margin=16)
    assert missing_room(small.labels, degrees) == (0, 0)
    assert turn(small, degrees, room=True).labels.shape == (H, W)
    labels = np.where(small.labels > 0, 1, IGNORED).astype(np.uint8)
    assert missing_room(labels, degrees) == missing_room(0 * labels, degrees) == (0, 0)  # no part, no room
    assert missing_room(bag().labels, 90) == (16, 0)


def test_pictures_of_several_sizes_make_a_batch():
    rng = np.random.default_rng(0)
    arrays = [rng.integers(1, 9, shape).astype(np.uint8) for shape in ((3, 5, 2), (4, 2, 2))]
    batch = stacked(arrays)
    assert batch.shape == (2, 4, 5, 2)
    assert np.array_equal(batch[0, :3], arrays[0]) and np.array_equal(batch[1, :, :2], arrays[1])
    assert not batch[0, 3:].any() and not batch[1, :, 2:].any()


# The canvas


def scenes(n: int = 6) -> tuple[ImageSet, list[np.ndarray]]:
    """Plates of H × W pixels, and their parts."""
    images, parts = plates().train.subset(range(n)), plates().parts[:n]
    return ImageSet.of_arrays([image[:H, :W] for image in images]), [p[:H, :W] for p in parts]


def test_a_native_canvas_leaves_images_and_labels_alone():
    images, parts = scenes()
    canvas = Canvas.of(images, "screw_bag", 32, "native", 0)
    assert canvas.framed(images, ArtifactStore(None)) is images
    assert canvas.labels(parts[0]) is parts[0]
    assert canvas.geometry.shape == (22, 32)


@pytest.mark.parametrize(("kind", "border"), [("square", 0), ("square", 6), ("native", 6)])
def test_a_canvas_is_cut_resized_and_padded(kind: Any, border: int):
    images, parts = scenes(2)
    canvas = Canvas.of(images, "screw_bag", 32, kind, border)
    seen = canvas.framed(images, ArtifactStore(None))
    inner = images[0][border : H - border, border : W - border]
    rows = round(32 * inner.shape[0] / inner.shape[1])
    shape = (32, 32) if kind == "square" else (rows, 32)
    assert seen[0].shape[:2] == canvas.labels(parts[0]).shape == canvas.geometry.shape == shape
    expected = np.asarray(Image.fromarray(inner).resize((32, rows), Image.Resampling.BILINEAR))
    assert np.array_equal(seen[0][:rows], expected)
    assert not seen[0][rows:].any() and not canvas.labels(parts[0])[rows:].any()
    assert seen.ids == images.ids
    assert Canvas.of(images, "pushpins", 32, "native", border).framed(images, ArtifactStore(None)) is images


def test_a_standing_picture_is_padded_on_the_right():
    standing = ImageSet.of_arrays([np.full((W, H, 3), 7, np.uint8)])
    seen = Canvas.of(standing, "box", 32, "square", 0).framed(standing, ArtifactStore(None))[0]
    assert seen[:, :22].min() == 7 and seen[:, 22:].max() == 0


@pytest.mark.parametrize(("kind", "border"), [("square", 0), ("square", 6), ("native", 6)])
def test_what_is_seen_on_a_canvas_is_brought_back_to_the_image(kind: Any, border: int):
    """A ramp of places, and a block of labels: where they are on the image, not on the canvas."""
    images = ImageSet.of_arrays([np.zeros((H, W, 3), np.uint8)])
    canvas = Canvas.of(images, "screw_bag", 256, kind, border)
    place = np.repeat((255 * coordinates(H, W))[..., :1], 3, axis=2).astype(np.uint8)
    seen = canvas.framed(ImageSet.of_arrays([place]), ArtifactStore(None))[0][..., 0].astype(np.float32)
    (found,) = canvas.whole_maps(seen[None], images)
    inside = slice(round((border + 2) / W * 256), round((W - border - 2) / W * 256))
    x = np.linspace(0, 255, found.shape[1])
    middle = found[found.shape[0] // 2]
    assert np.abs(middle - x)[inside].max() < 4
    assert not middle[: round((border - 1) / W * 256)].any() or not border
    labels = np.zeros((H, W), np.uint8)
    labels[20:30, 30:50] = 3
    (back,) = canvas.whole_labels([canvas.labels(labels)], images)
    assert back.shape == (176, 256)
    assert (back != np.kron(labels, np.ones((4, 4), np.uint8))).mean() < 0.02
    assert set(np.unique(back)) == {0, 3}


def test_a_border_that_leaves_nothing_is_refused():
    images, parts = scenes(1)
    canvas = Canvas.of(images, "screw_bag", 32, "native", 22)
    with pytest.raises(DataError, match=r"^000000: screw_bag_border 22 leaves nothing of 64 × 44 pixels"):
        canvas.framed(images, ArtifactStore(None))
    with pytest.raises(DataError, match="leaves nothing"):
        canvas.labels(parts[0])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(checkpoint("test_resnet", tmp_path_factory.mktemp("weights")))


@pytest.mark.parametrize("switch", [{"canvas": "square"}, {"canvas": "square", "screw_bag_border": 5}, {}])
def test_psad_on_every_canvas(weights: str, tmp_path: Path, switch: dict[str, Any]):
    images, parts = scenes()
    data = FitData(images, images.subset([0]), "screw_bag", dict(enumerate(parts)), PARTS)
    params: dict[str, Any] = {**PSAD.check_params, "weights": weights, "n_labelled": 2, "rotation": 180}
    params |= {"hist_loss": "repo_sum_x1", "batch_size": 3}
    method = PSAD(Context(artifacts=ArtifactStore(tmp_path)), **params, **switch).fit(data)
    some = images.subset([3, 4])
    scores, (_, second) = method.score(some), method.explain(some)
    assert np.array_equal(scores.image[1:], method.score(some.subset([1])).image)
    assert scores.maps is not None and scores.maps.shape == (2, 8, 8)
    assert method.segment(some).labels.shape == (2, H, W)  # as the image, whatever the canvas
    (labels,) = (view.labels for view in second if isinstance(view, Parts))
    (heat,) = (view.values for view in second if isinstance(view, Heat))
    assert np.array_equal(labels, method.segment(some).labels[1]) and np.array_equal(heat, scores.maps[1])
    assert method.memory.parts.recipe.hist_classes == (1, 2)
    assert method.memory.parts.recipe.room is (switch == {})


# Whose histogram an unlabelled image should have


def lessons(match: list[int] | None) -> Lessons:
    rng = np.random.default_rng(1)
    samples = [bag()._replace(labels=rng.integers(0, 3, (H, W)).astype(np.uint8)) for _ in range(3)]
    return Lessons(samples, [np.zeros((H, W, 3), np.uint8)] * 4, match, 3)


def test_in_the_paper_it_is_that_of_a_labelled_image():
    one = lessons(None)
    pairs = one.pairs([3, 1], [0, 2, 2], one.histograms)
    assert pairs.images == [3, 1]
    assert np.array_equal(pairs.targets, one.histograms[[0, 2]])
    typed = lessons([2, 1, 0, 0])
    assert np.array_equal(typed.pairs([0, 3], [1, 1], one.histograms).targets, one.histograms[[2, 0]])


def test_in_the_released_code_it_is_that_of_the_turned_label_of_the_step():
    one, rng = lessons(None), np.random.default_rng(0)
    shown = [turn(one.labelled[i], 30, room=True).labels for i in (0, 2)]
    pairs = one.drawn_pairs([3, 1], [0, 2], shown, rng)
    assert pairs.images == [3, 1]
    slow = [[(labels == c).sum() / (H * W) for c in range(3)] for labels in shown]
    assert pairs.targets[:, 1:] == pytest.approx(np.array(slow)[:, 1:], abs=1e-6)
    typed = lessons([2, 1, 0, 0])
    drawn = [typed.drawn_pairs([0, 1], [0, 2], shown, rng).images for _ in range(20)]
    assert {images[0] for images in drawn} == {2, 3} and {images[1] for images in drawn} == {0}
    alone = lessons([1, 1, 1, 1])
    kept = alone.drawn_pairs([0, 1], [0, 1], shown, rng)
    assert len(kept.images) == 1 and np.array_equal(kept.targets, pairs.targets[1:])
    none = alone.drawn_pairs([0, 1], [0, 2], shown, rng)
    assert (len(none.images), none.targets.shape) == (0, (0, 3))


@pytest.mark.parametrize(
    ("given", "category", "n", "expected"),
    [
        (None, "screw_bag", 7, (1, 2, 3, 4, 5, 6)),
        (None, "breakfast_box", 7, (1, 2, 3, 6)),
        ((2, 3), "breakfast_box", 5, (2, 3)),
        ((2, 3), "pushpins", 4, (2, 3)),
    ],
)
def test_which_classes_the_released_sum_counts(
    given: tuple[int, ...] | None, category: str, n: int, expected: tuple[int, ...]
):
    assert labelling.counted("repo_sum_x1", given, category, n) == expected
    assert labelling.counted("paper_mean_x10", given, category, n) == ()


def test_classes_that_do_not_fit_are_refused_before_the_start(tmp_path: Path):
    with pytest.raises(ConfigError, match="counts classes 1, 2, 3, 6 of the 7 that breakfast_box has"):
        labelling.counted("repo_sum_x1", None, "breakfast_box", 5)
    folder = tmp_path / "labels" / "box"
    folder.mkdir(parents=True)
    (folder / "labels.yaml").write_text("classes: [background, disc]")
    Image.fromarray(np.ones((4, 4), np.uint8)).save(folder / "000.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "000.png")
    from harness.data import Sample as Photo

    params = {"labels_dir": str(tmp_path / "labels"), "hist_loss": "repo_sum_x1", "hist_classes": (3,)}
    task = Task("d", "box", 1, 1, 0, False, (Photo("train/good/000.png", tmp_path / "000.png"),))
    with pytest.raises(ConfigError, match="hist_classes: 3 is no class of box; the last is 1"):
        labelling.unmet(params, task)
    assert labelling.unmet({**params, "hist_classes": (1,)}, task) is None

"""Folders as people have them: litter, leaks, masks in every place, and what is said where nothing fits."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import sweep, write_tree
from data_trees import image, loco, mask, mvtec

from harness.data.images import image_files_below
from harness.data.litter import litter
from harness.datasets.folder import FOLDER, FolderOptions
from harness.datasets.mvtec_ad import MVTEC_AD
from harness.datasets.mvtec_loco import MVTEC_LOCO
from harness.errors import DataError
from methods.efficientad.distill import images_below
from methods.efficientad.teacher import folder_digest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def read(root: Path, category: str = "bottle", **options: Any) -> Any:
    return FOLDER.inspect(root, category, FolderOptions(**options))


def problems(root: Path, category: str = "bottle", **options: Any) -> str:
    return "\n".join(read(root, category, **options).problems)


# --- litter ---------------------------------------------------------------------------------------

LITTER = (
    ".DS_Store",
    "train/good/._000.png",
    "train/good/.hidden.png",
    "test/.ipynb_checkpoints/000-checkpoint.png",
    "test/crack/Thumbs.db",
    "ground_truth/crack/._000_mask.png",
    "test/@eaDir/000.png",
    "__MACOSX/train/x.png",
)


@pytest.mark.parametrize("record", [FOLDER, MVTEC_AD], ids=lambda record: record.name)
def test_litter_is_passed_over_and_counted(record: Any, root: Path):
    folder = mvtec(root)
    clean = record.inspect(root, "bottle")
    for name in LITTER:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"left behind")
    (root / ".Trash").mkdir()
    found = record.inspect(root, "bottle")
    assert not found.problems and found.split == clean.split
    (note,) = set(found.notes) - set(clean.notes)
    assert f"passed over {len(LITTER)} hidden files" in note and "@eaDir" in note and "._*" in note
    assert record.names(root).whole == ("bottle",)


def test_litter_of_loco(root: Path):
    folder = loco(root)
    image(folder / "test/logical_anomalies/._000.png")
    image(folder / "ground_truth/logical_anomalies/000/._000.png")
    found = MVTEC_LOCO.inspect(root, "screw_bag")
    assert not found.problems and any("._*" in note for note in found.notes)
    assert sorted(litter(folder)) == ["._*", "._*"]


def test_litter_among_the_pictures_that_a_teacher_learns_from(root: Path):
    wanted = [image(root / "a/1.png"), image(root / "b/c/2.jpg")]
    image(root / "a/._1.png")
    image(root / ".Trash/3.png")
    image(root / "b/@eaDir/2.jpg")
    assert image_files_below(root) == wanted
    assert folder_digest(str(root))[1] == tuple(wanted) == images_below(root).sources
    assert image_files_below(root / "gone") == []


# --- leaks ----------------------------------------------------------------------------------------


def test_test_images_that_were_seen_in_training(root: Path):
    folder = mvtec(root)
    shutil.copy(folder / "train/good/001.png", folder / "test/crack/000.png")
    shutil.copy(folder / "train/good/002.png", folder / "test/crack/001.png")
    said = problems(root)
    assert f"{folder}/test/crack/000.png: the same file as {folder}/train/good/001.png and 1 more" in said
    assert "allow_duplicates: true" in said and said.count("\n") == 0
    allowed = read(root, allow_duplicates=True)
    assert not allowed.problems and allowed.split.marks == ("test images seen in training",)


def test_one_folder_for_training_and_testing(root: Path):
    mvtec(root)
    said = problems(root, normal="train/good")
    assert "train/good: 3 images are training and test images" in said and "held_out: 0.2" in said


def test_two_images_of_one_stem(root: Path):
    folder = mvtec(root)
    image(folder / "test/crack/000.jpg")
    assert "test/crack: 000.jpg, 000.png would share the mask" in problems(root)


# --- masks beside images, straight in a folder, of some defects only --------------------------------


def test_masks_beside_their_images(root: Path):
    for place, n in (("train", 3), ("test/ok", 2), ("test/crack", 2)):
        for i in range(n):
            image(root / "steel" / place / f"{i}.png")
            mask(root / "steel" / place / f"{i}_GT.png", 255 if "crack" in place else 0)
    options: dict[str, Any] = {"train": "train", "normal": "test/ok"}
    said = problems(root, "steel", **options)
    assert "0_GT.png looks like the mask of 0.png beside it (3 such)" in said
    assert "say `mask_ending: _GT.png`" in said
    found = read(root, "steel", **options, mask_ending="_GT.png")
    assert not found.problems and len(found.split.train) == 3
    assert [s.masks[0].name for s in found.split.test if s.label == "crack"] == ["0_GT.png", "1_GT.png"]


def test_masks_of_another_format_with_the_same_stem(root: Path):
    for place, n in (("OK/S1", 2), ("OK/S2", 2), ("NG/AK/S1", 1)):
        for i in range(n):
            image(root / "toy" / place / f"{i}.jpg")
    mask(root / "toy/NG/AK/S1/0.png", size=(12, 16))
    found = read(
        root, "toy", train="OK/*", normal="", held_out=0.5, abnormal=("NG/*/*",), mask_ending=".png"
    )  # fmt: skip
    assert not found.problems, found.problems
    assert [s.masks[0].suffix for s in found.split.test if s.label != "good"] == [".png"]


def test_masks_straight_in_the_folder_of_masks(root: Path):
    for name, n in (("normal_dir", 12), ("abnormal_dir", 2)):
        for i in range(n):
            image(root / "cap" / name / f"{i:03d}.png")
    for i in range(2):
        mask(root / "cap/mask_dir" / f"{i:03d}.png")
    options: dict[str, Any] = {"train": "normal_dir", "normal": "", "abnormal": ("abnormal_dir",)}
    found = read(root, "cap", **options, masks="mask_dir", held_out=0.3)
    assert not found.problems
    assert [len(s.masks) for s in found.split.test if s.label != "good"] == [1, 1]
    held = [s.id for s in found.split.test if s.label == "good"]
    assert held and len(held) + len(found.split.train) == 12
    image(root / "cap/normal_dir/012.png")
    again = read(root, "cap", **options, masks="mask_dir", held_out=0.3).split
    assert set(held) <= {s.id for s in again.test}  # one image more moves none of the others
    assert again.marks == ("30% of the training images held out",)


def test_an_image_whose_own_name_ends_in_mask(root: Path):
    folder = mvtec(root)
    (folder / "test/crack/000.png").rename(folder / "test/crack/000_mask.png")
    assert problems(root) == ""


def test_masks_of_some_defects_only(tmp_path: Path, sweep_file: Any):
    root = write_tree(tmp_path / "tree", ("bolt",))
    for i in range(3):
        image(root / "bolt/test/stain" / f"{i}.png", size=(24, 24))
    found = read(root, "bolt")
    assert found.split.marks == ("masks of some defects only",)
    assert "stain: none of its 3 images has a mask" in "\n".join(found.notes)
    path = sweep_file(dataset={"name": "folder", "root": str(root)}, metrics=["auroc", "aupro"])
    done = sweep(path, "--backend", "serial")
    assert done.returncode == 0, done.stderr
    metrics = pd.read_parquet(tmp_path / "run/metrics").query("subset == 'all'").set_index("metric")
    assert metrics.loc["auroc", "n_anomalous"] == 7
    assert set(metrics.loc[["aupro"], "n_anomalous"]) == {4} and metrics.value.notna().all()


# --- other names, deeper folders, nothing at all ---------------------------------------------------


def test_letters_of_any_case_and_more_endings(root: Path):
    folder = mvtec(root)
    (folder / "train/good").rename(folder / "train/Good")
    (folder / "train").rename(folder / "Train")
    (folder / "test/good/000.png").rename(folder / "test/good/000.tmp")
    picture = np.zeros((12, 16, 3), np.uint8)
    from PIL import Image

    Image.fromarray(picture).save(folder / "test/good/000.jfif", format="JPEG")
    (folder / "test/good/000.tmp").unlink()
    found = read(root)
    assert not found.problems and len(found.split.train) == 3


def test_deeper_folders(root: Path):
    folder = mvtec(root)
    (folder / "train/good").rename(folder / "train/batch1")
    (folder / "train/good").mkdir()
    (folder / "train/batch1").rename(folder / "train/good/batch1")
    assert "no images here" in problems(
        root
    ) and "there are some in batch1/: end the path with /*" in problems(root)
    assert len(read(root, train="train/good/*").split.train) == 3


def test_an_empty_folder_of_defects_is_a_note(root: Path):
    (mvtec(root) / "test/bent").mkdir()
    found = read(root)
    assert not found.problems and "test/bent: no images here" in found.notes[0]
    assert MVTEC_AD.inspect(root, "bottle").problems


@pytest.mark.parametrize(
    ("folders", "hint"),
    [
        (("normal_dir", "abnormal_dir"), "train: normal_dir, normal: '', held_out: 0.2"),
        (("cap/normal_dir", "cap/abnormal_dir"), "abnormal: [abnormal_dir]"),
        (("candle/Data/Images/Normal",), "VisA as it is distributed"),
        (("toy/OK/S1", "toy/NG/AK"), "Real-IAD"),
        (("images",), "there: images/"),
    ],
)
def test_where_nothing_fits_the_nearest_layout_is_named(folders: tuple[str, ...], hint: str, root: Path):
    for name in folders:
        (root / name).mkdir(parents=True)
    with pytest.raises(DataError) as caught:
        FOLDER.names(root)
    said = str(caught.value)
    assert "no category of folder" in said and "looked for CATEGORY/train/good" in said and hint in said


def test_where_a_category_does_not_fit_likewise(root: Path):
    for name in ("01/train/ok/0.bmp", "01/test/ok/0.bmp", "01/test/ko/0.bmp"):
        image(root / name)
    said = problems(root, "01")
    assert "01/train/good: no such folder; there: test/, train/; it looks like BTAD" in said
    options: dict[str, Any] = {"train": "train/ok", "normal": "test/ok", "abnormal": ("test/ko",)}
    assert problems(root, "01", **options) == ""

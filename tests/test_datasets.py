import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_trees import DEFECTS, SIZE, image, loco, mask, mvtec
from pydantic import TypeAdapter, ValidationError

from harness.data.masks import regions
from harness.datasets import DATASETS
from harness.datasets.folder import FolderOptions
from harness.datasets.loco import LocoOptions
from harness.errors import ConfigError, DataError

LOCO, MVTEC, FOLDER, DEMO = (DATASETS.load(n) for n in ("mvtec_loco", "mvtec_ad", "folder", "demo"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LADDER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "data"


def problems_of(dataset, root, category, options=None) -> list[str]:
    with pytest.raises(DataError) as caught:
        dataset.read(root, category, options)
    return str(caught.value).splitlines()[1:]


# --- what is read ---------------------------------------------------------------------------------


def test_loco_split(root):
    folder = loco(root)
    split = LOCO.read(root, "screw_bag")
    assert (len(split.train), len(split.validation), len(split.test)) == (6, 2, 5)
    assert [s.label for s in split.test] == ["good", "good", "logical", "logical", "structural"]
    assert [s.id for s in split.train[:2]] == ["train/good/000.png", "train/good/001.png"]
    logical = split.test[2]
    assert logical.path == folder / "test/logical_anomalies/000.png"
    assert [p.name for p in logical.masks] == ["000.png", "001.png"]
    assert logical.defects == ("missing_nut", "extra_nut")
    assert split.test[0].defects == () == split.test[0].masks
    assert split.marks == ("unofficial split",)
    assert pickle.loads(pickle.dumps(split)) == split  # noqa: S301 - our own bytes


def test_loco_regions_one_per_file_with_their_saturation(root):
    loco(root)
    split = LOCO.read(root, "screw_bag")
    first, second = regions(split.test[2], split)
    assert (first.defect, first.relative_saturation, first.saturation_threshold) == ("extra_nut", True, 0.5)
    assert (second.defect, second.relative_saturation, second.saturation_threshold) == (
        "missing_nut",
        False,
        5,
    )
    assert (first.area, first.saturation, second.area, second.saturation) == (16, 8, 9, 5)
    assert first.mask.shape == SIZE and first.mask[2:6, 2:6].all() and not first.mask[6:, 6:].any()
    assert regions(split.test[0], split) == []


def test_full_image_mask_is_a_region(root):
    loco(root)
    split = LOCO.read(root, "screw_bag")
    (region,) = regions(split.test[3], split)
    assert region.mask.all() and region.defect == "missing_nut"


def test_mvtec_split(root):
    mvtec(root)
    split = MVTEC.read(root, "bottle")
    assert [s.label for s in split.test] == ["good", "crack", "crack", "dent"]
    assert split.test[1].defects == ("crack",) and split.defects == {}
    (region,) = regions(split.test[3], split)
    assert (region.area, region.saturation, region.defect) == (16, 16, "dent")
    assert split.validation == () and split.marks == ("unofficial split",)


def test_val_is_validation(root):
    folder = mvtec(root)
    image(folder / "val/good/000.png")
    assert len(FOLDER.read(root, "bottle").validation) == 1
    assert len(FOLDER.read(root, "bottle", FolderOptions(validation="train/good")).validation) == 3


def test_folder_of_other_shape_without_masks(tmp_path):
    root = tmp_path / "screws"
    image(root / "ok/1.png")
    image(root / "check/fine/1.png", 2)
    image(root / "check/broken/1.png", 3)
    image(root / "check/mixed_up/1.png", 4)
    options = FolderOptions(
        train="ok", normal="check/fine", abnormal=("check/*",), masks=None, labels={"mixed_up": "logical"}
    )
    assert FOLDER.categories(root, options) == ["screws"]
    split = FOLDER.read(root, "screws", options)
    assert [(s.label, s.defects) for s in split.test] == [
        ("good", ()),
        ("broken", ("broken",)),
        ("logical", ("mixed_up",)),
    ]


def test_folder_without_ground_truth_has_no_masks(root):
    shutil.rmtree(mvtec(root) / "ground_truth")
    assert all(s.masks == () for s in FOLDER.read(root, "bottle").test)
    assert "no mask for this image" in problems_of(MVTEC, root, "bottle")[0]


def test_part_masks(root):
    folder = loco(root)
    for name in ("train/good/000.png", "test/good/001.png"):
        mask(folder / "part_masks" / name, 1)
    (folder / "part_classes.json").write_text(json.dumps(["background", "nut"]))
    split = LOCO.read(root, "screw_bag")
    assert set(split.part_masks) == {"train/good/000.png", "test/good/001.png"}
    assert split.part_classes == ("background", "nut")
    mask(folder / "part_masks/train/good/000.png", 1, size=(5, 5))
    assert "part mask has another size" in problems_of(LOCO, root, "screw_bag")[0]
    (folder / "part_classes.json").write_text(json.dumps({"nut": 1, "background": 0}))
    assert LOCO.inspect(root, "screw_bag").split.part_classes == ("background", "nut")
    (folder / "part_classes.json").unlink()
    assert any("part_classes.json: cannot be read" in p for p in problems_of(LOCO, root, "screw_bag"))


def test_demo_is_always_marked(root):
    loco(root)
    assert DEMO.read(root, "screw_bag").marks == ("demo data",)
    (root / "demo.json").write_text('{"complete": true}')
    assert LOCO.read(root, "screw_bag", LocoOptions(marks=("derived masks",))).marks == (
        "demo data",
        "unofficial split",
        "derived masks",
    )
    (root / "demo.json").write_text('{"complete": false}')
    assert "interrupted" in problems_of(DEMO, root, "screw_bag")[0]


# --- counts of the archive ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "validation", "marks", "note"),
    [
        (360, 60, (), None),
        (354, 59, ("the paper's split",), "these are the paper's numbers"),
        (353, 59, ("unofficial split",), "train 353 (archive: 360), validation 59 (archive: 60)"),
    ],
)
def test_splicing_connectors_of_archive_and_paper(root, train, validation, marks, note):
    folder = root / "splicing_connectors"
    one, other = (image(root / f"{name}.png").read_bytes() for name in ("one", "other"))
    region = mask(root / "mask.png").read_bytes()
    wanted = {"train/good": train, "validation/good": validation, "test/good": 119}
    for name, n in (wanted | {"test/logical_anomalies": 108, "test/structural_anomalies": 85}).items():
        for i in range(n):
            _write(folder / name / f"{i:03d}.png", other if name.startswith("test") else one)
            if "anomalies" in name:
                _write(folder / "ground_truth" / Path(name).name / f"{i:03d}/000.png", region)
    (folder / "defects_config.json").write_text(json.dumps(DEFECTS))
    found = LOCO.inspect(root, "splicing_connectors")
    assert not found.problems
    assert found.split.marks == marks
    assert (note in found.notes[0]) if note else found.notes == []


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def test_archive_counts_add_up():
    def total(dataset):
        return sum(sum(row.values()) for row in dataset.counts.values())

    assert total(LOCO) == 3651
    assert total(MVTEC) == 3629 + 467 + 1258
    assert [len(d.counts) for d in (LOCO, MVTEC)] == [5, 15]


# --- what is refused ------------------------------------------------------------------------------


def test_everything_wrong_at_once(root):
    folder = loco(root)
    mask(folder / "ground_truth/logical_anomalies/000/000.png", 17)
    two = np.zeros(SIZE, np.uint8)
    two[0, 0], two[5, 5] = 255, 254
    from PIL import Image

    Image.fromarray(two).save(folder / "ground_truth/logical_anomalies/000/001.png")
    mask(folder / "ground_truth/logical_anomalies/001/000.png", 0)
    mask(folder / "ground_truth/structural_anomalies/000/000.png", 253, size=(6, 8))
    mask(folder / "ground_truth/structural_anomalies/007/000.png", 253)
    image(folder / "test/structural_anomalies/001.png")
    problems = "\n".join(problems_of(LOCO, root, "screw_bag"))
    truth = f"{folder}/ground_truth"
    for place, message in {
        f"{truth}/logical_anomalies/000/000.png": "pixel value 17 is no defect type (allowed: 253, 254, 255)",
        f"{truth}/logical_anomalies/000/001.png": "two or more pixel values (254, 255) in one mask",
        f"{truth}/logical_anomalies/001/000.png": "no pixel of the mask is marked",
        f"{truth}/structural_anomalies/000/000.png": "the mask has 8x6 pixels, its image 16x12",
        f"{truth}/structural_anomalies/007/000.png": "a mask without its image",
        f"{folder}/test/structural_anomalies/001.png": "no mask for this image",
    }.items():
        assert f"{place}: {message}" in problems
    assert len(problems.splitlines()) == 6


def test_masks_are_checked_again_when_they_are_loaded(root):
    loco(root)
    split = LOCO.read(root, "screw_bag")
    sample = replace(split.test[2], contents=())  # as of somebody who has not looked at the files before
    path = sample.masks[1]
    for change, message in ((17, "17 is no defect"), (0, "no pixel")):
        mask(path, change)
        with pytest.raises(DataError, match=f"{path}: .*{message}"):
            regions(sample, split)
    path.write_bytes(b"no image")
    with pytest.raises(DataError, match=f"{path}: not a readable mask"):
        regions(sample, split)
    image(path)
    with pytest.raises(DataError, match="one channel"):
        regions(sample, split)


def test_corrupt_image_and_mask(root):
    folder = loco(root)
    (folder / "train/good/003.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    broken = folder / "ground_truth/logical_anomalies/000/000.png"
    broken.write_bytes(broken.read_bytes()[:60])
    problems = problems_of(LOCO, root, "screw_bag")
    assert len(problems) == 2
    assert f"{folder}/train/good/003.png: not readable" in problems[0]
    assert f"{broken}: not readable" in problems[1]


def test_truncated_image_is_found_when_decoded(root):
    folder = loco(root)
    path = folder / "train/good/003.png"
    path.write_bytes(path.read_bytes()[:-200])
    LOCO.read(root, "screw_bag")  # no image is decoded here
    from harness.curate.check import check

    (problem,) = check(root, LOCO, deep=True).problems
    assert str(path) in problem


@pytest.mark.parametrize("name", ["train/good", "validation/good", "test/good", "test/logical_anomalies"])
def test_empty_split(root, name):
    folder = loco(root)
    for path in (folder / name).iterdir():
        path.unlink()
    assert any(f"{folder / name}: no images here" in p for p in problems_of(LOCO, root, "screw_bag"))


def test_missing_train_and_missing_test(root):
    folder = loco(root)
    shutil.rmtree(folder / "train")
    assert (
        f"{folder}/train/good: no such folder; there: defects_config.json, ground_truth/"
        in problems_of(LOCO, root, "screw_bag")[0]
    )
    folder = loco(root, "pushpins")
    shutil.rmtree(folder / "test")
    assert any("no test images" in p for p in problems_of(LOCO, root, "pushpins"))


def test_folder_that_is_a_file(root):
    folder = loco(root)
    shutil.rmtree(folder / "test/good")
    (folder / "test/good").write_text("")
    shutil.rmtree(folder / "ground_truth/structural_anomalies")
    (folder / "ground_truth/structural_anomalies").write_text("")
    problems = "\n".join(problems_of(LOCO, root, "screw_bag"))
    assert f"{folder}/test/good: cannot be read as a folder (Not a directory)" in problems
    assert f"{folder}/ground_truth/structural_anomalies: cannot be read" in problems


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", [".", "train/good", "test", "ground_truth/logical_anomalies"])
def test_unreadable_folder(root, name):
    folder = loco(root)
    (folder / name).chmod(0)
    try:
        assert LOCO.categories(root) == ["screw_bag"]
        assert any("Permission denied" in p for p in problems_of(LOCO, root, "screw_bag"))
    finally:
        (folder / name).chmod(0o755)


def test_defects_config_problems_at_once(root):
    folder = loco(root)
    bad = [DEFECTS[0] | {"pixel_value": 0}, DEFECTS[1] | {"saturation_threshold": 1.5}, {"defect_name": "x"}]
    bad += [DEFECTS[0] | {"saturation_threshold": 2.5}, DEFECTS[0] | {"relative_saturation": 1}]
    (folder / "defects_config.json").write_text(json.dumps(bad))
    problems = "\n".join(problems_of(LOCO, root, "screw_bag"))
    for text in ("must be 1..255, not 0", "must lie in (0, 1], not 1.5", "entry 2: must be an object with"):
        assert text in problems
    assert "whole number of pixels, not 2.5" in problems and "must be true or false, not 1" in problems
    (folder / "defects_config.json").write_text(json.dumps([DEFECTS[0], DEFECTS[0]]))
    assert "255 stands for two" in problems_of(LOCO, root, "screw_bag")[0]
    (folder / "defects_config.json").unlink()
    assert "cannot be read (No such file" in problems_of(LOCO, root, "screw_bag")[0]


def test_wrong_root_and_category(root, tmp_path):
    loco(root)
    with pytest.raises(DataError, match=r"no category 'screwbag' \(did you mean 'screw_bag'\?\); known here"):
        LOCO.read(root, "screwbag")
    with pytest.raises(DataError, match="no such folder"):
        LOCO.read(tmp_path / "gone", "screw_bag")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no category of mvtec_loco in this folder"):
        LOCO.categories(tmp_path / "empty")
    with pytest.raises(ConfigError, match=r"unknown dataset 'mvtec_loko' \(did you mean 'mvtec_loco'\?\)"):
        DATASETS.load("mvtec_loko")


def test_many_problems_are_cut(root):
    folder = loco(root)
    for i in range(10, 60):
        image(folder / f"test/structural_anomalies/{i:03d}.png")
    with pytest.raises(DataError, match=r"50 problems\n(.*\n){20}  and 30 more; "):
        LOCO.read(root, "screw_bag")


def test_options_are_checked():
    for dataset in (LOCO, MVTEC, FOLDER, DEMO):
        options = TypeAdapter(dataset.Options).validate_python({"marks": ["a", "b"]})
        assert options.marks == ("a", "b") and hash(dataset.Options) is not None
        with pytest.raises(ValidationError, match="mark"):
            TypeAdapter(dataset.Options).validate_python({"mark": ["a"]})
    with pytest.raises(ValidationError, match="drop_ambiguous"):
        TypeAdapter(LocoOptions).validate_python({"subtype_rule": "drop"})


# --- fingerprint and index ------------------------------------------------------------------------


def test_fingerprint_follows_content_and_not_place(root, tmp_path):
    folder = loco(root)
    first = LOCO.read(root, "screw_bag").fingerprint
    assert len(first) == 64
    shutil.copytree(root, tmp_path / "elsewhere")
    assert LOCO.read(tmp_path / "elsewhere", "screw_bag").fingerprint == first
    seen = {first}
    for change in (
        lambda: image(folder / "train/good/000.png", 77),
        lambda: image(folder / "test/good/001.png", 78),
        lambda: mask(folder / "ground_truth/logical_anomalies/000/000.png", 254, (2, 2, 6, 7)),
        lambda: (folder / "train/good/005.png").rename(folder / "train/good/006.png"),
        lambda: (folder / "train/good/006.png").unlink(),
        lambda: (folder / "defects_config.json").write_text(
            json.dumps([DEFECTS[0] | {"saturation_threshold": 6}, *DEFECTS[1:]])
        ),
    ):
        change()
        seen.add(LOCO.read(root, "screw_bag").fingerprint)
    assert len(seen) == 7


def test_files_that_do_not_belong_leave_the_fingerprint_alone(root):
    folder = loco(root)
    first = LOCO.read(root, "screw_bag").fingerprint
    (folder / "readme.txt").write_text("hello")
    (folder / "train/good/Thumbs.db").write_text("x")
    loco(root, "pushpins")
    assert LOCO.read(root, "screw_bag").fingerprint == first


def test_the_index_spares_reading_and_notices_changes(root, cache, monkeypatch):
    import harness.data.index as index

    folder = loco(root)
    examined = []
    real = index._facts_from_bytes
    monkeypatch.setattr(index, "_facts_from_bytes", lambda p, *k: examined.append(p) or real(p, *k))
    first = LOCO.read(root, "screw_bag")
    assert len(examined) == 6 + 2 + 5 + 4
    examined.clear()
    assert LOCO.read(root, "screw_bag") == first
    assert examined == []
    image(folder / "train/good/002.png", 99)
    os.utime(folder / "train/good/002.png", ns=(1, 1))
    assert LOCO.read(root, "screw_bag").fingerprint != first.fingerprint
    assert examined == [folder / "train/good/002.png"]
    assert len(list((cache / "digests").iterdir())) == 1  # no temporary file is left


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"version": 1, "files": {"image:x": 3}}', b"\xff\xfe"]
)
def test_a_damaged_index_is_made_again(root, cache, damage):
    loco(root)
    first = LOCO.read(root, "screw_bag")
    (file,) = (cache / "digests").iterdir()
    file.write_bytes(damage)
    assert LOCO.read(root, "screw_bag") == first


def test_a_mended_file_is_read_again_even_if_its_time_stays(root):
    path = loco(root) / "train/good/003.png"
    good = path.read_bytes()
    for data in (b"x" * len(good), good):
        path.write_bytes(data)
        os.utime(path, ns=(5, 5))
        if data != good:
            assert str(path) in problems_of(LOCO, root, "screw_bag")[0]
    assert len(LOCO.read(root, "screw_bag").train) == 6


def test_an_unwritable_cache_costs_only_time(root, tmp_path, monkeypatch):
    loco(root)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LADDER_CACHE", str(tmp_path / "file"))
    assert LOCO.read(root, "screw_bag").fingerprint


def test_file_digest_takes_what_the_index_knows(root, monkeypatch):
    import harness.data.digest as digest

    loco(root)
    split = LOCO.read(root, "screw_bag")
    path = split.train[0].path
    real = digest._digest_of(path)
    monkeypatch.setattr(digest, "_digest_of", lambda path: pytest.fail("read again"))
    assert digest.file_digest(path) == real
    monkeypatch.undo()
    image(path, 1234)
    assert digest.file_digest(path) == digest._digest_of(path) != real


def test_reading_needs_no_torch(root):
    loco(root)
    code = (
        "import sys; from harness.datasets import DATASETS; import harness.data.fewshot\n"
        f"s = DATASETS.load('mvtec_loco').read({str(root)!r}, 'screw_bag')\n"
        "assert len(s.train) == 6 and not {'torch', 'pandas', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)

"""The data sets beyond MVTec's, read from their sketches; what is wrong is said once, with what was meant."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from harness.config import load
from harness.curate.check import check
from harness.curate.command import main as data
from harness.curate.sketch import sketch
from harness.data.fewshot import draw
from harness.data.masks import regions
from harness.datasets import DATASETS
from harness.datasets.easel import Easel
from harness.datasets.real_iad import RealIadOptions
from harness.datasets.visa import VisaOptions
from harness.errors import DataError
from harness.sweep import main as sweep
from methods import METHODS
from sweeps.expand import expand
from sweeps.problems import CHECKS

Draw = Callable[..., Path]
ONE = {
    "visa": "candle",
    "cad_sd": "screw",
    "vid_ad": "Balls",
    "mpdd": "tubes",
    "btad": "01",
    "autovi": "pipe_clip",
    "real_iad": "audiojack",
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LADDER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def drawn(tmp_path: Path) -> Draw:
    """A sketch of some categories of a data set, in `data`."""

    def make(name: str, *categories: str, train: int = 2, test: int = 1) -> Path:
        sketch(DATASETS.load(name), Easel(tmp_path / "data", train, test, categories or (ONE[name],)))
        return tmp_path / "data"

    return make


def read(name: str, root: Path, options: Any = None, category: str = "") -> Any:
    return DATASETS.load(name).read(root, category or ONE[name], options)


def said(name: str, root: Path, options: Any = None, category: str = "") -> str:
    with pytest.raises(DataError) as caught:
        read(name, root, options, category)
    return str(caught.value)


# --- what is read -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "first", "labels", "masks"),
    [
        ("visa", "Data/Images/Normal/0000.JPG", ["anomaly", "good"], 1),
        ("cad_sd", "train/0_good/000.jpg", ["good", "structural", "structural", "logical", "logical"], 0),
        ("vid_ad", "train/good/000.jpg", ["good", "logical", "logical", "logical"], 0),
        ("mpdd", "train/good/000.png", ["good", "anomalous"], 1),
        ("btad", "train/ok/0000.bmp", ["good", "ko"], 1),
        ("autovi", "train/good/0000.png", ["good", "operator", "unclipped"], 2),
    ],
)
def test_what_a_category_holds(name: str, first: str, labels: list[str], masks: int, drawn: Draw):
    split = read(name, drawn(name))
    assert [s.id for s in split.train][:1] == [first] and len(split.train) == 2 and not split.validation
    assert [s.label for s in split.test] == labels
    assert sum(len(s.masks) for s in split.test) == masks
    assert {s.view_of for s in split.test} == {None}


def test_any_value_of_a_mask_of_visa_is_anomalous(drawn: Draw):
    root = drawn("visa")
    path = root / "candle/Data/Masks/Anomaly/000.png"
    pixels = np.array(Image.open(path))
    pixels[:2, :5] = 7  # another class of the same image
    Image.fromarray(pixels).save(path)
    split = read("visa", root)
    (region,) = regions(split.test[0], split)
    assert region.area == np.count_nonzero(pixels) and set(np.unique(pixels)) == {0, 1, 7}


def _laid_out_anew(root: Path, out: Path) -> Path:
    """What prepare_data.py makes of VisA."""
    for row in csv.DictReader((root / "split_csv/1cls.csv").read_text().splitlines()):
        label = {"normal": "good", "anomaly": "bad"}[row["label"]]
        place = out / "1cls" / row["object"] / row["split"] / label / Path(row["image"]).name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / row["image"], place)
        if row["mask"]:
            truth = out / "1cls" / row["object"] / "ground_truth/bad" / Path(row["mask"]).name
            truth.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((np.array(Image.open(root / row["mask"])) > 0).astype(np.uint8) * 255).save(truth)
    return out


def test_both_forms_of_visa_have_the_same_images_labels_and_order(drawn: Draw, tmp_path: Path):
    root = drawn("visa", train=5, test=2)
    anew = _laid_out_anew(root, tmp_path / "VisA_pytorch")
    native, other, inner = (read("visa", r) for r in (root, anew, anew / "1cls"))
    assert other.fingerprint == inner.fingerprint != native.fingerprint
    for one, two in ((native.train, other.train), (native.test[2:] + native.test[:2], other.test)):
        assert [(s.label, s.defects, s.path.name) for s in one] == [
            (s.label, s.defects, s.path.name) for s in two
        ]
    for rule in ("first_k", "block", "vand2025"):
        picked = [
            [s.path.name for s in draw(split.train, 2, 1, rule, dataset="visa", category="candle")]
            for split in (native, other)
        ]
        assert picked[0] == picked[1]


def test_the_archive_of_autovi_holds_its_folder_twice(drawn: Draw):
    root = drawn("autovi")
    before = read("autovi", root)
    shutil.move(root / "pipe_clip", root / "inner")
    (root / "pipe_clip").mkdir()
    shutil.move(root / "inner", root / "pipe_clip/pipe_clip")
    after = read("autovi", root)
    assert after.fingerprint == before.fingerprint
    assert {s.defects for s in after.test} == {(), ("operator",), ("unclipped",)}


def test_masks_of_btad_go_by_the_stem(drawn: Draw):
    root = drawn("btad", "01", "02", "03")
    mask = root / "03/ground_truth/ko/0000.png"
    Image.open(mask).save(mask.with_suffix(".bmp"))  # whatever their format
    mask.unlink()
    suffixes = {
        c: (s.path.suffix, s.masks[0].suffix)
        for c in ("01", "02", "03")
        for s in read("btad", root, category=c).test
        if s.masks
    }
    assert suffixes == {"01": (".bmp", ".png"), "02": (".png", ".png"), "03": (".bmp", ".bmp")}


def test_real_iad_knows_what_its_images_are_views_of(drawn: Draw):
    split = read("real_iad", drawn("real_iad"))
    assert (len(split.train), len(split.test)) == (10, 10)
    products = {s.view_of for s in split.test}
    assert products == {"OK/S0003", "NG/HS/S0001"}
    bad = [s for s in split.test if s.view_of == "NG/HS/S0001"]
    assert [s.label for s in bad] == ["HS", "HS", "good", "good", "good"]  # not seen from every side
    assert [len(s.masks) for s in bad] == [1, 1, 0, 0, 0]


def test_real_iad_has_several_sizes(drawn: Draw):
    root = drawn("real_iad")
    shutil.copytree(root / "realiad_256", root / "realiad_512")
    dataset = DATASETS.load("real_iad")
    with pytest.raises(DataError, match=r"images in sizes 256, 512; say which under `dataset:`: size: '256'"):
        dataset.names(root)
    assert read("real_iad", root, RealIadOptions(size="512")).train[0].path.parts[-5] == "realiad_512"
    with pytest.raises(DataError, match="size raw is not there; there: 256, 512"):
        dataset.names(root, RealIadOptions(size="raw"))


# --- what is wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ONE)
def test_a_root_one_level_off_names_the_one_that_is_meant(name: str, drawn: Draw):
    root = drawn(name)
    dataset = DATASETS.load(name)
    with pytest.raises(DataError) as high:
        dataset.names(root.parent)
    assert f"no category of {name} in this folder; looked for " in str(high.value)
    assert str(high.value).endswith(f"data/ holds {ONE[name]}: did you mean {root}?")
    if (root / ONE[name]).is_dir():
        with pytest.raises(DataError) as low:
            dataset.names(root / ONE[name])
        assert str(low.value).endswith(f"it is the folder of one category: did you mean {root}?")
    with pytest.raises(DataError, match=r"has no category '.*' \(did you mean '.*'\?\); known here: "):
        dataset.read(root, ONE[name] + "x")


@pytest.mark.parametrize("name", ["visa", "vid_ad", "mpdd", "btad", "autovi"])
def test_a_folder_of_other_data_sets_is_no_root(name: str, drawn: Draw, tmp_path: Path):
    """Folders with train/ and test/ beside the root that is meant are taken for no categories of it."""
    root = drawn(name)
    (tmp_path / "another/train/good").mkdir(parents=True)
    (tmp_path / "another/test/good").mkdir(parents=True)
    with pytest.raises(DataError, match=f"data/ holds {ONE[name]}: did you mean {root}"):
        DATASETS.load(name).names(tmp_path)
    (root / "more/train/good").mkdir(parents=True)
    if name != "btad":  # beside one that is known it is not passed over
        wanted = {ONE[name]} if name == "visa" else {ONE[name], "more"}
        assert set(DATASETS.load(name).names(root).whole) == wanted


def _rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


N, A = "candle/Data/Images/Normal", "candle/Data/Images/Anomaly"


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        (f"{N}/0001", f"{N}/001", f"3: no such image: ROOT/{N}/001.JPG (did you mean '0001.JPG'?)"),
        (
            "Masks/Anomaly/000",
            "Masks/Anomaly/00",
            "5: no such mask: ROOT/candle/Data/Masks/Anomaly/00.png (did",
        ),
        ("candle/Data/Masks/Anomaly/000.png", "", f"5: {A}/000.JPG is anomalous and has no mask"),
        ("normal,", "normla,", "2: label 'normla' (did you mean 'normal'?); allowed: normal, anomaly"),
        ("test,normal", "tset,normal", "4: split 'tset' (did you mean 'test'?); allowed: train, test"),
        (f"{N}/0001", f"{N}/0000", f"2: {N}/0000.JPG is listed more than once"),
        (f"{N}/0001.JPG,", f"{N}/0001.JPG", "3: 4 fields, not 5 (object,split,label,image,mask)"),
        (f"{N}/0000", "../candle/0000", "2: image '../candle/0000.JPG' does not lie below"),
        ("train,normal", "train,anomaly", "2: 1 anomalous images are in its training part"),
        (f"{N}/0001", f"{N}/./0000", f"2: {N}/0000.JPG is listed more than once"),  # spelt otherwise
        (f"{N}/0001", "candle/Data//Images/Normal/0000", f"2: {N}/0000.JPG is listed more than once"),
        (
            f"{N}/0002.JPG,",
            f"{N}/0002.JPG,candle/Data/Masks/Anomaly/000.png",
            f"4: {N}/0002.JPG is normal and has the mask candle/Data/Masks/Anomaly/000.png",
        ),
    ],
)
def test_a_line_of_visa_that_cannot_be_meant(old: str, new: str, wanted: str, drawn: Draw):
    root = drawn("visa")
    _rewrite(root / "split_csv/1cls.csv", old, new)
    lines = said("visa", root).splitlines()[1:]
    assert (
        len(lines) == 1
        and wanted.replace("ROOT", str(root)) in lines[0]
        and f"{root}/split_csv/1cls.csv" in lines[0]
    )


def test_the_columns_of_an_index_of_visa(drawn: Draw):
    root = drawn("visa")
    _rewrite(root / "split_csv/1cls.csv", "object,", "category,")
    with pytest.raises(
        DataError, match="first line must be object,split,label,image,mask, not category,split"
    ):
        DATASETS.load("visa").names(root)


def test_an_index_of_visa_that_is_not_there_is_said_once(drawn: Draw, sweep_file, capsys):
    root = drawn("visa", "candle", "capsules")
    dataset = {"name": "visa", "root": str(root), "split": "1cs"}
    assert sweep([str(sweep_file(dataset=dataset)), "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert error.count("1cs.csv: no such file (did you mean '1cls'?); splits there: 1cls") == 1
    (root / "split_csv/1cls.csv").unlink()
    assert sweep([str(sweep_file(dataset=dataset | {"split": "1cls"})), "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert error.count("1cls.csv: no such file, which says what is trained and tested with; https://") == 1


@pytest.mark.parametrize("name", ["2cls_fewshot", "2cls_highshot"])
def test_the_two_class_splits_of_visa_are_no_k_shots(
    name: str, drawn: Draw, tmp_path: Path, sweep_file, capsys
):
    with pytest.raises(
        ValidationError, match=f"{name} is the split of the paper's two-class setting: its train"
    ):
        TypeAdapter(VisaOptions).validate_python({"split": name})
    root = drawn("visa")
    dataset = {"name": "visa", "root": str(root), "split": name}
    assert sweep([str(sweep_file(dataset=dataset)), "--dry-run"]) == 2
    assert f"dataset.split: {name} is the split of the paper's two-class" in capsys.readouterr().err
    anew = _laid_out_anew(root, tmp_path / "VisA_pytorch")
    shutil.move(anew / "1cls", anew / name)
    shutil.copytree(anew / name / "candle/test/bad", anew / name / "candle/train/bad")
    assert f"{name} is the split of the paper's two-class setting" in said("visa", anew / name)
    with pytest.raises(
        DataError, match=r"`split: mine` names a file of split_csv/; here folders say what is"
    ):
        DATASETS.load("visa").names(anew / name, VisaOptions("mine"))


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        ("visa", "candle/Data/Masks/Anomaly/000.png"),
        ("mpdd", "tubes/ground_truth/anomalous/000_mask.png"),
        ("btad", "01/ground_truth/ko/0000.png"),
        ("autovi", "pipe_clip/ground_truth/unclipped/0000/0000.png"),
        ("real_iad", "realiad_256/audiojack/NG/HS/S0001/audiojack_0001_NG_HS_C1_20231021130716_mask.png"),
    ],
)
def test_a_mask_of_another_size_or_none(name: str, mask: str, drawn: Draw):
    root = drawn(name)
    pixels = np.array(Image.open(root / mask))
    Image.fromarray(pixels[:-3]).save(root / mask)
    (line,) = said(name, root).splitlines()[1:]
    assert line.strip() == f"{root / mask}: the mask has 80x61 pixels, its image 80x64"
    (root / mask).unlink()
    lines = said(name, root).splitlines()[1:]
    assert len(lines) == 1 and ("no such mask" in lines[0] or "no mask for this image" in lines[0])


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda j: j.pop("test"), "audiojack.json: must be an object with the lists train and test"),
        (lambda j: j["train"][0].pop("image_path"), "train 0: image_path must be a text, not None"),
        (lambda j: j["train"][1].update(anomaly_class="AK"), "train 1: 1 anomalous images are in its train"),
        (lambda j: j["test"][2].update(mask_path=3), "test 2: mask_path must be a text or null, not 3"),
        (lambda j: j["train"].clear(), "audiojack: its index names no image to train with"),
        (lambda j: j["test"].clear(), "audiojack: its index names no image to test with"),
        (lambda j: j["train"][0].update(image_path=3), "train 0: image_path must be a text, not 3"),
    ],
)
def test_an_index_of_real_iad_that_cannot_be_meant(change: Any, wanted: str, drawn: Draw):
    root = drawn("real_iad")
    path = root / "realiad_jsons/realiad_jsons/audiojack.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    (line,) = said("real_iad", root).splitlines()[1:]
    assert wanted in line and "did you mean" not in line
    path.write_text("[" * 100_000)
    assert f"{path}: not readable as JSON (" in said("real_iad", root)


def test_an_index_of_real_iad_that_is_not_there(drawn: Draw):
    root, dataset = drawn("real_iad", "audiojack", "zipper"), DATASETS.load("real_iad")
    folder = root / "realiad_jsons/realiad_jsons"
    before = read("real_iad", root).fingerprint
    for file in folder.iterdir():  # an archive that was unpacked one level higher
        shutil.copy(file, folder.parent)
    shutil.rmtree(folder)
    assert read("real_iad", root).fingerprint == before
    path = folder.parent / "audiojack.json"
    path.rename(path.with_name("audiojac.json"))
    assert "audiojack.json: no such file, which says what is trained and tested with" in said(
        "real_iad", root
    )
    with pytest.raises(DataError, match="realiad_json: no index of any category; indices there: none"):
        dataset.names(root, RealIadOptions(index="realiad_json"))
    folder.mkdir()
    path.with_name("audiojac.json").rename(folder / "audiojac.json")
    path.with_name("zipper.json").rename(folder / "zipper.json")
    assert said("real_iad", root).endswith("tested with (did you mean 'audiojac'?)")
    with pytest.raises(DataError, match=r"\(did you mean 'realiad_jsons'\?\); indices there: realiad_jsons"):
        dataset.names(root, RealIadOptions(index="realiad_json"))


@pytest.mark.parametrize("rule", ["first_k", "block"])
def test_neighbouring_frames_are_not_drawn(rule: str, drawn: Draw, sweep_file, capsys):
    dataset = {"name": "vid_ad", "root": str(drawn("vid_ad"))}
    file = str(sweep_file(dataset=dataset, categories="all", shots=[1], support={"rule": rule}))
    assert sweep([file, "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert f"support.rule: {rule} is refused for vid_ad: images are frames of videos" in error
    assert sweep([file, "--dry-run", "support.rule=vand2025"]) == 0


def test_kinds_of_cad_sd_go_by_the_name_of_the_folder_or_are_refused(drawn: Draw):
    """Under a name that says nothing the division into logical and structural anomalies would be lost."""
    root = drawn("cad_sd")
    (root / "test/4_lacking").rename(root / "test/4_laking")
    (line,) = said("cad_sd", root).splitlines()[1:]
    assert (
        f"{root}/test/4_laking: neither logical nor structural by its name (did you mean '4_lacking'?)"
        in line
    )
    for folder in [p for p in (root / "test").iterdir() if p.name != "0_good"]:
        folder.rename(folder.with_name(folder.name[2:].capitalize()))
    with pytest.raises(
        DataError, match="no category of cad_sd in this folder; looked for train/0_good or test"
    ):
        DATASETS.load("cad_sd").names(root)


def test_folders_of_masks_and_of_autovi_are_found_in_any_case(drawn: Draw, tmp_path: Path):
    root = drawn("autovi")
    masks = [s.masks for s in read("autovi", root).test]
    (root / "pipe_clip/ground_truth").rename(root / "pipe_clip/Ground_Truth")
    (root / "pipe_clip/train").rename(root / "pipe_clip/Train")
    moved = [tuple(map(Path, (str(p).replace("Ground_Truth", "ground_truth") for p in s.masks)))
             for s in read("autovi", root).test]  # fmt: skip
    assert moved == masks and any(masks)


def test_a_root_that_cannot_be_listed_is_said(drawn: Draw, monkeypatch: pytest.MonkeyPatch):
    def locked(root: Path, options: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(root))

    root, dataset = drawn("autovi"), replace(DATASETS.load("autovi"), lister=locked)
    with pytest.raises(DataError, match=rf"{root}: cannot be read \(Permission denied\)"):
        dataset.names(root)


@pytest.mark.parametrize("name", ["visa", "mpdd"])
def test_a_category_that_may_not_be_looked_at_is_said(name: str, drawn: Draw, tmp_path: Path, monkeypatch):
    root = drawn(name)
    root = _laid_out_anew(root, tmp_path / "VisA_pytorch") / "1cls" if name == "visa" else root
    inside = f"{root / ONE[name]}/"

    def locked(of: Callable[..., Any], ending: str) -> Callable[..., Any]:
        def looked(path: Path, **how: Any) -> Any:
            if f"{path}{ending}".startswith(inside):
                raise PermissionError(13, "Permission denied", str(path))
            return of(path, **how)

        return looked

    monkeypatch.setattr(Path, "stat", locked(Path.stat, ""))
    monkeypatch.setattr(Path, "iterdir", locked(Path.iterdir, "/"))
    assert f"{inside}train/good: cannot be read as a folder (Permission denied)" in said(name, root)


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("split", "'split' on the command line is not KEY=VALUE"),
        ("split=[1", "split: '[1' is not valid YAML"),
    ],
)
def test_an_option_that_is_no_option_is_said(word: str, wanted: str, drawn: Draw, capsys):
    assert data(METHODS, ["check", str(drawn("visa")), "--option", word]) == 2
    assert wanted in capsys.readouterr().err


def test_counts_of_the_specification_are_compared_and_not_mended(drawn: Draw):
    report = check(drawn("cad_sd"), DATASETS.load("cad_sd"))
    note = (
        "screw: other counts than the official archive: train 2 (archive: 400), test good 1 (archive: 210), "
    )
    assert note + "test logical 2 (archive: 84), test structural 2 (archive: 82)" in report.notes
    assert report.found["screw"].split.marks == ("demo data", "unofficial split")
    assert not report.problems


def test_the_sweep_of_visa_draws_from_1cls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LADDER_DATA", str(tmp_path))
    sketch(DATASETS.load("visa"), Easel(tmp_path / "VisA", 4, 1))
    config = load(ROOT / "configs/visa.yaml", ["seeds=2"], CHECKS)
    names = [method.name for method in config.methods]
    assert names == ["anomaly_dino", "subspace_ad", "patchcore", "winclip"]
    floor = load(ROOT / "configs/visa.yaml", ["seeds=2", "methods=[{name: mean_image}]"], CHECKS)
    trials = [trial for trial, _ in expand(floor)]
    assert len(trials) == 12 * 3 * 2
    assert all(name.startswith("Data/Images/Normal/") for trial in trials for name in trial.support)


def test_an_archive_of_several_is_compared_by_its_name(drawn: Draw, tmp_path: Path, capsys):
    root, archive = drawn("autovi"), tmp_path / "pipe_clip.zip"
    archive.write_bytes(b"no archive")
    assert data(METHODS, ["check", str(root), "--archive", str(archive)]) == 2
    out = capsys.readouterr().out
    assert f"problem: {archive}: sha256 " in out and "but pipe_clip.zip has 955bb17b" in out
    assert "tank_screw.zip has" not in out


@dataclass(frozen=True)
class Together:
    first: bool = True
    second: bool = True

    def __post_init__(self) -> None:
        if self.first and self.second:
            raise ValueError("first and second say the same; give one of them")


def test_options_that_do_not_go_together_are_said_in_words(drawn: Draw, monkeypatch, sweep_file, capsys):
    monkeypatch.setattr("harness.datasets.mpdd.MPDD", replace(DATASETS.load("mpdd"), Options=Together))
    dataset = {"name": "mpdd", "root": str(drawn("mpdd"))}
    assert sweep([str(sweep_file(dataset=dataset)), "--dry-run"]) == 2
    assert ": dataset: first and second say the same; give one of them" in capsys.readouterr().err

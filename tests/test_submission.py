"""The folder for the server of MVTec AD 2: what is written, and everything for which one is refused."""

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
from conftest import sweep_here
from data_trees import SIZE, mvtec_ad2
from PIL import Image

from harness.console import code_of
from harness.datasets.mvtec_ad2 import COUNTS
from harness.errors import ConfigError, DataError
from harness.metrics import Moments, upsample
from harness.metrics.threshold import MEAN_3_STD
from harness.results.maps import read_maps
from harness.server.check import check
from harness.server.chosen import parts
from harness.server.rules import of_data, other_numbers, published
from harness.server.write import TOP, Scale, pack
from harness.submission import main

MAP = "anomaly_images/can/test_private/000_regular.tiff"
MASK = "anomaly_images_thresholded/can/test_private/000_regular.png"


def _sweep(folder: Path, root: Path, **keys: Any) -> Path:
    """A run over the private splits; its folder."""
    content = {
        "name": "server",
        "dataset": {"name": "mvtec_ad2", "root": str(root), "test": "server"},
        "methods": [{"name": "mean_image"}],
        "metrics": ["seg_f1"],
        "keep_maps": True,
        "out": str(folder / "run"),
        "cache": {"enabled": False},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.yaml").write_text(yaml.safe_dump(content | keys))
    done = sweep_here(folder / "sweep.yaml", "--backend", "serial")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mvtec_ad2(tmp_path_factory.mktemp("ad2"), *COUNTS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    return _sweep(tmp_path_factory.mktemp("server"), data)


@pytest.fixture(scope="module")
def written(run: Path, data: Path) -> Path:
    """The folder of a submission of all eight objects."""
    assert main([str(run)]) == 1  # of 16 images an archive's worth lacks
    assert main(["--check", str(run / "submission/submission"), "--data", str(data)]) == 0
    return run / "submission/submission"


def test_every_private_image_has_a_map_and_a_mask_of_its_size(written: Path, run: Path):
    names = [p.relative_to(written).as_posix() for p in written.rglob("*") if p.is_file()]
    assert len(names) == 8 * 2 * 2 * 2 and {MAP, MASK} < set(names)
    trials = pd.read_parquet(run / "trials").set_index("category")
    record = json.loads((written.parent / "submission.json").read_text())
    for name in ("can", "walnuts"):
        trial = trials.loc[name]
        kept = read_maps(run, trial["trial_id"])
        moments = Moments.recorded(trial)
        assert kept is not None and moments is not None
        threshold = MEAN_3_STD.of(moments)
        assert record["objects"][name]["threshold"] == threshold
        scale = Scale(**record["objects"][name]["scale"])
        raw = [upsample(one, SIZE) for one in kept.maps]
        folder = written / "anomaly_images" / name
        put = [tifffile.imread(folder / i.replace(".png", ".tiff")) for i in kept.ids]
        for before, after, i in zip(raw, put, kept.ids, strict=True):
            assert after.dtype == np.float16 and after.shape == SIZE
            order = np.argsort(before.ravel())
            assert (np.diff(after.ravel()[order].astype(float)) >= 0).all()
            back = (after.astype(float) - scale.offset) / scale.slope
            assert np.abs(back - before).max() <= (scale.high - scale.low) / 2000
            mask = np.asarray(Image.open(written / f"anomaly_images_thresholded/{name}" / i))
            assert mask.dtype == np.uint8 and np.array_equal(mask, 255 * (before > threshold))
    assert record["threshold"].startswith("mean + 3 std")
    assert record["objects"]["can"]["marks"] == ["unofficial split"]


@pytest.mark.parametrize(
    "values", [[1e-9, 2e-9, 3e-9], [1e6, 1e6 + 0.5, 1e6 + 1], [-5, 0, 7e8], [0, 1e-6, 1]], ids=str
)
def test_the_scale_neither_overflows_nor_loses_what_is_small(values: list[float]):
    maps = np.array(values).reshape(1, 1, 3)
    found = Scale.of(maps).applied(maps).ravel()
    assert found[0] == 0 and found[-1] == TOP and np.isfinite(found).all()
    assert (np.diff(found.astype(float)) > 0).all()


def test_a_constant_map_stays_one():
    assert Scale.of(np.full((1, 2, 2), 3.0)).applied(np.full((2, 2), 3.0)).tolist() == [[0, 0], [0, 0]]


Change = Callable[[Path], object]


def _tiff(values: Any) -> Change:
    return lambda folder: tifffile.imwrite(folder / MAP, values, photometric="minisblack")


def _mask(values: Any) -> Change:
    return lambda folder: Image.fromarray(values).save(folder / MASK)


def _moved(old: str, new: str) -> Change:
    return lambda folder: (folder / old).rename(folder / new)


GOOD, FLAT = np.zeros(SIZE, np.float16), np.zeros(SIZE, np.uint8)
REFUSED: dict[str, tuple[Change, str]] = {
    "missing object": (
        lambda f: shutil.rmtree(f / "anomaly_images/vial"),
        "anomaly_images/vial/test_private: missing",
    ),
    "missing split": (
        lambda f: shutil.rmtree(f / "anomaly_images/rice/test_private_mixed"),
        "anomaly_images/rice/test_private_mixed: missing",
    ),
    "missing image": (
        lambda f: (f / MAP).unlink(),
        "anomaly_images/can/test_private: 000_regular.tiff is missing",
    ),
    "masks of some images": (lambda f: (f / MASK).unlink(), "000_regular.png is missing"),
    "extra file": (lambda f: (f / "readme.txt").write_text("x"), "readme.txt is not wanted"),
    "extra folder": (lambda f: (f / "anomaly_images/bottle").mkdir(), "anomaly_images: bottle is not wanted"),
    "wrong name": (
        _moved(MAP, MAP.replace("regular", "mixed")),
        "anomaly_images/can/test_private: 000_mixed.tiff is not wanted",
    ),
    "number of two digits": (_moved(MAP, MAP.replace("000", "00")), "00_regular.tiff is not wanted"),
    "wrong suffix": (_moved(MAP, MAP.replace(".tiff", ".tif")), "000_regular.tif is not wanted"),
    "float32": (_tiff(GOOD.astype(np.float32)), "holds float32; allowed: float16"),
    "wrong size": (_tiff(GOOD[:, :8]), "is 8x12, its image 16x12"),
    "three channels": (_tiff(np.zeros((*SIZE, 3), np.float16)), "(12, 16, 3); one channel is allowed"),
    "two pages": (_tiff(np.zeros((2, *SIZE), np.float16)), "(2, 12, 16); one channel is allowed"),
    "NaN": (_tiff(GOOD + np.float16("nan")), "has 192 NaN or infinite values of 192"),
    "infinite": (_tiff(GOOD + np.float16("inf")), "has 192 NaN or infinite values of 192"),
    "no TIFF": (lambda f: (f / MAP).write_bytes(b"and no more"), f"{MAP}: cannot be read"),
    "TIFF that is cut": (lambda f: (f / MAP).write_bytes(b"II*\0 and no more"), f"{MAP}: holds no image"),
    "mask of other values": (_mask(FLAT + np.uint8(1)), "has the value 1; allowed: 0 and 255"),
    "mask of one bit": (_mask(FLAT > 0), "holds bool; allowed: 8 bits"),
    "mask in colour": (_mask(np.zeros((*SIZE, 3), np.uint8)), "(12, 16, 3); one channel is allowed"),
    "mask of another size": (_mask(FLAT[:6]), "is 16x6, its image 16x12"),
    "mask that is a JPEG": (
        lambda f: Image.fromarray(FLAT).save(f / MASK, format="JPEG"),
        f"{MASK}: is no PNG",
    ),
    "link to nothing": (
        lambda f: ((f / MAP).unlink(), (f / MAP).symlink_to("nowhere")),
        "000_regular.tiff",
    ),
    "folder instead of a map": (
        lambda f: ((f / MAP).unlink(), (f / MAP).mkdir()),
        "000_regular.tiff is missing",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_broken_submission_is_refused(name: str, written: Path, data: Path, tmp_path: Path):
    change, said = REFUSED[name]
    folder = tmp_path / "broken"
    shutil.copytree(written, folder)
    wanted = of_data(data)
    assert check(folder, wanted).problems == ()
    change(folder)
    for path in (folder, pack(folder)):  # as a folder, and as it is uploaded
        problems = check(path, wanted).problems
        empty = path.suffix == ".gz" and name == "extra folder"  # an archive of files has none
        assert empty or any(said in problem for problem in problems), problems


def _tar(path: Path, folder: Path, top: str, link: bool = False) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, top)
        if link:
            member = tarfile.TarInfo(f"{top}/x")
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(member, io.BytesIO())
    return path


@pytest.mark.parametrize(
    ("top", "link", "said"),
    [
        (
            "submission/submission",
            False,
            "one folder with anomaly_images/ in it; at its top: submission",
        ),
        (".", False, "must hold one folder"),
        ("../submission", False, "must hold one folder"),
        ("submission", True, "submission/x: is neither file nor folder"),
    ],
)
def test_an_archive_holds_one_folder(
    top: str, link: bool, said: str, written: Path, data: Path, tmp_path: Path
):
    assert check(_tar(tmp_path / "good.tar.gz", written, "mine"), of_data(data)).problems == ()
    problems = check(_tar(tmp_path / "x.tar.gz", written, top, link), of_data(data)).problems
    assert said in problems[0]


def test_the_same_files_make_the_same_archive(written: Path, tmp_path: Path):
    shutil.copytree(written, tmp_path / "submission")
    again = pack(tmp_path / "submission")
    assert again.read_bytes() == written.with_name("submission.tar.gz").read_bytes()


def test_what_the_server_wants():
    assert len(published().files(masks=True)) == 4 * 2045
    assert "anomaly_images/can/test_private_mixed/320_mixed.tiff" in published().files(masks=False)
    assert other_numbers(published()) == []


def test_what_a_killed_command_left_behind_is_in_no_submission(run: Path, data: Path, tmp_path: Path):
    left = tmp_path / ".submission.partial/anomaly_images/can/test_private/999_regular.tiff"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half of")
    assert main([str(run), "--out", str(tmp_path)]) == 1
    assert check(tmp_path / "submission", of_data(data)).problems == ()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "submission",
        "submission.json",
        "submission.tar.gz",
    ]


def test_without_masks(run: Path, data: Path, tmp_path: Path):
    assert main([str(run), "--out", str(tmp_path), "--maps-only"]) == 1
    found = check(tmp_path / "submission", of_data(data))
    assert (found.problems, found.maps, found.masks) == ((), 32, 0)
    with pytest.raises(DataError, match="is there already"):
        main([str(run), "--out", str(tmp_path)])


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"dataset": {"test": "public"}}, ["has scored `test: public`", "say `test: server`"]),
        ({"dataset": {"test": "private"}}, ["has scored `test: private`"]),
        ({"keep_maps": False}, ["can, rice: no anomaly maps were kept: say `keep_maps: true`"]),
        ({"metrics": ["auroc"]}, ["can, rice: no threshold was fixed", "name seg_f1 under `metrics:`"]),
        (
            {"categories": ["can"], "keep_maps": False},
            ["rice: no trial of this setting is ok", "can: no anomaly maps"],
        ),
        (
            {"methods": [{"name": "mean_image", "grid": {"smoothing": [1.0, 2.0]}}]},
            ["2 settings; name one:", "mean_image, all images, seeds -/-"],
        ),
    ],
)
def test_what_a_sweep_file_has_to_say(keys: dict[str, Any], said: list[str], tmp_path: Path):
    root = mvtec_ad2(tmp_path / "data", "can", "rice")
    dataset = {"name": "mvtec_ad2", "root": str(root), "test": "server"} | keys.pop("dataset", {})
    run = _sweep(tmp_path, root, dataset=dataset, **keys)
    with pytest.raises(ConfigError) as caught:
        parts(run)
    assert all(text in str(caught.value) for text in said), str(caught.value)


def test_one_trial_names_the_setting(tmp_path: Path, data: Path):
    method = {"name": "mean_image", "grid": {"smoothing": [1.0, 2.0]}}
    run = _sweep(tmp_path, data, methods=[method])
    trials = pd.read_parquet(run / "trials")
    one = trials[trials["params"].str.contains("2.0")].iloc[3]
    found = parts(run, one["trial_id"][:8])
    assert {part.row["params"] for part in found.values()} == {one["params"]} and set(found) == set(COUNTS)
    with pytest.raises(DataError, match="no trial 'zz' that is ok"):
        parts(run, "zz")
    _sweep(tmp_path, data, methods=[{"name": "mean_image", "params": {"smoothing": 2.0}}])  # and no more 1.0
    assert {part.row["params"] for part in parts(run).values()} == {one["params"]}


def test_a_run_of_another_data_set(sweep_file: Callable[..., Path], tmp_path: Path):
    assert sweep_here(sweep_file(categories=["bolt"]), "--backend", "serial").returncode == 0
    with pytest.raises(ConfigError, match="is a run of mvtec_ad; the server is that of mvtec_ad2"):
        parts(tmp_path / "run")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "either RUN, to write a submission, or --check PATH"),
        (("--check", "nothing-here"), "nothing-here: no such submission"),
        (("nothing-here",), "nothing-here: not a run directory"),
    ],
)
def test_wrong_words(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]):
    assert code_of(lambda: main(words)) == 2
    assert said in capsys.readouterr().err


def test_an_archive_that_is_none(tmp_path: Path):
    (tmp_path / "x.tar.gz").write_bytes(b"not gzip")
    with pytest.raises(DataError, match=r"x\.tar\.gz: cannot be read"):
        check(tmp_path / "x.tar.gz", published())

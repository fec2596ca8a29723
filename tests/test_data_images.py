"""Which pixels come out of which file, what is refused, and that the bytes are those that were planned."""

import io
import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_trees import SIZE, image, loco, mask, mvtec
from image_files import claimed, exif, png, saved, tiff
from PIL import Image, ImageOps

from harness.config import load
from harness.data import PLAIN, ImageSet, PixelRule, decode, image_size
from harness.data import index as data_index
from harness.data.digest import file_digest
from harness.data.masks import regions
from harness.datasets import DATASETS
from harness.datasets.record import CommonOptions
from harness.errors import DataError
from harness.method import Resources
from harness.run import fit_data
from harness.source import Source
from sweeps.drive import _setting
from sweeps.expand import expand
from sweeps.worker import execute

MVTEC, FOLDER, LOCO = (DATASETS.load(name) for name in ("mvtec_ad", "folder", "mvtec_loco"))
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (5, 7), dtype=np.uint16)
GREY16[0, :2] = 0, 65535
COLOUR16 = RNG.integers(0, 65536, (5, 7, 3), dtype=np.uint16)
FLOATS = RNG.normal(0.5, 0.4, (5, 7)).astype(np.float32)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LADDER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def reached(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """The slow twin: one number after the other, as grey in three channels."""
    eight = [min(max(round((float(v) - low) * 255 / (high - low)), 0), 255) for v in values.ravel()]
    grey = np.array(eight, np.uint8).reshape(values.shape)
    return grey if grey.ndim == 3 else np.stack([grey] * 3, axis=-1)


def twin(data: bytes) -> np.ndarray:
    """What Pillow makes of an 8-bit file, as a viewer shows it."""
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))


# --- plain files: the pixels and keys that they always had -------------------------------------------------

PICTURE = Image.fromarray(RGB)
PLAIN_FILES = {
    "rgb.png": saved(PICTURE, "PNG"),
    "grey.png": saved(PICTURE.convert("L"), "PNG"),
    "bits.png": saved(PICTURE.convert("1"), "PNG"),
    "palette.png": saved(PICTURE.quantize(9), "PNG"),
    "alpha.png": saved(PICTURE.convert("RGBA"), "PNG"),
    "grey_alpha.png": saved(PICTURE.convert("LA"), "PNG"),
    "text.png": png(RGB, (b"tEXt", b"Comment\0of no use"), after=(b"tEXt", b"Comment\0none either")),
    "photo.jpg": saved(PICTURE, "JPEG"),
    "print.jpg": saved(PICTURE.convert("CMYK"), "JPEG"),
    "plain.bmp": saved(PICTURE, "BMP"),
    "plain.webp": saved(PICTURE, "WEBP"),
    "palette_alpha.tif": saved(PICTURE.quantize(9).convert("PA"), "TIFF"),
    "print.tiff": saved(PICTURE.convert("CMYK"), "TIFF"),
    "white_is_zero.tif": tiff(RGB[..., 0], black=1),
    "really_a.png": saved(PICTURE.quantize(9), "GIF"),
}


@pytest.mark.parametrize("name", PLAIN_FILES)
@pytest.mark.parametrize("rule", [PLAIN, PixelRule(bits=12), PixelRule(range=(0.0, 1.0))], ids=str)
def test_eight_bits_are_taken_as_they_are(tmp_path: Path, name: str, rule: PixelRule):
    path = put(tmp_path / name, PLAIN_FILES[name])
    assert (decode(path, rule) == twin(PLAIN_FILES[name])).all()
    images = ImageSet((name,), (path,), rule)
    assert images.key(0) == file_digest(path)
    assert (images[0] == decode(path)).all() and image_size(path) == RGB.shape[:2]


# --- more than 8 bits ---------------------------------------------------------------------------------------

DEEP_FILES = {
    "grey.png": (png(GREY16), GREY16),
    "grey.tif": (tiff(GREY16), GREY16),
    "grey_lzw.tif": (saved(Image.fromarray(GREY16), "TIFF", compression="tiff_lzw"), GREY16),
    "grey_alpha.png": (png(np.stack([GREY16, GREY16[::-1]], axis=-1)), GREY16),
    "colour.png": (png(COLOUR16), COLOUR16),
    "colour_alpha.png": (png(np.concatenate([COLOUR16, GREY16[..., None]], axis=-1)), COLOUR16),
    "colour.tif": (tiff(COLOUR16), COLOUR16),
}


@pytest.mark.parametrize("name", DEEP_FILES)
def test_sixteen_bits_keep_their_scale(tmp_path: Path, name: str):
    data, numbers = DEEP_FILES[name]
    path = put(tmp_path / name, data)
    assert (decode(path) == reached(numbers, 0, 65535)).all()
    assert (decode(path, PixelRule(range=(1000.0, 30000.0))) == reached(numbers, 1000, 30000)).all()
    with pytest.raises(DataError, match=rf"{path}: .*holds the value \d+; 4095 is the largest of its `bits`"):
        decode(path, PixelRule(bits=12))


def test_twelve_bits_in_sixteen(tmp_path: Path):
    numbers = GREY16 >> 4
    path = put(tmp_path / "a.png", png(numbers))
    assert decode(path).max() == 16  # nearly black: `check --deep` says so
    assert (decode(path, PixelRule(bits=12)) == reached(numbers, 0, 4095)).all()
    first, second = (ImageSet(("a",), (path,), rule).key(0) for rule in (PLAIN, PixelRule(bits=12)))
    assert len({first, second, file_digest(path)}) == 3


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        (FLOATS, "floating-point numbers"),
        (RNG.integers(-9, 99, (5, 7), dtype=np.int32), "32-bit integers"),
        (RNG.integers(0, 1 << 32, (5, 7), dtype=np.uint32), "32-bit integers"),
        (RNG.integers(-9, 99, (5, 7), dtype=np.int16), "signed 16-bit integers"),
    ],
    ids=["float", "int32", "uint32", "int16"],
)
def test_numbers_without_a_scale_need_one(tmp_path: Path, numbers: np.ndarray, words: str):
    folder = mvtec(tmp_path, "bottle")
    path = put(folder / "train/good/900.tif", tiff(numbers))
    with pytest.raises(DataError, match=rf"{path}: holds {words}.*`pixels: {{range: \[LOW, HIGH\]}}`"):
        MVTEC.read(tmp_path, "bottle")
    with pytest.raises(DataError, match=words):
        decode(path)
    low, high = float(np.quantile(numbers, 0.2)), float(numbers.max())
    split = MVTEC.read(tmp_path, "bottle", CommonOptions(pixels=PixelRule(range=(low, high))))
    assert (ImageSet.of_samples(split.train)[3] == reached(numbers, low, high)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(tmp_path: Path, value: float):
    numbers = FLOATS.copy()
    numbers[2, 2] = value
    path = put(tmp_path / "a.tif", tiff(numbers))
    with pytest.raises(DataError, match=rf"{path}: .*no numbers \(NaN or infinite\)"):
        decode(path, PixelRule(range=(0.0, 1.0)))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"bits": 8}, "bits must be 9..16"),
        ({"range": (1.0, 1.0)}, "low < high"),
        ({"range": (0.0, float("inf"))}, "low < high"),
        ({"bits": 12, "range": (0.0, 1.0)}, "give one of them"),
        ({"max_megapixels": 0.0}, "must be above 0"),
    ],
)
def test_rules_that_cannot_be_meant(given: dict, words: str):
    with pytest.raises(ValueError, match=words):
        PixelRule(**given)


def test_a_rule_of_a_sweep_file_reaches_the_pixels_and_is_checked(tmp_path: Path, sweep_file):
    put(mvtec(tmp_path / "data") / "train/good/900.png", png(GREY16 >> 4))
    given = {"name": "mvtec_ad", "root": str(tmp_path / "data"), "pixels": {"bits": 12}}
    split = Source.of(load(sweep_file(dataset=given)).dataset).split("bottle")
    assert split.train[0].rule == PixelRule(bits=12)
    assert ImageSet.of_samples(split.train)[3].max() == 255
    from sweeps.problems import dataset_problems

    for rule, place, words in (
        ({"bits": 7}, "dataset.pixels", "bits must be 9..16, not 7"),
        ({"bitz": 12}, "dataset.pixels.bitz", "allowed: bits, mask_channel, mask_exif, mask_invert, "),
        ({"mask_exif": "images"}, "dataset.pixels.mask_exif", "did you mean 'image'?"),
    ):
        ((key, text),) = dataset_problems({"dataset": given | {"pixels": rule}})
        assert key == place and words in text


# --- what is turned -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_the_right_way_up(tmp_path: Path, orientation: int):
    tag = Image.Exif()
    tag[274] = orientation
    files = {
        "a.jpg": saved(PICTURE, "JPEG", exif=tag),
        "a.png": saved(PICTURE, "PNG", exif=tag),
        "late.png": png(RGB, after=(b"eXIf", exif(orientation))),
        "a.webp": saved(PICTURE, "WEBP", exif=tag, lossless=True),
        "a.tif": tiff(RGB, orientation),
    }
    for name, data in files.items():
        path = put(tmp_path / name, data)
        seen = twin(data)
        assert (decode(path) == seen).all(), name
        assert image_size(path) == seen.shape[:2], name
        assert (ImageSet((name,), (path,)).key(0) == file_digest(path)) == (orientation == 1)
    for name, data in {"deep.png": png(COLOUR16, (b"eXIf", exif(orientation)))}.items():
        turned = np.asarray(ImageOps.exif_transpose(_tagged(COLOUR16[..., 0], orientation)))
        assert (decode(put(tmp_path / name, data))[..., 0] == reached(turned, 0, 65535)[..., 0]).all()
    grey = decode(put(tmp_path / "deep.tif", tiff(COLOUR16[..., 0], orientation)))
    assert (grey[..., 0] == decode(tmp_path / "deep.png")[..., 0]).all()


def _tagged(numbers: np.ndarray, orientation: int) -> Image.Image:
    picture = Image.fromarray(numbers)
    picture.getexif()[274] = orientation
    return picture


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_exif_turns_nothing(tmp_path: Path):
    data = saved(PICTURE, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff nonsense")
    assert decode(put(tmp_path / "a.jpg", data)).shape == RGB.shape


def _turned_data(root: Path, size: tuple[int, int], drawn_on: str) -> Path:
    """One test image that is stored lying on its side, and its mask, upper left as one sees it."""
    folder = mvtec(root)
    stored = np.zeros((*size, 3), np.uint8)
    seen = np.zeros((size[1], size[0]), np.uint8)
    seen[:3, :3] = 255
    tag = Image.Exif()
    tag[274] = 6
    put(folder / "test/dent/000.png", saved(Image.fromarray(stored), "PNG", exif=tag))
    upright = Image.fromarray(seen)
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    made = {
        "seen": saved(upright, "PNG"),
        "stored": saved(lying, "PNG"),
        "own": saved(lying, "PNG", exif=tag),
        "copied": saved(upright, "PNG", exif=tag),
    }
    put(folder / "ground_truth/dent/000.png", made[drawn_on])
    return folder


@pytest.mark.parametrize(
    ("drawn_on", "mask_exif"), [("seen", "own"), ("stored", "image"), ("own", "own"), ("copied", "ignore")]
)
@pytest.mark.parametrize("size", [(8, 8), (8, 12)], ids=["square", "wide"])
def test_masks_are_turned_as_their_data_set_says(tmp_path: Path, drawn_on, mask_exif, size):
    _turned_data(tmp_path, size, drawn_on)
    options = CommonOptions(pixels=PixelRule(mask_exif=mask_exif))
    split = MVTEC.read(tmp_path, "bottle", options)
    sample = next(s for s in split.test if s.label == "dent")
    (region,) = regions(sample, split)
    assert region.mask.shape == image_size(sample.path) and region.mask[:3, :3].all()


def test_a_mask_of_the_wrong_size_names_exif_where_that_explains_it(tmp_path: Path):
    folder = _turned_data(tmp_path, (8, 12), "stored")
    path = folder / "ground_truth/dent/000.png"
    with pytest.raises(DataError, match=rf"{path}: the mask has 12x8 pixels, its image 8x12 \(an EXIF .*"
                       r"`pixels: {mask_exif: image}`.*makes them fit"):  # fmt: skip
        MVTEC.read(tmp_path, "bottle")
    mask(path, size=(3, 3), box=(0, 0, 2, 2))
    with pytest.raises(DataError, match=r"its image 8x12 \(an EXIF orientation tag turns one of them\)"):
        MVTEC.read(tmp_path, "bottle")


# --- what is refused, without being opened where that would hang --------------------------------------------


def test_pipes_devices_sockets_and_folders_are_no_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = mvtec(tmp_path / "d") / "train/good"
    os.mkfifo(folder / "800.png")
    (folder / "801.png").symlink_to("/dev/zero")
    (folder / "802.png").mkdir()
    monkeypatch.chdir(folder)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("803.png")
    with (folder / "804.png").open("wb") as sparse:
        sparse.truncate(1 << 40)
    (folder / "805.png").touch()
    os.mkfifo(tmp_path / "d/bottle/ground_truth/dent/pipe.png")
    with pytest.raises(DataError) as caught:
        MVTEC.read(tmp_path / "d", "bottle")
    text = str(caught.value)
    for name, kind in (
        ("800", "a pipe, not a file"),
        ("801", "a device, not a file"),
        ("802", "a folder, not a file"),
        ("803", "a socket, not a file"),
        ("804", "1,099,511,627,776 bytes, more than any image of the allowed size"),
        ("805", "an empty file"),
    ):
        assert f"{folder}/{name}.png: not readable ({kind})" in text
    assert "pipe.png: a mask without its image" in text
    for name in ("800", "801", "803"):
        for reads in (decode, image_size, file_digest, lambda p: ImageSet(("x",), (p,)).key(0)):
            with pytest.raises(DataError, match=f"{name}.png: .*not a file"):
                reads(folder / f"{name}.png")


def test_images_of_any_size_need_to_be_allowed(tmp_path: Path, recwarn: pytest.WarningsRecorder):
    folder = mvtec(tmp_path)
    path = put(folder / "train/good/900.png", claimed(20000, 10000))
    bomb = put(folder / "ground_truth/dent/000.png", claimed(50000, 40000))
    with pytest.raises(DataError) as caught:
        MVTEC.read(tmp_path, "bottle")
    assert f"{path}: 20000x10000 are 200 megapixels, more than `pixels: {{max_megapixels: 179}}`" in str(
        caught.value
    )
    assert f"{bomb}: not readable (50000x40000 are 2000 megapixels" in str(caught.value)
    assert image_size(path) == (10000, 20000)
    with pytest.raises(DataError, match=f"{path}: .*200 megapixels"):
        decode(path)
    bomb.unlink()
    mask(bomb)
    split = MVTEC.read(tmp_path, "bottle", CommonOptions(pixels=PixelRule(max_megapixels=200.0)))
    assert len(split.train) == 4 and not recwarn.list


@pytest.mark.parametrize("form", ["TIFF", "GIF", "PNG", "WEBP"])
def test_files_of_several_pictures_are_refused(tmp_path: Path, form: str):
    pictures = [Image.fromarray(np.full((8, 8, 3), v, np.uint8)) for v in (10, 90, 200)]
    data = saved(pictures[0], form, save_all=True, append_images=pictures[1:])
    path = put(mvtec(tmp_path) / "train/good/900.png", data)
    with pytest.raises(
        DataError, match=rf"{path}: not readable \(holds 3 pictures .*an image file holds one"
    ):
        MVTEC.read(tmp_path, "bottle")


def test_a_negative_of_many_bits_is_refused(tmp_path: Path):
    path = put(tmp_path / "a.tif", tiff(GREY16, black=1))
    with pytest.raises(DataError, match="in which 0 is white"):
        decode(path)


def test_sixteen_bit_colours_of_a_turned_tiff_are_refused(tmp_path: Path):
    path = put(tmp_path / "a.tif", tiff(COLOUR16, orientation=6))
    with pytest.raises(DataError, match="16-bit colours with an orientation tag"):
        decode(path)


# --- identity -----------------------------------------------------------------------------------------------


def test_a_rule_changes_the_fingerprint_where_it_changes_pixels(tmp_path: Path):
    folder = mvtec(tmp_path)
    twelve = CommonOptions(pixels=PixelRule(bits=12))
    before = MVTEC.read(tmp_path, "bottle").fingerprint
    assert MVTEC.read(tmp_path, "bottle", twelve).fingerprint == before
    put(folder / "train/good/900.png", png(GREY16 >> 4))
    assert MVTEC.read(tmp_path, "bottle").fingerprint != MVTEC.read(tmp_path, "bottle", twelve).fingerprint
    _turned_data(tmp_path, (8, 8), "own")
    rules = [CommonOptions(pixels=PixelRule(mask_exif=rule, bits=12)) for rule in ("own", "ignore")]
    assert len({MVTEC.read(tmp_path, "bottle", rule).fingerprint for rule in rules}) == 2


def test_other_bytes_of_the_same_size_and_time_are_noticed(tmp_path: Path):
    """As `cp -p` and `rsync --times` leave them; in place, and as another file."""
    path = mvtec(tmp_path) / "train/good/000.png"
    seen = {MVTEC.read(tmp_path, "bottle").fingerprint}
    keys = {ImageSet(("a",), (path,)).key(0)}
    data, stat = bytearray(path.read_bytes()), path.stat()
    for in_place in (True, False):
        data[-20] = (data[-20] + 1) % 256  # in the checksum of the pixels, which planning leaves alone
        other = put(tmp_path / "other.png", bytes(data))
        path.write_bytes(data) if in_place else shutil.move(other, path)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert path.stat().st_size == stat.st_size
        seen.add(MVTEC.read(tmp_path, "bottle").fingerprint)
        keys.add(ImageSet(("a",), (path,)).key(0))
    assert len(seen) == len(keys) == 3


def test_a_file_is_read_once_for_hash_size_and_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mvtec(tmp_path)
    split = MVTEC.read(tmp_path, "bottle")
    monkeypatch.setattr(data_index, "content", lambda *_: pytest.fail("read again"))
    images = ImageSet.of_samples(split.train + split.test)
    assert images.keys() == list(images.planned)
    assert {image_size(p) for p in images.sources} == {SIZE}


def test_what_is_decoded_is_what_was_planned(tmp_path: Path):
    mvtec(tmp_path)
    split = MVTEC.read(tmp_path, "bottle")
    images = ImageSet.of_samples(split.test).subset([1, 2]).subset([0])
    key, path = images.key(0), split.test[1].path
    image(path, 99)
    for reads in (images.keys, lambda: images[0], lambda: images.picture(0, key)):
        with pytest.raises(DataError, match=f"{path}: the file was changed during the sweep"):
            reads()
    free = replace(images, planned=())
    assert free[0].shape == (*SIZE, 3) and free.key(0) != key
    with pytest.raises(DataError, match="changed while it was in use"):
        free.picture(0, key)


def test_masks_and_part_masks_are_those_that_were_planned_with(tmp_path: Path):
    folder = loco(tmp_path)
    (folder / "part_classes.json").write_text('["background", "nut"]')
    part = mask(folder / "part_masks/train/good/000.png", 1)
    split = LOCO.read(tmp_path, "screw_bag")
    sample = split.test[2]
    mask(sample.masks[1], 255, (6, 6, 9, 10))
    with pytest.raises(DataError, match=f"{sample.masks[1]}: the file was changed during the sweep"):
        regions(sample, split)
    names = [s.id for s in split.train]
    assert fit_data(names, split).part_masks == {0: part}
    mask(part, 1, (1, 1, 3, 3))
    with pytest.raises(DataError, match=f"{part}: the file was changed during the sweep"):
        fit_data(names, split)


def test_an_image_replaced_between_trials_fails_the_next_one(tmp_path: Path, sweep_file):
    root = mvtec(tmp_path / "data").parent
    config = load(sweep_file(dataset={"name": "mvtec_ad", "root": str(root)}, seeds=3))
    first, second, third = (trial for trial, _ in expand(config))
    setting = _setting(config, [first, second, third])
    assert execute(first, setting, Resources()).trial["status"] == "ok"
    path = root / "bottle/test/crack/001.png"
    old = path.read_bytes()
    image(path, 1234)
    row = execute(second, setting, Resources()).trial
    assert row["status"] == "failed" and row["error_type"] == "DataError"
    assert f"{path}: the file was changed during the sweep" in row["reason"]
    path.write_bytes(old)  # the planned bytes are back, whatever the clock says
    assert execute(third, setting, Resources()).trial["status"] == "ok"

"""Pictures in the page: which images, from which trials, and when there are none."""

import base64
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from data_trees import loco
from PIL import Image
from test_reports_command import python

from harness.data import Sample
from harness.results import views
from harness.results.kept import write_kept
from harness.results.maps import maps_path, pack, read_maps
from harness.sweep import main as sweep
from harness.views import Bars, Heat, Parts, Reference
from reports.command import main
from reports.frame.load import load
from reports.pictures import gallery as pictures
from reports.pictures.details import details
from reports.pictures.gallery import Gallery, gallery
from reports.pictures.shown import ORDER, Shown, choose, disagreements, trials_with_maps
from reports.pictures.thumbnails import part_colour, small_mask, thumbnail, with_heat, with_mask, with_parts

SRC = re.compile(r'<img src="data:image/webp;base64,([^"]+)" alt="([^"]+)">')
GREY = np.full((40, 60, 3), 100, np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set in LOCO's layout and a finished run of two methods with maps on it."""
    place = tmp_path_factory.mktemp("pictures")
    loco(place / "data")
    content = {
        "name": "t",
        "dataset": {"name": "mvtec_loco", "root": str(place / "data")},
        "shots": [1, 2],
        "methods": [{"name": "mean_image", "grid": {"smoothing": [1.0, 3.0]}}],
        "keep_maps": True,
        "out": str(place / "run"),
        "cache": {"folder": str(place / "store")},
    }
    (place / "sweep.yaml").write_text(yaml.safe_dump(content))
    assert sweep([str(place / "sweep.yaml"), "--backend", "serial"]) == 0
    return place


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of that run."""
    shutil.copytree(made / "run", tmp_path / "run")
    return tmp_path / "run"


def page(run: Path, *words: str) -> str:
    assert main([str(run), "--format", "html", "--no-figures", *words]) == 0
    return (run / "report/report.html").read_text()


def test_the_page_holds_image_truth_and_map_of_every_method(run: Path):
    html = page(run)
    found = SRC.findall(html)
    sizes = []
    for data, _ in found:
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            sizes.append(picture.size)
    assert set(sizes) == {(235, 176)}  # 16 x 12, made to fit
    rows = html.count('<th scope="row"><span class="why">')
    assert rows == 4  # three anomalous images, two good ones of which one is shown
    assert "found by" not in html  # both settings rank the images alike
    assert len(found) == 4 * 3 + 3  # the good image has no ground truth
    assert sum(alt.startswith("anomaly map of Mean image[smoothing=3") for _, alt in found) == 4
    assert "2-shot" in html.partition('id="pictures"')[2].partition("</section>")[0]
    assert re.findall("logical: [a-z, ]+", html) == [
        "logical: missing nut, extra nut",
        "logical: missing nut",
    ]
    assert '<a href="#pictures">Pictures</a>' in html


def test_pictures_can_be_left_out_and_other_formats_have_none(run: Path):
    assert 'id="pictures"' not in page(run, "--no-pictures")
    assert main([str(run), "--no-pictures", "--no-figures", "--format", "md,tex,csv"]) == 0
    names = ("report.md", "tex/report.tex", "csv/cost.csv")
    before = [(run / "report" / name).read_text() for name in names]
    assert main([str(run), "--no-figures"]) == 0
    assert before == [(run / "report" / name).read_text() for name in names]


def test_a_run_without_maps_has_no_pictures(run: Path):
    shutil.rmtree(run / "maps")
    html = page(run)
    assert "<img" not in html
    assert 'id="pictures"' not in html


@pytest.mark.parametrize(
    ("harm", "note"),
    [
        (lambda root: root.rename(root.with_name("gone")), "the data set is not at "),
        (lambda root: (root / "screw_bag/test/good/000.png").unlink(), "are not those that the run saw"),
        (lambda root: shutil.rmtree(root / "screw_bag"), "no category of mvtec_loco"),
    ],
)
def test_without_its_images_a_run_has_a_note_and_no_pictures(
    made: Path, run: Path, tmp_path: Path, harm: Callable[[Path], object], note: str
):
    shutil.copytree(made / "data", tmp_path / "data")
    config = run / "sweep.json"
    config.write_text(config.read_text().replace(str(made / "data"), str(tmp_path / "data")))
    assert len(gallery(load([run])).panels) == 1
    harm(tmp_path / "data")
    html = page(run)
    assert "<img" not in html
    (told,) = gallery(load([run])).notes
    assert told.startswith("No pictures of screw bag: ")
    assert note in told
    assert "No pictures of screw bag: " in html
    assert 'href="#pictures"' not in html


def test_damaged_and_foreign_maps_are_a_note(run: Path):
    for path in (run / "maps").iterdir():
        path.write_bytes(path.read_bytes()[:300])
    assert "not a readable file of maps" in gallery(load([run])).notes[0]
    for path in (run / "maps").iterdir():
        write_kept(run, "maps", path.stem, pack(["test/good/999.png"], np.zeros((1, 2, 2))))
    assert "no map of test/" in gallery(load([run])).notes[0]


def test_the_trial_with_the_most_shots_whose_maps_are_there(run: Path):
    frame = load([run])
    assert list(trials_with_maps(frame)["shots"]) == [2, 2]
    lost = trials_with_maps(frame).iloc[0]
    maps_path(run, lost["trial_id"]).unlink()
    assert sorted(trials_with_maps(load([run]))["shots"]) == [1, 2]


def test_a_page_does_not_exceed_its_limit(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pictures, "PER_PICTURE", 10**6)
    fewer: Gallery = gallery(load([run]))
    assert [row.kind for row in fewer.panels[0].rows] == list(ORDER)
    monkeypatch.setattr(pictures, "LIMIT", fewer.panels[0].weight - 1)
    assert gallery(load([run])).panels == ()
    assert gallery(load([run])).notes[0].startswith("No pictures of screw bag: more than 0.0")
    monkeypatch.setattr(pictures, "LIMIT", 2 * fewer.panels[0].weight - 2)
    assert gallery(load([run])).panels
    monkeypatch.setattr(pictures, "MANY", 0)  # the tables of many trials need room
    assert gallery(load([run])).panels == ()


def test_the_worst_methods_are_named_where_there_are_too_many(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pictures, "METHODS", 1)
    (panel,) = gallery(load([run])).panels
    assert [name for name, _ in panel.columns][:2] == ["Image", "Ground truth"]
    assert len(panel.columns) == 3
    assert "Not shown, with a lower AUROC: Mean image[smoothing=" in panel.caption


def scores(**values: float) -> pd.DataFrame:
    """Scores of images; the first letter of a name is its label."""
    labels = {"g": "good", "l": "logical", "s": "structural"}
    return pd.DataFrame(
        {"label": [labels[n[0]] for n in values], "score": list(values.values())}, list(values)
    )


def test_the_images_found_missed_and_falsely_alarmed():
    table = scores(g1=0.1, l1=0.9, s1=0.3, g2=0.8, l2=0.2, s2=0.7, l3=0.5, g3=0.8)
    high, low, good = ORDER
    assert choose(table) == [(high, "l1"), (high, "s2"), (low, "l2"), (low, "s1"), (good, "g3")]
    assert choose(table, ORDER) == [(high, "l1"), (low, "l2"), (good, "g3")]
    assert choose(table.iloc[::-1]) == choose(table)  # ties do not depend on the order of rows
    few = scores(g1=0.1, l1=0.9, s1=0.3, s2=0.4)
    assert choose(few) == [(high, "l1"), (high, "s2"), (low, "s1"), (good, "g1")]
    assert choose(scores(g1=0.1)) == [(good, "g1")]
    assert choose(scores(l1=0.1)) == [(high, "l1")]


@pytest.mark.parametrize(
    ("size", "shown"), [((40, 60), (171, 256)), ((1000, 500), (176, 88)), ((3, 900), (1, 256))]
)
def test_thumbnails_fit_and_keep_their_proportions(size: tuple[int, int], shown: tuple[int, int]):
    assert thumbnail(np.zeros((*size, 3), np.uint8)).shape[:2] == shown


def test_heat_is_nothing_at_the_lower_limit_and_strongest_at_the_upper():
    values = np.zeros((2, 3), np.float32)
    values[0, 0], values[1, 2], values[0, 2] = 5.0, 50.0, np.nan
    drawn = with_heat(GREY, values, (1.0, 5.0)).astype(int)
    assert (drawn[0, 30] == 100).all()
    assert (drawn[0, -1] == 100).all()
    assert (drawn[0, 0] == drawn[-1, -1]).all()
    assert drawn[0, 0, 0] > 200
    flat = with_heat(GREY, np.ones((2, 3), np.float32), (1.0, 1.0))
    assert (flat == 100).all()


def test_masks_of_one_pixel_are_seen_and_large_ones_keep_their_place():
    mask = np.zeros((400, 600), bool)
    mask[200, 300] = True
    assert small_mask(mask, GREY).sum() == 1
    mask[:200, :300] = True
    small = small_mask(mask, GREY)
    assert small[:20, :30].all()
    assert small.sum() == 600
    drawn = with_mask(GREY, small)
    assert (drawn[~small] == 100).all()
    assert (drawn[small][:, 1] < 100).all()


def test_parts_have_colours_of_their_own():
    labels = np.zeros((20, 30), np.uint8)
    labels[:10] = 1
    labels[:, :10] = 2
    drawn = with_parts(GREY, labels)
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 3
    assert len({part_colour(label) for label in range(24)}) == 24


def test_a_report_with_pictures_imports_neither_torch_nor_ray(run: Path):
    words = [str(run), "--no-figures"]
    code = f"import sys; from reports.command import main; main({words}); print(*sys.modules)"
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    roots = {name.partition(".")[0] for name in done.stdout.split()}
    assert "PIL" in roots
    assert not roots & {"torch", "ray", "timm", "matplotlib", "methods", "sweeps"}


def test_the_images_on_which_two_methods_differ_most():
    def shown(variant: str, **values: float) -> Shown:
        return Shown(Path(), pd.Series({"variant": variant}), scores(**values), None)

    first = shown("a", g1=0.1, g2=0.2, l1=0.9, l2=0.15, s1=0.9)
    second = shown("b", g1=0.1, g2=0.2, l1=0.05, l2=0.9, s1=0.9)
    found = disagreements(first, second)
    assert found == [("found by a, missed by b", "l1"), ("found by b, missed by a", "l2")]
    assert disagreements(first, first) == []
    assert disagreements(first) == []
    assert disagreements(shown("a", l1=0.1), shown("b", l1=0.2)) == []  # no good image to be above


def test_views_that_were_kept_are_shown_below_the_map(run: Path):
    trial = trials_with_maps(load([run])).iloc[0]["trial_id"]
    kept = read_maps(run, trial)
    assert kept is not None
    heat = (Heat("coarse", np.arange(4.0).reshape(2, 2)),)
    write_kept(run, "views", trial, views.pack(kept.ids, [heat] * len(kept.ids)))
    (panel,) = gallery(load([run])).panels
    assert {len([c for c in row.cells if c.details]) for row in panel.rows} == {1}
    assert panel.without_details().weight < panel.weight
    html = page(run)
    assert html.count('<details class="how">') == len(panel.rows)
    assert "<figcaption>coarse</figcaption>" in html


def test_parts_bars_and_other_images_become_details(made: Path):
    train = {"a": Sample("a", made / "data/screw_bag/train/good/000.png", "good")}
    shown = [
        Parts("parts", np.eye(4, dtype=np.uint8), ("background", "hex_nut")),
        Bars("areas", ("hex_nut",), {"this image": np.array([3.0]), "nearest": np.array([4.0])}),
        Reference("nearest support image", "a"),
        Reference("of another category", "b"),
    ]
    parts, bars, other = details(shown, GREY, train)
    assert [name for name, _ in parts.legend] == ["hex nut"]
    assert bars.bars == (("hex nut", (("3.0", 75.0), ("4.0", 100.0))),)
    assert bars.series == ("this image", "nearest")
    assert other.title == "nearest support image: a"
    assert other.uri.startswith("data:image/webp;base64,")

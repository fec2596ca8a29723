"""What moved the number: one sweep between two protocols, and its table; reports on several protocols."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import Shared, sweep_here
from data_trees import image, loco

from harness.metrics.image import auroc, f1max
from harness.results import read_run
from harness.show import main as show
from harness.status import main as status
from reports.export import results
from reports.frame.load import Frame, load
from reports.frame.protocols import apart, one_of
from reports.leaderboard import boards
from reports.leaderboard.protocols import under_each
from reports.pages import subpages
from reports.pictures.gallery import Gallery
from reports.render import markdown
from reports.report import build
from reports.stats.regrouped import BOOTSTRAP, Images, mean
from reports.tables.moved import moved
from reports.tables.table import Row, Table

KINDS = ("banana", "cherry")
SIDE = {"name": "side", "method": "mean_image", "change": {"image_size": [8, 16]}}
UNDER = [
    "objectcore, with shots 1, 2 and 2 of its 5 categories",
    "clip_lad, with shots 1, 2 and 3 of its 9 categories",
]
WHY = {
    "from": "objectcore",
    "to": "clip_lad",
    "factors": ["categories", "draw", "seeds", "aggregation", SIDE],
}


def data(root: Path) -> Path:
    """Bottles of two types and pins of one; five test images of a kind."""
    for category in ("juice_bottle", "pushpins"):
        folder = loco(root, category)
        for i in range(2, 6):
            image(folder / f"test/good/{i:03d}.png", 500 + i)
    folder = root / "juice_bottle"
    ids = sorted(p.relative_to(folder).as_posix() for part in ("train", "validation", "test")
                 for p in (folder / part).rglob("*.png"))  # fmt: skip
    (root / "subtypes.json").write_text(
        json.dumps({"juice_bottle": {i: KINDS[n % 2] for n, i in enumerate(ids)}})
    )
    return root


def run(folder: Path, name: str, **keys: Any) -> Path:
    content = {
        "name": name,
        "dataset": {"name": "mvtec_loco", "root": str(folder / "data")},
        "methods": [{"name": "mean_image", "params": {"smoothing": 0}}],
        "shots": [1, 2],
        "out": str(folder / name),
        "cache": {"folder": str(folder / "store")},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content | keys))
    ended = sweep_here(path, "--backend", "serial")
    assert ended.returncode == 0, ended.stderr
    return folder / name


@pytest.fixture(scope="module")
def folder(shared: Shared) -> Path:
    def make(folder: Path) -> None:
        data(folder / "data")
        run(folder, "why", why=WHY)
        run(folder, "two", protocols=["objectcore", "clip_lad"])

    return shared("moved", make)


@pytest.fixture(scope="module")
def table(folder: Path) -> Table:
    (found,) = moved(load([folder / "why"]))
    return found


def rows(table: Table, shots: int) -> dict[str, Row]:
    (group,) = [g for g in table.groups if g.label.endswith(f"{shots}-shot")]
    return {row.label: row for row in group.rows}


def cell(table: Table, row: Row, key: str) -> Any:
    return row.cells[[c.key for c in table.columns].index(key)]


# --- the table --------------------------------------------------------------------------------------------


def test_the_rows_go_from_the_first_protocol_to_the_second(table: Table):
    assert table.title == "What moved the number: from objectcore to clip_lad · mvtec_loco"
    assert [group.label for group in table.groups] == ["Mean image, 1-shot", "Mean image, 2-shot"]
    found = rows(table, 1)
    assert list(found) == ["objectcore", "categories", "draw", "seeds", "aggregation", "side", "all of it"]
    told = {name: cell(table, row, "what").text for name, row in found.items()}
    assert told["categories"] == "objects → subcategories" and told["side"] == "image_size 8 → 16"
    sizes = {n: (cell(table, r, "categories").value, cell(table, r, "draws").value) for n, r in found.items()}
    assert list(sizes.values()) == [(2, 3), (3, 3), (3, 3), (3, 5), (3, 5), (3, 5), (None, None)]


@pytest.mark.parametrize("shots", [1, 2])
def test_values_are_the_protocols_numbers_and_differences_add_up(folder: Path, table: Table, shots: int):
    """The slow twin: means of the metrics table by hand, of the trials whose plan names the step."""
    kept = read_run(folder / "why")
    metrics = kept.metrics[(kept.metrics["metric"] == "auroc") & (kept.metrics["subset"] == "all")]
    joined = kept.plan[kept.plan["shots"] == shots].merge(metrics, on="trial_id")
    values = []
    found = rows(table, shots)
    for record, row in zip(kept.protocols, list(found.values())[:6], strict=False):
        mine = joined[[record["label"] in listed for listed in joined["protocols"]]]
        by_hand = float(np.mean([some["value"].mean() for _, some in mine.groupby("category")]))
        assert cell(table, row, "value").value == pytest.approx(by_hand, abs=1e-12)
        values.append(by_hand)
    differences = [cell(table, row, "step_difference").value for row in list(found.values())[1:6]]
    assert differences == pytest.approx(np.diff(values), abs=1e-12)
    assert cell(table, found["all of it"], "step_difference").value == pytest.approx(values[-1] - values[0])
    assert differences[3] == 0.0  # pooled AUROC in both
    same = cell(table, found["aggregation"], "step_low"), cell(table, found["aggregation"], "step_high")
    assert [c.value for c in same] == [0.0, 0.0]
    for key in ("difference", "low", "high"):  # the first factor is alone on the path
        first = found["categories"]
        assert cell(table, first, f"step_{key}").value == cell(table, first, f"alone_{key}").value
    for row in list(found.values())[1:6]:
        low, value, high = (cell(table, row, f"step_{key}").value for key in ("low", "difference", "high"))
        assert low <= high and low - 0.5 <= value <= high + 0.5


def test_a_report_shows_it_first_and_each_protocol_apart(folder: Path):
    report = build(load([folder / "why"]))
    assert [t.key for t in report.main] == ["moved_objectcore_clip_lad"]
    assert report.state.headline.startswith(f"finished: {report.state.planned} of")
    told = [note for note in report.notes if note.startswith("Protocol: ")]
    assert told[0].startswith("Protocol: objectcore, with shots 1, 2 and 2 of its 5 categories (ObjectCore")
    keys = [t.key for t in report.tables]
    assert len(set(keys)) == len(keys)
    assert {t.title.partition("· ")[2] for t in report.tables if t.key.startswith("overview")} == {
        f"mvtec_loco, {label}" for label in UNDER
    }
    assert "| **Mean image, 2-shot**" in markdown.table(report.main[0])


# --- several protocols ------------------------------------------------------------------------------------


def test_numbers_of_two_protocols_share_no_cell(folder: Path):
    frame = load([folder / "two"])
    first, second = apart(frame)
    assert set(first.trials["category"]) == {"juice_bottle", "pushpins"}
    assert set(second.trials["category"]) == {"juice_bottle/banana", "juice_bottle/cherry", "pushpins"}
    assert first.trials["seed"].nunique() == 3 and second.trials["seed"].nunique() == 5
    for one in (first, second):
        place = ["category", "shots", "seed", "variant"]
        assert not one.trials.duplicated(place).any()
        assert set(one.metrics["trial_id"]) == set(one.trials["trial_id"])
    assert len(frame.trials) < len(first.trials) + len(second.trials) + 1
    assert set(one_of(frame, "clip_lad").trials["trial_id"]) == set(second.trials["trial_id"])
    assert set(one_of(frame).trials["dataset"]) == {"mvtec_loco"}
    assert moved(frame) == []


def test_a_frame_without_protocols_is_left_as_it_is(folder: Path):
    frame = load([folder / "two"])
    bare = Frame(
        tuple(source.__class__(**{**vars(source), "protocols": ()}) for source in frame.sources),
        frame.trials.drop(columns="protocols"),
        frame.metrics,
        (),
        frame.scales,
    )
    assert apart(bare) == [bare] and one_of(bare) is bare and moved(bare) == []


def test_provenance_names_protocols_and_their_sources(folder: Path):
    (table,) = [t for t in build(load([folder / "two"])).tables if t.key == "provenance"]
    found = {row.label: row.cells[0].text for group in table.groups for row in group.rows}
    assert found["protocols"] == "; ".join(UNDER)
    assert "Table 1" in found["sources of protocols"]


# --- resampling -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def images() -> Images:
    labels = ["good"] * 9 + ["logical"] * 7 + ["structural"] * 5
    names = {f"{i:02d}": label for i, label in enumerate(labels)}
    return Images("juice_bottle", names, {i: KINDS[int(i) % 2] for i in names})


Metric = Callable[[np.ndarray, np.ndarray], float | None]


@pytest.mark.parametrize(("metric", "function"), [("auroc", auroc), ("f1max", f1max)])
@pytest.mark.parametrize("subset", ["all", "logical", "mean"])
def test_a_resample_is_the_metric_of_repeated_images(
    images: Images, metric: str, function: Metric, subset: str
):
    """The slow twin: each image written down as often as it was drawn."""
    rng = np.random.default_rng(0)
    scores = {i: float(s) for i, s in zip(images.labels, np.round(rng.normal(size=21), 1), strict=True)}
    found = images.number(metric, subset, scores)
    assert found is not None

    def by_hand(weights: Mapping[str, int]) -> float:
        values = []
        for kind in ("logical", "structural") if subset == "mean" else (subset,):
            used = [i for i, label in images.labels.items() if kind == "all" or label in ("good", kind)]
            many = [i for i in used for _ in range(weights[i])]
            anomalous = np.array([images.labels[i] != "good" for i in many])
            values.append(function(np.array([scores[i] for i in many]), anomalous))
        return float(np.mean(values))

    assert found.value == pytest.approx(by_hand(dict.fromkeys(images.labels, 1)), abs=1e-12)
    for k in (0, 1, BOOTSTRAP.resamples - 1):
        weights = dict(zip(images.labels, images._weights[k].astype(int).tolist(), strict=True))
        assert found.drawn[k] == pytest.approx(by_hand(weights), abs=1e-12)


def test_the_same_images_are_drawn_for_an_object_and_its_types(images: Images):
    """Within label and type, so that each type keeps as many images of each label as it has."""
    frame = pd.DataFrame(
        {"label": list(images.labels.values()), "type": [images.types[i] for i in images.labels]}
    )
    for k in range(50):
        drawn = frame.assign(n=images._weights[k]).groupby(["label", "type"])["n"].sum()
        assert (drawn == frame.groupby(["label", "type"]).size()).all()
    # two types whose scores have the same order: grouped together or apart it is the same ranking
    perfect = {i: float(label != "good") for i, label in images.labels.items()}
    whole = images.number("auroc", "all", perfect)
    parts = [
        images.number("auroc", "all", {i: s for i, s in perfect.items() if images.types[i] == t})
        for t in KINDS
    ]
    assert whole is not None and all(part is not None for part in parts)
    regrouped = mean([part for part in parts if part is not None])
    assert regrouped.minus(whole) == (0.0, 0.0, 0.0)


def test_what_is_no_metric_of_images_or_not_defined_has_no_interval(images: Images):
    good = {i: 1.0 for i, label in images.labels.items() if label == "good"}
    assert images.number("auspro", "all", good) is None
    assert images.number("auroc", "all", good) is None
    assert images.number("auroc", "mean", good | {"09": 2.0}) is None


def test_status_and_show_name_the_protocol(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert status([str(folder / "two")]) == 0
    said = capsys.readouterr().out
    assert "protocol: objectcore, with shots 1, 2" in said and "protocol: clip_lad, with shots 1, 2" in said
    kept = read_run(folder / "two").trials
    both = next(
        i for i, listed in zip(kept["trial_id"], kept["protocols"], strict=True) if "clip_lad" in listed[0]
    )
    assert show([str(folder / "two"), both]) == 0
    assert "protocols" in (said := capsys.readouterr().out) and "clip_lad, with shots 1, 2" in said


def test_each_protocol_has_its_boards(folder: Path):
    found = dict(under_each(load([folder / "two"])))
    assert list(found) == UNDER
    assert [len(set(some.trials["category"])) for some in found.values()] == [2, 3]
    for name in ("two", "why"):  # steps between two are on none
        assert {board.protocol for board in boards(load([folder / name]))} == set(found)


def test_whoever_takes_a_frame_as_it_is_mixes_no_draws(folder: Path):
    """Cells of the whole frame are of a part of the trials, never of two protocols' supports of one seed."""
    for name in ("two", "why"):
        frame = load([folder / name])
        place = ["dataset", "category", "shots", "variant", "seed"]
        assert not frame.trials.duplicated(place).any()
        assert set(frame.trials["images"]) == {"mvtec_loco"}
        assert set(frame.metrics["dataset"]) == set(frame.trials["dataset"])


def test_pages_of_methods_and_categories_have_the_numbers_of_whole_protocols(folder: Path):
    frame = load([folder / "why"])  # whose steps share trials with both ends
    titles = [table.title for sub in subpages(frame, Gallery()) for table in sub.tables]
    shown = {title.partition(" · ")[2] for title in titles if " by " in title}
    assert shown == {name for one in apart(frame) for name in one.trials["dataset"]}


def test_an_export_has_each_protocols_averages(folder: Path, tmp_path: Path):
    frame = load([folder / "two"])
    found = json.loads(results.write(frame, frame.sources[0], tmp_path).read_text())["results"]
    assert {tuple(one["protocol"]["names"]) for one in found} == {(label,) for label in UNDER}
    assert {one["dataset"]["name"] for one in found} == {"mvtec_loco"}
    assert [len(one["protocol"]["categories"]) for one in found] == [2, 2, 3, 3]

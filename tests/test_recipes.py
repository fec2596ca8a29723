"""The four recipes of CONTRIBUTING, each done in a package of its own and found to be all there is to do."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import asks
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from reports_synthetic import Entry, metric_row, metric_rows, write_run

from harness import list as listing
from harness import rescore, show
from harness.checks import CheckFailed, check_method
from harness.curate.command import main as check_data
from harness.datasets import DATASETS
from harness.errors import ConfigError, DataError
from harness.inspection.generated import BLOCKS, texts, write
from harness.metrics import METRICS, Metric, Scale
from harness.registry import Registry
from harness.results import read_run, write_scales
from harness.sweep import main as sweep
from methods import METHODS
from reports import diff
from reports.command import main as reports
from reports.figures import figures
from reports.frame.load import load
from reports.page import page_data
from reports.render import markdown
from reports.report import build
from reports.tables import TABLES

Install = Callable[..., Path]
REGISTRIES = (METHODS, DATASETS, METRICS, TABLES)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a package for one test: its entry points by group, its files by name."""
    known = set(sys.modules)

    def make(points: Mapping[str, Mapping[str, str]], files: Mapping[str, str], name: str = "mine") -> Path:
        site = tmp_path / f"site-{name}"
        info = site / f"ladder_{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ladder-{name}\nVersion: 1.0\n")
        groups = [
            "\n".join([f"[{group}]", *(f"{n} = {value}" for n, value in some.items())])
            for group, some in points.items()
        ]
        (info / "entry_points.txt").write_text("\n\n".join(groups))
        for file, text in files.items():
            (site / file).write_text(text)
        monkeypatch.syspath_prepend(str(site))
        forget()
        return site

    def forget() -> None:
        for registry in REGISTRIES:
            vars(registry).pop("external", None)

    forget()
    yield make
    forget()
    for module in [m for m in sys.modules if m not in known and m.startswith("ladder_mine")]:
        del sys.modules[module]


# --- a metric -----------------------------------------------------------------------------------------------

METRIC = '''"""Good images flagged where 95 % of the anomalies are; how far apart the kinds lie."""

import numpy as np

from harness.metrics import Metric


def fpr95(scores, anomalous):
    if anomalous.all() or not anomalous.any():
        return None
    threshold = np.quantile(scores[anomalous], 0.05, method="lower")
    return float((scores[~anomalous] >= threshold).mean())


def gap(scores, anomalous):
    if anomalous.all() or not anomalous.any():
        return None
    return float(scores[anomalous].mean() - scores[~anomalous].mean())


FPR95 = Metric("FPR at 95 % TPR", "good images flagged", "image", fpr95, higher_is_better=False)
GAP = Metric("Gap", "mean of anomalous minus mean of good", "image", gap, unit="grey levels", decimals=2)
'''
POINTS = {"ladder.metrics": {"fpr95": "ladder_mine_metric:FPR95", "gap": "ladder_mine_metric:GAP"}}


@pytest.fixture
def metric(install: Install) -> Path:
    return install(POINTS, {"ladder_mine_metric.py": METRIC})


def test_a_metric_is_a_function_and_its_record(
    metric: Path, sweep_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Listed, swept, shown and reported without another line anywhere."""
    assert listing.main(["metrics"]) == 0
    assert "FPR at 95 % TPR" in capsys.readouterr().out
    methods = [{"name": "mean_image", "grid": {"pooling": ["max", "mean"]}}]
    path = sweep_file(categories=["cap"], metrics=["auroc", "fpr95", "gap"], methods=methods)
    assert sweep([str(path), "--backend", "serial"]) == 0
    run = read_run(tmp_path / "run")
    values = run.metrics.set_index(["trial_id", "subset", "metric"])["value"]
    for trial_id, scores in run.scores.groupby("trial_id"):
        apart = scores.groupby(scores["label"] == "good")["score"].mean()
        assert values[trial_id, "all", "gap"] == pytest.approx(apart[False] - apart[True])
    capsys.readouterr()
    assert show.main([str(tmp_path / "run"), run.trials["trial_id"][0]]) == 0
    assert "gap (grey levels)" in capsys.readouterr().out
    assert reports([str(tmp_path / "run"), "--no-pictures", "--no-figures"]) == 0
    text = (tmp_path / "run/report/report.md").read_text()
    assert "### FPR at 95 % TPR, 1-shot · mvtec_ad" in text
    assert "### Gap (grey levels), 1-shot · mvtec_ad" in text


def test_a_run_can_be_rescored_by_a_new_metric_and_read_where_it_is_not_installed(
    metric: Path, sweep_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    methods = [{"name": "mean_image", "grid": {"image_size": [8, 24]}}]
    path = sweep_file(categories=["cap"], metrics=["auroc"], methods=methods)
    assert sweep([str(path), "--backend", "serial"]) == 0
    run = tmp_path / "run"
    assert rescore.main([str(run), "--metrics", "fpr95,gap"]) == 0
    assert sweep([str(path), "--backend", "serial"]) == 0  # the same command again forgets nothing
    gone(monkeypatch, metric)
    recorded = read_run(run).scales["gap"]
    assert recorded == {"title": "Gap", "unit": "grey levels", "decimals": 2, "higher_is_better": True}
    assert reports([str(run), "--format", "md", "--no-pictures"]) == 0
    text = (run / "report/report.md").read_text()
    assert "Lower is better." in text
    printed = read_run(run).metrics.query("metric == 'gap' and subset == 'all'")["value"]
    assert all(f"{value:.2f}" in text for value in printed)


def gone(monkeypatch: pytest.MonkeyPatch, site: Path) -> None:
    """Uninstall a package."""
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(site)])
    for registry in REGISTRIES:
        vars(registry).pop("external", None)


def measured(row: Mapping[str, object], value: float) -> list[dict[str, object]]:
    """AUROC as ever, a rate of which less is better, and one of which nobody has said anything."""
    less = [metric_row("all", name, 1 - value) for name in ("fpr95", "riddle")]
    return [*metric_rows(row, value), *less]


RATE = Scale("FPR95", "ms", 2, higher_is_better=False).record()


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    """A run in which `good` has the lower rate of two methods."""
    entries = [Entry("good", 0.9), Entry("bad", 0.6)]
    run = write_run(tmp_path / "lower", entries, metrics=measured)
    write_scales(run, {"fpr95": RATE})
    return run


def test_where_lower_is_better_the_lowest_is_bold(lower: Path):
    report = build(load([lower]))
    tables = {table.title: table for table in report.tables}
    table = tables["FPR95 (ms), 4-shot · loco"]
    ranks = {row.label: row.cells[0].rank for row in table.groups[0].rows}
    assert ranks == {"good": 1, "bad": 2}
    assert "In ms, mean ±" in table.caption and table.caption.endswith("Lower is better.")
    value = next(row for row in table.groups[0].rows if row.label == "good").cells[0]
    assert value.text == f"{value.value:.2f}"  # not times 100


def test_of_an_unknown_direction_nothing_is_bold(lower: Path):
    table = next(t for t in build(load([lower])).tables if t.title == "riddle, 4-shot · loco")
    assert not table.ranked
    assert "Whether higher or lower is better is not known here" in table.caption


def test_the_page_knows_units_and_directions(lower: Path):
    found = {m["title"]: m for m in page_data(load([lower]))["trials"]["measures"]}
    assert next(iter(found)).startswith("AUROC")
    rate = found["FPR95 (ms), pooled"]
    assert rate["lower"] and rate["decimals"] == 2
    assert max(rate["values"]) < 1
    assert "lower" not in found["AUROC, pooled"] and "lower" not in found["riddle, pooled"]


def test_a_run_without_auroc_has_its_tables_and_figures_of_what_it_has(tmp_path: Path):
    run = write_run(
        tmp_path / "run",
        [Entry("good", 0.9, {"margin": m}) for m in (0, 1)],
        metrics=lambda row, value: [metric_row("all", "fpr95", 1 - value)],
    )
    write_scales(run, {"fpr95": RATE})
    frame = load([run])
    assert build(frame).main[0].title == "FPR95 (ms), average over the 3 categories · loco"
    drawn = {figure.key: figure for figure in figures(frame)}
    assert drawn["shots-loco"].y_label == "FPR95, ms"
    assert max(drawn["shots-loco"].panels[0].series[0].y) < 1  # pyright: ignore


def test_a_difference_has_the_unit_of_its_metric(lower: Path, tmp_path: Path):
    other = write_run(
        tmp_path / "other", [Entry("good", 0.9, version=2), Entry("bad", 0.6)], metrics=measured
    )
    text = markdown.render(diff.compare(load([lower]), load([other])))
    assert "**FPR95 (ms), all anomalies, pooled, lower is better**" in text
    assert "**riddle, all anomalies, pooled, plain numbers, better: not known**" in text


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("fpr95", "ladder_mine_metric:fpr95 is a function, not a harness.metrics.record.Metric"),
        ("NOTHING", "ladder_mine_metric:NOTHING cannot be imported (AttributeError: "),
    ],
)
def test_a_metric_that_is_none_is_refused_at_planning(
    install: Install,
    sweep_file: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    record: str,
    message: str,
):
    install({"ladder.metrics": {"fpr": f"ladder_mine_metric:{record}"}}, {"ladder_mine_metric.py": METRIC})
    assert sweep([str(sweep_file(metrics=["auroc", "fpr"])), "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert f"metrics.1: metric 'fpr' of the package ladder-mine: {message}" in said


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "picture"}, "kind is 'picture', allowed: image, sample, pixel"),
        ({"kind": "pixel"}, "targets of a pixel metric: regions, components, pixels"),
        ({"limits": (0.3,)}, "targets and limits belong to pixel metrics"),
        ({"decimals": -1}, "decimals is -1, allowed: 0, 1, …"),
        ({"function": "auroc"}, "function is 'auroc', which cannot be called"),
    ],
)
def test_a_record_says_what_is_wrong_with_it(fields: dict, message: str):
    with pytest.raises(ConfigError, match="metric 'X': ") as error:
        Metric(**{"title": "X", "summary": "", "kind": "image", "function": max} | fields)
    assert message in str(error.value)


def test_a_metric_that_gives_no_number_is_named(
    install: Install, sweep_file: Callable[..., Path], tmp_path: Path
):
    text = METRIC.replace("return float(scores[anomalous].mean() - ", "return float('nan') * (1 - ")
    install(POINTS, {"ladder_mine_metric.py": text})
    path = sweep_file(categories=["cap"], metrics=["gap"])
    assert sweep([str(path), "--backend", "serial"]) == 1
    reason = read_run(tmp_path / "run").trials["reason"][0]
    assert reason == "metric 'gap' gives nan; allowed: a finite number, or None where undefined"


def test_a_name_is_taken_once(install: Install):
    install({"ladder.metrics": {"auroc": "ladder_mine_metric:GAP"}}, {"ladder_mine_metric.py": METRIC})
    with pytest.raises(ConfigError, match="the package ladder-mine registers the metric 'auroc', which"):
        METRICS.names()
    assert METRICS.load("auroc").title == "AUROC"


# --- a table ------------------------------------------------------------------------------------------------

TABLE = '''"""How many images were judged, by method."""

from dataclasses import replace

from reports.tables.table import Column, Group, Row, Table, number


def judged(frame):
    ok = frame.trials[frame.trials["status"] == "ok"]
    counts = ok.groupby("variant", sort=False)["trial_id"].size()
    rows = tuple(Row(str(name), (number(int(n)),)) for name, n in counts.items())
    return Table("judged", "Judged & counted", "Trials.", "Method", (Column("n", "n"),), (Group("", rows),))


def of_cost(frame):
    return [replace(judged(frame), key="judged_cost", title="Beside the cost", section="cost")]


def of_its_own(frame):
    return [replace(judged(frame), key="judged_own", title="Own", section="Robust & fast")]


def twice(frame):
    return [judged(frame)]


def broken(frame):
    raise KeyError("no such\\ncolumn")


def crooked(frame):
    return Table("x", "X", "", "M", (Column("n", "n"),), (Group("", (Row("a", ()),)),))
'''


def test_a_table_is_a_function_and_appears_once_in_every_format(install: Install, tmp_path: Path):
    points = {"judged": "ladder_mine_table:judged", "a_cost": "ladder_mine_table:of_cost"}
    points |= {"b_own": "ladder_mine_table:of_its_own"}
    install({"ladder.tables": points}, {"ladder_mine_table.py": TABLE})
    run = write_run(tmp_path / "run", [Entry("m", 0.8), Entry("n", 0.7)])
    assert reports([str(run), "--no-figures", "--no-pictures"]) == 0
    out = run / "report"
    text = (out / "report.md").read_text()
    assert text.count("### Judged & counted") == 1
    assert text.index("## More") < text.index("### Judged & counted") < text.index("## Provenance")
    assert text.index("## Cost") < text.index("### Beside the cost") < text.index("## Robust & fast")
    assert (out / "csv/judged.csv").read_text() == "method,n\nm,18\nn,18\n"
    assert (out / "tex/report.tex").read_text().count(r"\input{judged}") == 1
    page = (out / "report.html").read_text()
    assert page.count('id="table-judged"') == 1
    assert '<a href="#section-robust-fast">Robust &amp; fast</a>' in page


def test_a_table_that_cannot_be_made_is_a_note_and_the_report_stands(install: Install, tmp_path: Path):
    points = {name: f"ladder_mine_table:{name}" for name in ("judged", "twice", "broken", "crooked")}
    install({"ladder.tables": points}, {"ladder_mine_table.py": TABLE})
    run = write_run(tmp_path / "run", [Entry("m", 0.8)])
    report = build(load([run]))
    assert [t.key for t in report.tables].count("judged") == 1
    assert report.notes == (
        "No table 'broken' (ladder_mine_table:broken): KeyError: 'no such\\ncolumn'",
        "No table 'crooked' (ladder_mine_table:crooked): table 'x': row 'a' has 0 cells for 1 columns",
        "No table 'twice' (ladder_mine_table:twice): there is a table 'judged' already; give it another key",
    )


# --- a method -----------------------------------------------------------------------------------------------

METHOD = '''"""Grey level: how far the mean of an image is from that of the training images."""

from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar, Self, final

import numpy as np

from harness.data import FitData, ImageSet
from harness.method import Card, Context, Demo, Scores


@final
@dataclass
class Grey:
    """Difference of mean grey levels.

    Args:
        context: not used.
        power: of the difference.
    """

    card: ClassVar[Card] = Card(
        title="Grey level",
        summary="Difference to the mean grey level of the training images.",
        licence="MIT",
        trained=False,
        demo=Demo({"power": 1.0}, "as it is"),
        ignores=lambda params: frozenset({"run_seed"}),
    )

    context: Context
    _: KW_ONLY
    power: float = 2.0
    level: float = field(init=False, repr=False)

    def fit(self, data: FitData) -> Self:
        self.level = float(np.mean([image.mean() for image in data.train]))
        return self

    def score(self, images: ImageSet) -> Scores:
        return Scores(np.array([abs(image.mean() - self.level) ** self.power for image in images]))
'''
GREY = {"ladder.methods": {"grey": "ladder_mine_method:Grey"}}


def test_a_method_is_a_file_and_a_line(
    install: Install, sweep_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Through the battery, listed, swept, reported; nothing in Ladder's own files changes."""
    install(GREY, {"ladder_mine_method.py": METHOD})
    for check in check_method(METHODS.load("grey")):
        check.run()
    assert listing.main(["methods", "grey"]) == 0
    said = capsys.readouterr().out
    assert "training-free" in said and "MIT" in said and "of the difference." in said
    path = sweep_file(categories=["cap"], methods=[{"name": "grey", "grid": {"power": [1.0, 2.0]}}])
    assert sweep([str(path), "--backend", "serial"]) == 0
    assert reports([str(tmp_path / "run"), "--format", "md", "--no-pictures"]) == 0
    assert "| Grey level[power=2.0] " in (tmp_path / "run/report/report.md").read_text()
    assert asks.of_texts(METHODS) == []


def test_what_a_method_of_our_own_lacks_is_said_with_file_and_line(install: Install):
    """As if it stood in methods/ and its line in methods/__init__.py."""
    site = install(GREY, {"ladder_mine_method.py": METHOD})
    lines = {name: METHODS._table[name] for name in METHODS.own} | {"grey": "ladder_mine_method:Grey"}
    ours = Registry("method", lines)
    assert list(asks.of_method("grey", ours)) == [
        "configs/fewshot.yaml: add below `methods:` the line\n  - name: grey"
    ]
    assert asks.of_texts(ours) == [
        f"{file}: run python -m harness.list --write"
        for file in ("NOTICES.md", "README.md", "configs/demo.yaml")
    ]
    written = texts(ROOT, ours)
    assert "| `grey` | MIT | – | this project |" in str(written["NOTICES.md"])
    assert "| [Grey level](ladder_mine_method.py) `grey` |" in str(written["README.md"])
    entry = "  - name: grey  # as it is\n    params: {power: 1.0}\n  # end methods"
    assert entry in str(written["configs/demo.yaml"])
    bare = METHOD.replace('        demo=Demo({"power": 1.0}, "as it is"),\n', "").replace("Grey:", "Bare:")
    (site / "ladder_mine_bare.py").write_text(bare)
    lines["bare"] = "ladder_mine_bare:Bare"
    asked = list(asks.of_method("bare", Registry("method", lines)))
    assert asked[0] == f"{site / 'ladder_mine_bare.py'}: add to the Card the line\n        demo=Demo({{…}}),"


def test_a_card_that_does_not_say_whether_it_is_trained_is_asked_by_the_battery(install: Install):
    site = install(GREY, {"ladder_mine_method.py": METHOD.replace("        trained=False,\n", "")})
    check = next(c for c in check_method(METHODS.load("grey")) if c.name == "card_complete")
    with pytest.raises(CheckFailed) as error:
        check.run()
    assert str(error.value).startswith(f"{site / 'ladder_mine_method.py'}: the card does not say whether")


def test_files_are_written_in_a_checkout_alone(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"no checkout of Ladder \(NOTICES\.md is missing\)"):
        write(tmp_path, METHODS)
    for name in BLOCKS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    notices = tmp_path / "NOTICES.md"
    whole = notices.read_text()
    notices.write_text(whole.replace("| `patchcore` |", "| `patchcore` | my own words"))
    assert write(tmp_path, METHODS) == [notices]
    assert notices.read_text() == whole
    assert write(tmp_path, METHODS) == []
    notices.write_text(whole.replace("<!-- end metrics -->", ""))
    with pytest.raises(DataError, match=r"NOTICES\.md: needs one line with `begin metrics"):
        write(tmp_path, METHODS)


# --- a data set ---------------------------------------------------------------------------------------------

DATA = '''"""Coins: good ones and worn ones.

    ROOT/cent/good/000.png
    ROOT/cent/check/good/000.png
    ROOT/cent/check/worn/000.png
"""

from harness.datasets.folders import Layout
from harness.datasets.reader import LayoutReader
from harness.datasets.record import DataSet

READER = LayoutReader("coins", Layout("good", (), "check/good", ("check/*",), None))

COINS = DataSet(
    name="coins",
    title="Coins",
    summary="Good and worn coins.",
    licence="CC BY 4.0",
    citation="nobody: Coins. 2025",
    inspector=READER.inspect,
    lister=READER.names,
    doc=__doc__,
    recognise=lambda root: (root / "coins.txt").is_file(),
)
'''


def draw(root: Path, lines: Sequence[str]) -> Path:
    """The files that a docstring names, an image each: masks white in a corner, the rest noise."""
    rng = np.random.default_rng(0)
    for name in (line.partition(":")[0].partition(" ")[0].removeprefix("ROOT/") for line in lines):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (16, 16), dtype=np.uint8)
        if "ground_truth" in name:
            pixels = np.pad(np.full((4, 4), 255, np.uint8), ((0, 12), (0, 12)))
        if path.suffix == ".json":
            kind = {"defect_name": "d", "pixel_value": 255, "saturation_threshold": 1}
            path.write_text(json.dumps([kind | {"relative_saturation": False}]))
        else:
            Image.fromarray(pixels).save(path)
    return root


def test_a_data_set_is_a_record_and_a_reader(
    install: Install, sweep_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Listed with its layout, checked by name and by guess, swept."""
    install({"ladder.datasets": {"coins": "ladder_mine_data:COINS"}}, {"ladder_mine_data.py": DATA})
    assert listing.main(["datasets", "coins"]) == 0
    said = capsys.readouterr().out
    assert "CC BY 4.0" in said and "ROOT/cent/check/worn/000.png" in said
    root = draw(tmp_path / "coins", DATASETS.load("coins").layout)
    assert check_data(METHODS, ["check", str(root), "--dataset", "coins", "--deep"]) == 0
    (root / "coins.txt").write_text("")
    assert check_data(METHODS, ["check", str(root)]) == 0
    said = capsys.readouterr().out
    assert said.count(f"{root}, read as coins: nothing wrong") == 2
    (root / "cent/check/worn/001.png").write_bytes(b"no image")
    assert check_data(METHODS, ["check", str(root)]) == 2
    assert f"problem: {root / 'cent/check/worn/001.png'}: not readable" in capsys.readouterr().out
    (root / "cent/check/worn/001.png").unlink()
    dataset = {"name": "coins", "root": str(root), "marks": ["toy data"]}
    assert sweep([str(sweep_file(dataset=dataset)), "--backend", "serial"]) == 0
    (row,) = read_run(tmp_path / "run").trials.to_dict("records")
    assert (row["status"], list(row["marks"])) == ("ok", ["toy data"])


@pytest.mark.parametrize("name", [n for n in DATASETS.own if DATASETS.load(n).sketcher is None])
def test_the_layout_in_a_docstring_is_one_that_is_read(name: str, tmp_path: Path):
    """That of a data set with a sketch is held against it (tests/test_sketch.py)."""
    dataset = DATASETS.load(name)
    assert len(dataset.layout) > 3
    root = draw(tmp_path, dataset.layout)
    assert dataset.problems(root) == []
    (category,) = dataset.categories(root)
    split = dataset.read(root, category)
    files = len([*split.train, *split.validation, *split.test, *(m for s in split.test for m in s.masks)])
    assert files == len([line for line in dataset.layout if ".png" in line])

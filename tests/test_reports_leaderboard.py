"""Leaderboards: ranks, groups, what is left to gain, who is ranked while a run goes on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from reports_synthetic import FIVE, LOCO, Entry, measured, metric_row, write_run
from scipy.stats import f, friedmanchisquare, rankdata

from harness.metrics import Scale
from harness.metrics.image import auroc
from harness.results import read_run, write_scales, write_sweep
from harness.results.parquet import write_parquet
from harness.results.schema import TRIALS
from harness.results.tables import parts
from reports.frame.cards import method_cards
from reports.frame.cells import averages, cells
from reports.frame.load import load
from reports.frame.naming import variant_labels
from reports.leaderboard import Board, boards, order
from reports.leaderboard.critical import iman_davenport, nemenyi, of_ranks
from reports.leaderboard.printed import printed
from reports.leaderboard.ranks import by_number, groups, improvability, places, unit_ranks
from reports.leaderboard.wins import RESAMPLES, win_rates
from reports.merge import merge
from reports.pages.tables import of_category, of_method, standings
from reports.stats import Bootstrap, ResampledImages, paired_auroc, score_table, strata
from reports.stats.drawn import DrawnAreas
from reports.stats.evidence import BOOTSTRAP, evidence, scores_of

LEVELS = {"strong": 0.3, "alike": 0.28, "weak": 0.02}


def test_groups_are_those_whom_nobody_can_tell_from_the_best_of_the_group():
    apart = {("a", "c"): 0.01, ("a", "d"): 0.02, ("a", "b"): 0.4, ("c", "d"): 0.5}
    found = groups(["a", "b", "c", "d"], lambda x, y: apart[x, y])
    assert found == [["a", "b"], ["c", "d"]]
    assert places(found) == {"a": 1, "b": 1, "c": 3, "d": 3}


def test_being_alike_is_not_transitive_and_the_best_of_a_group_decides():
    def near(x: str, y: str) -> float:
        return 0.5 if abs(ord(x) - ord(y)) == 1 else 0.001

    assert groups(["a", "b", "c", "d"], near) == [["a", "b"], ["c", "d"]]
    # unadjusted 0.03 would part them; of two comparisons the smaller p counts twice
    assert groups(["a", "b", "c"], lambda *_: 0.03) == [["a", "b", "c"]]
    assert groups(["a", "b"], lambda *_: 0.03) == [["a"], ["b"]]
    assert groups(["a", "b"], lambda *_: None) == [["a", "b"]]
    assert groups([], near) == []


def test_without_tests_equal_printed_numbers_share_a_rank():
    assert places(by_number({"a": "90.1", "b": "90.1", "c": "88.0"})) == {"a": 1, "b": 1, "c": 3}


def test_ranks_within_units_share_the_mean_of_their_places():
    values = np.random.default_rng(0).integers(0, 5, (40, 7)).astype(float)
    slow = np.array([rankdata(-row) for row in values])
    np.testing.assert_array_equal(unit_ranks(values), slow)


def test_improvability_is_the_share_of_the_error_that_the_best_does_not_make():
    # unit 1: errors 0.1, 0.2, 0.4; unit 2: 0.3, 0.3, 0 (perfect)
    errors = np.array([[0.1, 0.2, 0.4], [0.3, 0.3, 0.0]])
    assert improvability(errors).tolist() == pytest.approx([(0 + 1) / 2, (0.5 + 1) / 2, 0.75 / 2])
    assert improvability(np.zeros((2, 2))).tolist() == [0, 0]


def _half(category: str, shots: int | None, seed: int | None):
    return {"status": "failed"} if category == "pushpins" and seed == 1 else {}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    entries = [Entry(name, 0.8, shots=(4,), seeds=(0, 1)) for name in ("weak", "alike", "strong")]
    entries += [Entry("half", 0.9, shots=(4,), seeds=(0, 1), fate=_half)]
    return measured(write_run(tmp_path_factory.mktemp("board") / "run", entries, FIVE[:3]), LEVELS)


def first(run: Path) -> Board:
    return boards(load([run]))[0]


def test_a_board_agrees_with_the_tables_and_the_tests_behind_them(run: Path):
    frame = load([run])
    board = boards(frame)[0]
    assert board.key == ("loco", "nested", "auroc", "all", 4) and board.tested
    means = averages(frame, cells(frame)).query("measure == 'auroc' and subset == 'all'").set_index("variant")
    for one in board.ranked:
        assert one.value == pytest.approx(means["mean"][one.variant], abs=1e-12)
        assert one.std == pytest.approx(means["std"][one.variant], abs=1e-12)
        assert one.low < one.value < one.high
        assert (one.ok, one.planned, one.seeds) == (6, 6, 2)
    ranks = {one.variant: one.rank for one in board.ranked}
    best, second, last = [one.variant for one in board.ranked[:3]]
    assert {best, second} == {"strong", "alike"} and ranks[best] == ranks[second] == 1
    assert last == "weak" and ranks["weak"] > 1


def test_the_groups_of_one_category_are_those_of_the_paired_test(tmp_path: Path):
    entries = [Entry(name, 0.8, shots=(4,), seeds=(0, 1)) for name in LEVELS]
    run = measured(write_run(tmp_path / "run", entries, FIVE[:1]), LEVELS)
    board = first(run)
    trials = pd.read_parquet(run / "trials")
    ids = {m: some["trial_id"].tolist() for m, some in trials.groupby("method")}
    every = [i for some in ids.values() for i in some]
    table = score_table(scores_of(run, every), every)
    best = board.standings[0].variant
    p = {
        m: paired_auroc(table.of(ids[best]), table.of(some), table.labels, "all", BOOTSTRAP).p
        for m, some in ids.items()
        if m != best
    }
    small, large = sorted(p, key=lambda m: p[m])
    alike = {
        m
        for m, wanted in ((small, min(1, 2 * p[small])), (large, max(2 * p[small], p[large])))
        if wanted >= 0.05
    }
    assert {s.variant for s in board.leaders} == {best} | alike


def test_who_lacks_a_unit_is_not_ranked_and_is_told_why(run: Path):
    half = next(s for s in first(run).standings if s.variant == "half")
    assert (half.rank, half.value, half.mean_rank) == (None, None, None)
    assert (half.why, half.ok, half.planned) == ("1/2 seeds in pushpins", 5, 6)


def test_units_of_different_seeds_have_no_spread_of_their_mean(tmp_path: Path):
    """A mean over two categories and one over three differ for other reasons than seeds."""
    one = write_run(tmp_path / "one", [Entry("a", 0.5, shots=(4,), seeds=(0, 1))], FIVE[:3])
    two = write_run(tmp_path / "two", [Entry("a", 0.5, shots=(4,), seeds=(2,))], FIVE[:2])
    assert first(one).standings[0].std is not None
    (standing,) = boards(load([one, two]))[0].standings
    assert standing.value is not None and standing.std is None


@pytest.mark.parametrize(
    ("levels", "wins", "sure"),
    [
        ((0.10, 0.10), "Nobody alone: b, ", "2 of 2 ranked methods share the first rank"),
        ((0.10, 0.40), "b, ", "the other one does not share its rank"),
    ],
)
def test_who_wins_alone_is_said_alone(tmp_path: Path, levels: tuple[float, float], wins: str, sure: str):
    known = dict(zip("ab", levels, strict=True))
    run = measured(write_run(tmp_path / "run", [Entry(n, 0.5, shots=(4,)) for n in known], FIVE), known)
    told = printed(first(run), load([run]).scale("auroc")).told
    assert told["Who wins"].startswith(wins) and sure in told["How sure"]


def test_a_run_that_has_just_begun_compares_what_everybody_has(tmp_path: Path):
    def one_left(category: str, shots: int | None, seed: int | None):
        return None if category == FIVE[2] else {}

    def two_left(category: str, shots: int | None, seed: int | None):
        return None if category != FIVE[0] else {}

    entries = [Entry("a", 0.8, shots=(4,), fate=one_left), Entry("b", 0.7, shots=(4,), fate=two_left)]
    board = first(measured(write_run(tmp_path / "run", entries, FIVE[:3]), {}))
    assert board.units == (FIVE[0],)
    assert board.left_out == {FIVE[1]: "not complete yet", FIVE[2]: "not complete yet"}
    assert [s.rank is not None for s in board.standings] == [True, True]
    nothing = [Entry("a", 0.8, fate=lambda *_: None)]
    assert boards(load([write_run(tmp_path / "none", nothing)])) == []


def test_where_lower_is_better_the_lowest_wins(tmp_path: Path):
    entries = [Entry(name, level, shots=(4,)) for name, level in (("slow", 0.5), ("fast", 0.9))]
    rate = lambda row, value: [metric_row("all", "rate", 1 - value)]  # noqa: E731
    run = write_run(tmp_path / "run", entries, metrics=rate)
    write_scales(run, {"rate": Scale("Rate", "ms", 2, higher_is_better=False).record()})
    board = first(run)
    assert [s.variant for s in board.standings] == ["fast", "slow"] and not board.tested
    assert [s.improvability for s in board.standings] == [0.0, pytest.approx(0.8, abs=0.15)]
    write_scales(run, {"rate": Scale("Rate", "ms", 2, higher_is_better=None).record()})
    assert [s.rank for s in first(run).standings] == [None, None]


def test_one_method_alone_wins_nothing_but_is_there(tmp_path: Path):
    board = first(measured(write_run(tmp_path / "run", [Entry("a", 0.8)], FIVE[:2]), {}))
    assert [(s.rank, s.mean_rank, s.improvability) for s in board.standings] == [(1, None, None)]


def test_methods_are_called_as_in_papers_where_a_run_says_how(tmp_path: Path):
    run = write_run(tmp_path / "run", [Entry("a_b", 0.8, {"k": 1}), Entry("a_b", 0.7, {"k": 2})])
    config = {"name": "run", "dataset": {"name": "loco"}, "support": {"rule": "nested"}}
    card = {
        "title": "A-B [new]",
        "training": "trained",
        "uses": ["text"],
        "url": "javascript:alert(1)",
        "version": "x",
    }
    write_sweep(run, config, cards={"a_b": card, "gone": None})
    frame = load([run])
    assert set(frame.trials["variant"]) == {"A-B (new)[k=1]", "A-B (new)[k=2]"}
    found = frame.cards["a_b"]
    assert (found.badges, found.url, found.version) == (("trained", "text"), "", 0)
    assert frame.notes == ()
    assert boards(frame)[0].standings[0].badges == ("trained", "text")
    assert order(frame)[0] == boards(frame)[0].standings[0].variant


def test_two_methods_of_one_title_stay_apart():
    cards = method_cards([{"a": {"title": "X"}, "b": {"title": "X"}}, {"a": {"title": "Y"}}], ["a", "b", "c"])
    assert [card.title for card in cards.values()] == ["X · a", "X · b", "c"]


def test_win_rates_are_counted_over_units_that_both_have(tmp_path: Path):
    entries = [Entry(name, 0.8, shots=(1, 4), seeds=(0, 1)) for name in ("strong", "weak")]
    entries += [Entry("zero", 0.6, shots=(0,), seeds=(None,)), Entry("other", 0.6, shots=(None,), seeds=(0,))]
    run = measured(write_run(tmp_path / "run", entries, FIVE[:2]), LEVELS)
    frame = load([run])
    found = next(w for w in win_rates(frame) if w.subset == "logical")
    at = {v: i for i, v in enumerate(found.variants)}
    m = frame.metrics[(frame.metrics["measure"] == "auroc") & (frame.metrics["subset"] == "logical")]
    value = {(r.variant, r.category, r.shots, r.seed): r.value for r in m.itertuples()}
    duels = [
        (value["strong", c, k, s], value["weak", c, k, s])
        for c in FIVE[:2]
        for k in (1, 4)
        for s in ("0/0", "1/1")
    ]
    slow = np.mean([(a > b) + (a == b) / 2 for a, b in duels])
    i, j = at["strong"], at["weak"]
    assert (found.units[i, j], found.units[i, at["zero"]], found.units[i, at["other"]]) == (8, 8, 0)
    assert found.units[at["zero"], at["other"]] == 2
    assert found.rate[i, j] == pytest.approx(slow) and found.rate[j, i] == pytest.approx(1 - slow)
    assert found.low[i, j] <= found.rate[i, j] <= found.high[i, j]
    assert found.rate[i, i] == 0.5


def test_the_interval_of_a_win_rate_is_that_of_resampled_images(tmp_path: Path):
    entries = [Entry(name, 0.8, shots=(4,), seeds=(0, 1)) for name in ("strong", "weak")]
    run = measured(write_run(tmp_path / "run", entries, FIVE[:1]), {"strong": 0.06, "weak": 0.02})
    frame = load([run])
    found = next(w for w in win_rates(frame) if w.subset == "all")
    images = evidence(frame)["loco"].images[FIVE[0]]
    anomalous = np.array(images.table.labels) != "good"
    ids = frame.trials.set_index(["variant", "seed"])["trial_id"]
    draws = replace(images.bootstrap, resamples=RESAMPLES).draw(strata(images.table.labels))
    shares = []
    for chosen in draws:
        area = {k: auroc(images.table.of([i])[0][chosen], anomalous[chosen]) or 0.0 for k, i in ids.items()}
        duels = [(round(area["strong", s], 6), round(area["weak", s], 6)) for s in ("0/0", "1/1")]
        shares.append(np.mean([(a > b) + (a == b) / 2 for a, b in duels]))
    i, j = found.variants.index("strong"), found.variants.index("weak")
    low, middle, high = np.quantile(shares, [0.025, 0.5, 0.975])
    ends = [min(max(found.rate[i, j] + end - middle, 0), 1) for end in (low, high)]
    assert [found.low[i, j], found.high[i, j]] == pytest.approx(ends)


def test_every_protocol_has_its_win_rates_and_its_lines_on_a_methods_page(tmp_path: Path):
    levels = {"a": 0.1, "b": 0.2}
    entries = [Entry(name, level, shots=(1,), marks=("demo data",)) for name, level in levels.items()]
    run = measured(write_run(tmp_path / "r", entries, FIVE, protocols=("psad", "dfsc")), levels)
    frame = load([run])
    found = {(w.dataset, w.protocol): int(w.units.max()) for w in win_rates(frame)}
    assert found == {("loco", "psad"): 3 * 3, ("loco", "dfsc"): 2 * 3}
    (table,) = standings(frame, "a")
    rows = [row for group in table.groups for row in group.rows]
    assert len({row.label for row in rows}) == len(rows) == 2 * 4
    assert {row.cells[2].marks for row in rows} == {("demo data",)}


def test_pages_show_a_method_by_the_definition_that_it_was_measured_by(tmp_path: Path):
    def by(version: int):
        return lambda row, value: [metric_row("all", "auroc", value) | {"metric_version": version}]

    runs = [
        write_run(tmp_path / name, [Entry(name, 0.5, shots=(4,))], FIVE[:2], metrics=by(i))
        for i, name in enumerate("ab", 1)
    ]
    frame = load(runs)
    tables = list(of_category(frame, "loco", FIVE[0]))
    assert [[row.label for row in table.groups[0].rows] for table in tables] == [["a"], ["b"]]
    for name, version in zip("ab", ("v1", "v2"), strict=True):
        (table,) = of_method(frame, name)
        assert version in table.title and table.groups[0].rows[0].cells[0].complete


def test_protocols_do_not_bring_together_what_runs_mean_by_one_name(tmp_path: Path):
    """Two runs under one protocol, a third under none: the images of the first two are not the same."""
    paths = [tmp_path / name for name in ("first", "second", "third")]
    for seed, (path, protocols) in enumerate(zip(paths, (("psad",), ("psad",), ()), strict=True)):
        write_run(path, [Entry("a", 0.5, seeds=(seed,))], ["screw_bag"], protocols=protocols)
        (part,) = parts(path)
        rows = [row | {"fingerprint": path.name} for row in part.read()["trials"].to_pylist()]
        write_parquet(part.path("trials"), pa.Table.from_pylist(rows, schema=TRIALS))
    frame = load(paths)
    apart = {f"loco ({path.name})" for path in paths}
    assert set(frame.trials["dataset"]) == apart
    assert {board.dataset for board in boards(frame)} == apart


def test_tests_pair_categories_in_whatever_order_runs_have_them(tmp_path: Path):
    """A run of one method, another of the other: their plans begin with different categories."""
    levels = {"a": 0.1, "b": 0.12}
    entries = [Entry(name, level, shots=(1,), seeds=(0,)) for name, level in levels.items()]
    whole = measured(write_run(tmp_path / "whole", entries, FIVE), levels)
    first = measured(write_run(tmp_path / "first", entries[:1], FIVE), levels)
    second = measured(write_run(tmp_path / "second", entries[1:], FIVE[::-1]), levels)
    assert [b.standings for b in boards(load([first, second]))] == [
        b.standings for b in boards(load([whole]))
    ]


def test_draws_of_two_protocols_keep_no_runs_apart():
    asked = {"run": [0, 0, 1], "trial_id": ["x", "y", "z"], "protocols": [["psad"], ["dfsc"], ["psad"]]}
    same = {"method": "a", "params": "{}", "dataset": "loco", "category": "c", "shots": 1, "run_seed": 0}
    trials = pd.DataFrame({**asked, **same, "split_seed": [0, 0, 1], "method_version": 1, "weights": None})
    assert set(variant_labels(trials, ["first", "second"])) == {"a"}
    trials["split_seed"] = 0
    assert set(variant_labels(trials, ["first", "second"])) == {"a (first)", "a (second)"}


def test_friedman_in_the_form_of_iman_and_davenport():
    values = np.random.default_rng(3).integers(0, 6, (12, 5)).astype(float)
    chi2 = friedmanchisquare(*values.T).statistic
    n, k = values.shape
    slow = f.sf((n - 1) * chi2 / (n * (k - 1) - chi2), k - 1, (k - 1) * (n - 1))
    assert iman_davenport(unit_ranks(values)) == pytest.approx(slow)
    assert iman_davenport(unit_ranks(np.ones((12, 5)))) == 1
    # Demsar (2006), table 5: q of 2.728 for five and 3.164 for ten methods
    assert nemenyi(5, 5) == pytest.approx(2.728 * np.sqrt(5 * 6 / 30), abs=2e-3)
    assert nemenyi(10, 14) == pytest.approx(3.164 * np.sqrt(10 * 11 / 84), abs=2e-3)


def test_a_critical_difference_is_drawn_only_where_there_are_units_enough():
    names = ["a", "b", "c"]
    clear = np.tile([1.0, 2.0, 3.0], (20, 1))
    found = of_ranks(names, clear)
    assert found.difference == pytest.approx(2.343 * np.sqrt(12 / 120), abs=2e-3)
    few = of_ranks(names, clear[:5])
    assert few.difference is None and "only 5 categories" in few.why and "1.5 of at most 2" in few.why
    level = of_ranks(names, np.array([[1.0, 2, 3], [3, 1, 2], [2, 3, 1]] * 5))
    assert level.difference is None and "no difference" in level.why
    assert "fewer than three" in of_ranks(names[:2], clear[:, :2]).why


@pytest.mark.parametrize(
    "labels", [LOCO, ("good",) * 5 + ("bad",) * 6, ("good",) * 4 + ("logical",), ("good",) * 3]
)
def test_areas_on_draws_are_those_of_resampled_images(labels: tuple[str, ...]):
    scores = np.random.default_rng(1).integers(0, 9, len(labels)).astype(float)
    options = Bootstrap(resamples=60, seed=5)
    quick, slow = DrawnAreas(labels, options).areas(scores), ResampledImages(labels, options).areas(scores)
    assert quick.keys() == slow.keys()
    for subset, (value, drawn) in quick.items():
        assert value == pytest.approx(slow[subset].value, abs=1e-12)
        np.testing.assert_allclose(drawn, slow[subset].drawn, atol=1e-12)


def test_a_card_that_somebody_has_changed_in_a_run_is_told(tmp_path: Path):
    run = write_run(tmp_path / "run", [Entry("a", 0.8)])
    write_sweep(run, read_run(run).config, cards={"a": {"title": "A"}})
    assert load([run]).notes == ()
    file = run / "sweep.json"
    file.write_text(file.read_text().replace('"title": "A"', '"title": "The best"'))
    assert "changed since the sweep wrote it" in load([run]).notes[0]


def test_merged_runs_keep_what_their_methods_are_called(tmp_path: Path):
    for name in ("a", "b"):
        run = write_run(tmp_path / name, [Entry(name, 0.8)])
        write_sweep(run, read_run(run).config, cards={name: {"title": name.upper()}})
    merge(load([tmp_path / "a", tmp_path / "b"]), tmp_path / "both")
    assert set(load([tmp_path / "both"]).trials["variant"]) == {"A", "B"}

"""The ledger of published numbers: whole, unique, and as consistent as the papers are."""

from collections import Counter
from statistics import fmean

import pytest

from harness.errors import DataError
from reports.papers import PAPERS
from reports.papers.ledger import (
    MEAN,
    ODDITIES,
    Key,
    ledger,
    numbers,
    printed_tables,
    recomputed_averages,
)

SIZES = {
    ("psad", "table1"): 130,
    ("psad", "table2"): 16,
    ("psad", "table3"): 10,
    ("psad", "table4"): 4,
    ("dfsc", "table1"): 117,
    ("dfsc", "table2"): 30,
    ("dfsc", "table3"): 25,
    ("dfsc", "table4"): 5,
    ("clip-lad", "table1"): 300,
    ("clip-lad", "table2"): 30,
    ("clip-lad", "table3"): 30,
}
BESIDE = {
    "anomalib": 400,
    "anomalydino": 108,
    "csad": 2,
    "draem": 3,
    "logicad": 2,
    "logicqa": 2,
    "logsad": 5,
    "objectcore": 37,
    "objectcore-replication": 3,
    "puad": 94,
    "salad": 7,
    "spade": 17,
    "spade-pytorch": 32,
    "stfpm": 48,
    "subspacead": 28,
    "subspacead-v1": 4,
    "univad": 15,
    "winclip": 12,
}
SEEDS = ("psad", "dfsc", "clip-lad")


def value(source: str, table: str, method: str, category: str, subset: str, **more: str) -> float:
    key = Key(
        source, table, method, category, subset, *({"setting": "full", "param": "-"} | more).values(), "auroc"
    )
    found = ledger()[key].value
    assert found is not None
    return found


def test_every_cell_is_there_once():
    assert Counter((k.source, k.table) for k in ledger() if k.source in SEEDS) == SIZES
    assert Counter(k.source for k in ledger() if k.source not in SEEDS) == BESIDE
    assert sum(SIZES.values()) == 697 and sum(BESIDE.values()) == len(ledger()) - 697
    assert set(printed_tables()) == {(k.source, k.table) for k in ledger()}


def test_numbers_are_percent_and_keep_their_decimals():
    cells = [one for one in ledger().values() if one.value is not None]
    assert all(12 <= one.value <= 100 and float(one.text) == one.value for one in cells)  # pyright: ignore
    low = {one.key.metric for one in cells if one.value < 40}  # pyright: ignore
    assert low == {"pixel_f1max", "pixel_auroc"}  # ObjectCore's baselines; anomalib's STFPM on toothbrush
    assert {one.std is not None for one in cells if one.key[:2] == ("clip-lad", "table1")} == {True}
    assert {one.decimals for one in cells if one.key.source in SEEDS} == {0, 1, 2}  # 100, 98.1, 81.77


def test_what_cannot_be_read_is_no_number():
    absent = [one for one in ledger().values() if one.value is None]
    assert Counter(one.key.method for one in absent) == {"SLSG": 10, "PatchCore": 2}
    assert {one.text for one in absent} == {""}
    assert {one.key.param for one in absent if one.key.method == "PatchCore"} == {"ocr_ambiguous:71.0|73.3"}


def test_averages_are_those_of_their_cells_but_for_the_known_oddities():
    found = list(recomputed_averages())
    odd = {(*o.key[:1], *o.key[2:5], o.key.metric): mean for o, mean in found if _odd(o, mean)}
    assert len(found) == 150
    assert set(odd) == set(ODDITIES)
    for key, mean in odd.items():
        assert ODDITIES[key].endswith(f"recomputed {mean:.1f}")


def _odd(one, mean: float) -> bool:
    """Off by more than rounding the average alone explains: as sharp as its own decimals."""
    return abs(one.value - mean) > 0.5 * 10**-one.decimals + 1e-9


def test_recomputed_averages_agree_with_plain_numbers():
    psad = (100.0, 99.1, 100.0, 99.3, 91.9)
    found = {o.key: mean for o, mean in recomputed_averages()}
    assert found[Key("psad", "table1", "PSAD", MEAN, "logical", "full", "-", "auroc")] == pytest.approx(
        fmean(psad)
    )


@pytest.mark.parametrize("category", [MEAN, "breakfast_box", "screw_bag"])
@pytest.mark.parametrize("method", ["ST", "PatchCore", "AST", "GCAD"])
def test_two_papers_that_copy_the_same_baselines_agree(method: str, category: str):
    for subset in ("logical", "structural"):
        both = [value(paper, "table1", method, category, subset) for paper in ("psad", "dfsc")]
        assert both[0] == both[1]


def test_the_headline_of_dfsc_is_no_single_margin():
    """Its Table 1 is in Table 3 at margin 1.0, at 0.4, and for two categories at none."""
    expected = {"breakfast_box": ["1.0"], "pushpins": ["0.4"], "splicing_connectors": ["0.4"]}
    for category in ("breakfast_box", "pushpins", "splicing_connectors", "screw_bag", "juice_bottle"):
        ours = [value("dfsc", "table1", "EfficientAD-DFSC", category, s) for s in ("logical", "structural")]
        cells = numbers("dfsc", "table3").values()
        same = [
            o.key.param[7:]
            for o in cells
            if o.key.category == category and o.value == pytest.approx(fmean(ours))
        ]
        assert same == expected.get(category, [])


def test_the_tables_of_a_paper_show_every_cell_of_its_ledger():
    for spec in PAPERS.values():
        shown = Counter(one.key for one in spec.published.values())
        assert set(shown) == set(numbers(spec.source, spec.table))
        assert set(shown.values()) == {1}


def test_an_unknown_table_names_the_nearest():
    with pytest.raises(DataError, match=r"no table psad table9 \(did you mean 'psad table"):
        numbers("psad", "table9")

"""What is known of every published number, how it is listed, and where it stands beside ours."""

import csv
import io
import re
from dataclasses import fields, replace

import pytest
from reports_synthetic import FIVE, Entry, write_run

from harness.datasets import DATASETS
from harness.errors import ConfigError
from harness.protocols import names
from reports.command import main
from reports.frame.load import Frame, load
from reports.listing import chosen, listed
from reports.papers.ledger import ABOUT, Key, ledger, printed_tables, rows
from reports.papers.origin import OTHERS, Origin, Seen, Selection, origin, protocols
from reports.render import csv as render_csv
from reports.tables.published import published
from reports.tables.table import Table


def one(source: str, table: str, method: str, setting: str, **more: str) -> Origin:
    known = {"category": "mean", "subset": "all", "param": "-", "metric": "auroc"} | more
    key = Key(source, table, method, setting=setting, **known)
    assert key in ledger()
    return origin(key)


def test_every_number_answers_every_question():
    for key in ledger():
        found = origin(key)
        assert all(str(getattr(found, field.name)) for field in fields(found)), key
        assert found.protocol in protocols() and 2019 <= found.year <= 2026


def test_what_is_said_of_numbers_is_said_once_and_of_something():
    used = {(k.source, k.method) for k in ledger()}
    said = [(source, method) for source, method, *_ in rows("methods.csv")]
    assert len(said) == len(set(said))
    assert all(pair in used for pair in said if pair[1] != OTHERS)
    assert {s for s, _ in said} == {s for s, _ in used} == {row[0] for row in rows("sources.csv")}
    named = {origin(key).protocol for key in ledger()} | {"vand2025", "logsad"}
    assert set(protocols()) == named  # of two there are no numbers yet
    assert {len(rows(name)[0]) for name in ABOUT} == {9, 5, 3}


def test_data_sets_are_those_that_can_be_read():
    assert {origin(key).dataset for key in ledger()} <= set(DATASETS)


def test_protocols_are_those_that_a_sweep_file_can_name_and_some_that_nobody_has_written_down():
    assert set(names()) <= set(protocols())
    assert set(protocols()) - set(names()) == {"full_shot", "winclip", "logicad", "logicqa", "unknown"}


def test_selection_on_test_is_said_where_it_was_read_in_code():
    csad = one("csad", "abstract", "CSAD", "full", subset="mean")
    assert csad.selection is Selection.YES and "CSAD.py:512" in csad.evidence
    promptad = one("subspacead", "readme-visa", "PromptAD", "1-shot")
    assert (promptad.selection, promptad.protocol) == (Selection.YES, "promptad")
    dfsc = one("dfsc", "table1", "EfficientAD-DFSC", "full", subset="logical")
    assert dfsc.selection is Selection.YES
    for key in ledger():
        found = origin(key)
        if found.selection is not Selection.UNKNOWN:
            assert re.search(r"\w\.py:\d+|Table 1", found.evidence), key


def test_a_number_is_only_as_sure_as_its_source():
    assert one("objectcore", "table1", "PatchCore", "1-shot").seen is Seen.SECOND_HAND
    assert one("objectcore", "abstract", "ObjectCore", "4-shot").seen is Seen.PAPER
    assert one("puad", "loco", "PUAD-S", "full").seen is Seen.REPOSITORY
    second = one("univad", "table1-mvtec_loco", "UniVAD", "1-shot")
    assert second.marks == ("selection on test results: unknown", "seen second-hand")
    assert one("puad", "loco", "PUAD-S", "full").marks == ()


def test_versions_of_a_paper_that_differ_stand_apart():
    key = Key("subspacead", "abstract-mvtec_ad", "SubspaceAD", "mean", "all", "1-shot", "-", "auroc")
    values = [ledger()[k].text for k in (key._replace(source="subspacead-v1"), key)]
    assert values == ["98.0", "97.1"]
    assert origin(key._replace(source="subspacead-v1")).version.endswith("v1")


def test_the_same_baseline_differs_between_protocols():
    """PatchCore on MVTec LOCO AD: 70.7 / 74.1 / 74.6 in CLIP-LAD, 54.7 / 58.3 / 63.5 in ObjectCore."""
    found = chosen(
        {"method": "PatchCore", "dataset": "mvtec_loco", "metric": "auroc", "protocol": "clip_lad,objectcore"}
    )
    texts = {(o.key.source, o.key.setting): o.text for o, _ in found if o.key.table == "table1"}
    assert [texts["clip-lad", f"{k}-shot"] for k in (1, 2, 4)] == ["70.7", "74.1", "74.6"]
    assert [texts["objectcore", f"{k}-shot"] for k in (1, 2, 4)] == ["54.7", "58.3", "63.5"]


def test_averages_alone_unless_asked_for_more():
    assert {o.key.category for o, _ in chosen({})} == {"mean"}
    assert len(chosen({}, categories=True)) == len(ledger())
    few = chosen({"source": "puad", "dataset": "MVTEC_LOCO"}, categories=True)
    assert len(few) == 30 and {s.dataset for _, s in few} == {"mvtec_loco"}


@pytest.mark.parametrize(
    ("option", "word", "near"), [("method", "Patchcor", "PatchCore"), ("protocol", "cliplad", "clip_lad")]
)
def test_an_unknown_word_names_the_nearest(option: str, word: str, near: str):
    with pytest.raises(ConfigError, match=rf"--{option}: unknown '{word}' \(did you mean '{near}'"):
        chosen({option: word})


def test_the_command_prints_numbers_with_their_sources(capsys: pytest.CaptureFixture[str]):
    assert main(["ledger", "--protocol", "objectcore", "--metric", "auroc"]) == 0
    said = capsys.readouterr().out
    assert "_80.8 ± 1.3_" in said and "_60.83 ± 1.38_" in said
    assert "Few_Shot_ObjectCore@a75f09f" in said and "404 on 2026-10-01" in said
    assert main(["ledger", "--method", "csad", "--format", "csv"]) == 0
    found = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(r["value"], r["selection_on_test"]) for r in found] == [("95.3", "yes"), ("95.671", "yes")]
    assert all(r["version"] and r["evidence"] and r["where"] for r in found)
    assert main(["ledger", "--protocol", "vand2025"]) == 0  # a preset of which no number was found
    assert capsys.readouterr().out.startswith("0 published numbers")
    assert main(["ledger", "--seen", "hearsay"]) == 2
    assert "--seen: unknown 'hearsay'" in capsys.readouterr().err


def test_listed_numbers_and_their_notes_belong_together():
    found = chosen({"source": "winclip"})
    table = listed(found)
    assert [row.cells[6].text for row in table.groups[0].rows] == [o.text for o, _ in found]
    assert sum(note.startswith("WinCLIP, ") for note in table.notes) == len(
        [t for t in printed_tables() if t[0] == "winclip"]
    )


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> Frame:
    entries = [
        Entry("patchcore", 0.6, {"k": 9}),
        Entry("mean_image", 0.5),
        Entry("promptad", 0.7, shots=(3,)),
    ]
    return load([write_run(tmp_path_factory.mktemp("protocol") / "run", entries, FIVE, dataset="mvtec_loco")])


def under(frame: Frame, protocol: str | None) -> list[Table]:
    protocols = [[protocol] if protocol else None] * len(frame.trials)
    return published(replace(frame, trials=frame.trials.assign(protocols=protocols)))


def test_published_numbers_stand_beside_ours_under_one_protocol_only(frame: Frame):
    (table,) = under(frame, "objectcore")
    found = {r["method"]: r for r in csv.DictReader(io.StringIO(render_csv.render(table)))}
    assert list(found) == [
        "PatchCore · patchcore",
        "PromptAD · promptad",
        "ObjectCore",
        "ObjectCore · Few_Shot_ObjectCore",
        "mean_image",
    ]
    patchcore = found["PatchCore · patchcore"]
    assert float(patchcore["1_shot_all_auroc_published"]) == 0.547
    mine = frame.metrics.query(
        "variant == 'patchcore' and subset == 'all' and metric == 'auroc' and shots == 1"
    )
    assert float(patchcore["1_shot_all_auroc_ours"]) == pytest.approx(mine["value"].mean())
    assert "second-hand" in patchcore["1_shot_all_auroc_published_marks"]
    assert not any("2_shot" in name or "f1max" in name for name in patchcore)  # this run has none
    assert found["PromptAD · promptad"]["4_shot_all_auroc_ours"] == ""  # run with three shots


def test_a_protocol_that_was_changed_is_said_at_every_number_of_ours(frame: Frame):
    (table,) = under(frame, "objectcore, with seeds 10")
    marks = {c.marks for row in table.groups[0].rows for c in row.cells if c.n}
    assert marks == {("protocol objectcore, with seeds 10",)}


@pytest.mark.parametrize("protocol", [None, "vand2025", "subspacead", "house_rules"])
def test_no_table_where_nothing_may_be_compared(frame: Frame, protocol: str | None):
    """No protocol, one of which no number is known, one of other data sets, and one that nobody else has."""
    assert under(frame, protocol) == []
    assert published(frame) == []

"""Protocols by name: what they fix, what is told of them, and the trials that come of them."""

import ast
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import sweep_here
from data_trees import loco
from test_data_fewshot import numbers, samples
from test_data_subtypes import types, versioned

from harness.config import SweepConfig, configs_of, load
from harness.data import Split
from harness.data.fewshot import How, draw
from harness.data.samples import Sample
from harness.datasets.mvtec_ad import COUNTS as AD
from harness.datasets.mvtec_loco import COUNTS as LOCO
from harness.errors import ConfigError, DataError
from harness.list import main as listed
from harness.method import Card
from harness.params import resolve
from harness.protocols import names, preset
from harness.protocols.parts import records
from harness.protocols.preset import KEYS
from harness.results import read_run
from harness.run import fit_data
from harness.source import Source
from harness.trial import Trial
from methods import METHODS
from sweeps import expand as expanding
from sweeps.expand import expand, expanded
from sweeps.problems import CHECKS

Write = Callable[..., Path]
ROOT = Path(__file__).parent.parent

# product types of the training images as PSAD's code lists them; of validation and test images any thirds do
TYPES = {
    "juice_bottle": {"banana": 112, "cherry": 112, "orange": 111},
    "splicing_connectors": {"blue": 120, "red": 120, "yellow": 120},
}


def trials(path: Path, *overrides: str) -> list[Trial]:
    return [trial for trial, _ in expand(load(path, overrides, CHECKS))]


# --- the files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names())
def test_a_protocol_says_where_each_of_its_keys_comes_from(name: str):
    found = preset(name)
    assert found.sources and found.title
    told = {*found.said, *found.unknown}
    assert set(found.keys) <= {*KEYS[1:]} and set(found.keys) <= told
    assert not set(found.said) & set(found.unknown)
    assert all(
        "taken:" in text or "taken" in text or "ours" in text or "here" in text
        for text in found.unknown.values()
    )
    raw = {
        "name": "t",
        "dataset": {"name": found.dataset[0], "root": "/x"},
        "methods": [{"name": "mean_image"}],
    }
    whole = SweepConfig.model_validate({**raw, **found.keys})
    assert whole.number.metric in whole.metrics
    for method, params in found.params.items():
        assert "params" in told
        resolve(METHODS.load(method), params)


def test_an_unknown_protocol_is_one_error_with_the_nearest(
    sweep_file: Write, capsys: pytest.CaptureFixture[str]
):
    path = sweep_file(protocol="clip_lda")
    with pytest.raises(ConfigError) as error:
        load(path, (), CHECKS)
    assert len(error.value.problems) == 1
    assert (
        f"{path}: protocol: unknown protocol 'clip_lda' (did you mean 'clip_lad'?)" in error.value.problems[0]
    )
    with pytest.raises(ConfigError, match="did you mean 'univad'"):
        listed(["protocols", "uniad"])
    assert listed(["protocols", "univad"]) == 0
    assert "test_univad.py 87, 259-267" in capsys.readouterr().out


def test_only_one_key_says_the_protocol(sweep_file: Write):
    with pytest.raises(ConfigError, match="protocol and protocols are given"):
        load(sweep_file(protocol="univad", protocols=["psad"]), (), CHECKS)


# --- draws ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("category", LOCO)
def test_univad_draws_the_files_from_its_round_on(category: str):
    support = preset("univad").keys["support"]
    train = samples(LOCO[category]["train"])
    for k in (1, 2, 4):
        drawn = draw(train, k, 0, support["rule"], dataset="mvtec_loco", category=category, how=How(offset=3))
        assert [s.id for s in drawn] == [f"train/good/{i:03d}.png" for i in range(3, 3 + k)]
    with pytest.raises(DataError, match="4 shots from image 3 on need 7 training images, 6 are available"):
        draw(samples(6), 4, 0, "first_k", dataset="d", category="c", how=How(offset=3))


def test_subspacead_shuffles_one_category_after_the_other():
    """As its script does: one global seed, then `random.shuffle` for each category in sorted order."""
    how = How(before=preset("subspacead").keys["support"]["before"])
    state = random.getstate()
    random.seed(42)
    wanted = {}
    for category in sorted(AD):
        paths = list(range(AD[category]["train"]))
        random.shuffle(paths)
        wanted[category] = paths[:4]
    random.setstate(state)
    assert wanted["bottle"] == [37, 204, 100, 85] and wanted["cable"] == [69, 22, 157, 214]
    for category, places in wanted.items():
        drawn = draw(
            samples(AD[category]["train"]), 4, 42, "shuffle", dataset="mvtec_ad", category=category, how=how
        )
        assert numbers(drawn) == places
    alone = draw(samples(224), 4, 42, "shuffle", dataset="mvtec_ad", category="cable")
    assert numbers(alone) != wanted["cable"]
    assert random.getstate() == state


def test_objectcores_draws_are_another_set_for_every_k():
    where: dict[str, Any] = {"dataset": "mvtec_loco", "category": "juice_bottle"}
    drawn = {
        (k, s): numbers(draw(samples(335), k, s, "sample", **where)) for k in (1, 2, 4) for s in (0, 1, 2)
    }
    assert drawn[1, 0] == [219] and drawn[2, 1] == [300, 11] and drawn[4, 2] == [329, 216, 239, 44]
    with pytest.raises(DataError, match="9 shots asked for, 5 training images"):
        draw(samples(5), 9, 0, "sample", **where)


def test_promptads_places_are_those_of_its_files():
    how = How(indices=preset("promptad").keys["support"]["indices"])

    def drawn(category: str, k: int) -> list[int]:
        train = samples(AD[category]["train"])
        return numbers(draw(train, k, 111, "indices", dataset="mvtec_ad", category=category, how=how))

    assert [drawn("cable", k) for k in (1, 2, 4)] == [[131], [101, 48], [29, 45, 192, 218]]
    assert drawn("bottle", 4) == [29, 45, 192, 127] and drawn("hazelnut", 4) == [58, 90, 384, 255]
    assert all(len(drawn(category, k)) == k for category in AD for k in (1, 2, 4))
    with pytest.raises(DataError, match="no list of 8 shots; there are: 1, 2, 4"):
        drawn("cable", 8)


def test_what_belongs_to_another_rule_is_refused(sweep_file: Write):
    with pytest.raises(ConfigError, match="offset belongs to `rule: first_k`, not to nested"):
        load(sweep_file(support={"offset": 3}), (), CHECKS)


# --- counts, on the numbers of images of the archives -----------------------------------------------------


def _split(dataset: str, category: str) -> Split:
    """A category of the archive without its files."""
    whole, _, kind = category.partition("/")
    counts = (LOCO if dataset == "mvtec_loco" else AD)[whole]

    def some(folder: str, n: int, label: str = "good") -> list[Sample]:
        kinds = sorted(TYPES.get(whole, ())) or [None]
        found = [
            Sample(f"{folder}/{i:03d}.png", Path("/x"), label, subtype=kinds[i % len(kinds)])
            for i in range(n)
        ]
        return [sample for sample in found if kind in ("", sample.subtype)]

    test = [
        s
        for key, n in counts.items()
        if key.startswith("test ")
        for s in some(key, n, key.removeprefix("test "))
    ]
    train, validation = (
        some("train/good", counts["train"]),
        some("validation/good", counts.get("validation", 0)),
    )
    return Split(dataset, category, tuple(train), tuple(validation), tuple(test), {}, {}, (), "0" * 64, ())


@pytest.fixture
def archives(monkeypatch: pytest.MonkeyPatch) -> None:
    """MVTec LOCO AD with its product types, and MVTec AD, as they are distributed."""

    def words(source: Source, which: str = "all") -> list[str]:
        every = LOCO if source.name == "mvtec_loco" else AD
        parts = {c: [f"{c}/{kind}" for kind in TYPES.get(c, ())] for c in every}
        return list(every) if which == "objects" else [n for c in every for n in parts[c] or [c]]

    class Splits:
        def __init__(self, source: Source):
            self.get = lambda category: _split(source.name, category)

    monkeypatch.setattr(Source, "categories", words)
    monkeypatch.setattr(expanding, "Splits", Splits)
    monkeypatch.setattr(expanding, "image_size", lambda path: (64, 64))


# protocol -> trials, support images in all, scored images in all, distinct categories
COUNTED = {
    "clip_lad": (9 * 3 * 5, 9 * 5 * 7, 1568 * 15, 9),
    "objectcore": (5 * 3 * 3, 5 * 3 * 7, 1568 * 9, 5),
    "vand2025": (5 * 4 * 3, 5 * 3 * 15, 1568 * 12, 5),
    "univad": (5, 5, 1568, 5),
    "logsad": (5, 20, 1568, 5),
    "dfsc": (5, 1778, 1568, 5),  # with all images nothing is drawn: one trial for all seeds of this method
    "psad": (5, 1778, 1568, 5),
    "subspacead": (15 * 3, 15 * 7, 1725 * 3, 15),
    "anomalydino": (15 * 5 * 3, 15 * 3 * 31, 1725 * 15, 15),
    "promptad": (15 * 3, 15 * 7, 1725 * 3, 15),
}


@pytest.mark.parametrize("name", names())
def test_a_protocol_comes_to_the_counts_of_its_source(name: str, archives: None):
    raw = {"name": "t", "protocol": name, "dataset": {"name": preset(name).dataset[0], "root": "/x"}}
    config = SweepConfig.model_validate({**raw, "methods": [{"name": "mean_image"}]})
    found = expanded(config)
    planned = [trial for trial, _ in found.trials]
    counts = len(planned), sum(len(t.support) for t in planned), sum(t.images for t in planned)
    assert (*counts, len({t.category for t in planned})) == COUNTED[name]
    assert {t.protocols for t in planned} == {(name,)}
    assert set(preset(name).names.get("mvtec_loco", ())) <= {t.category for t in planned}
    assert found.notes[0].startswith(f"protocol {name} ({preset(name).title}; ")


def test_the_training_images_of_the_types_are_psads():
    for category, kinds in TYPES.items():
        found = {kind: len(_split("mvtec_loco", f"{category}/{kind}").train) for kind in kinds}
        assert found == kinds


def test_vand2025_sees_no_validation_image_and_256_pixels(archives: None):
    raw = {"name": "t", "protocol": "vand2025", "dataset": {"name": "mvtec_loco", "root": "/x"}, "shots": [1]}
    methods = [
        {"name": "mean_image"},
        {"name": "padim"},
        {"name": "sinbad", "params": {"norm_source": "none"}},
    ]
    config = SweepConfig.model_validate({**raw, "seeds": [42], "weights": "demo", "methods": methods})
    planned = {t.method: t for t, _ in expand(config) if t.category == "pushpins"}
    assert {t.params["image_size"] for t in planned.values()} == {256}
    assert planned["mean_image"].support == ("train/good/174.png",)
    assert not planned["sinbad"].validation and planned["padim"].validation


# --- what is otherwise, and who says so -------------------------------------------------------------------


def labels(path: Path, *overrides: str) -> list[str]:
    return [record["label"] for record in records(load(path, overrides, CHECKS).record())]


@pytest.mark.parametrize(
    ("overrides", "label"),
    [
        ([], "subspacead"),
        (["seeds=[42]", "shots=[1,2,4]"], "subspacead"),
        (["seeds=10"], "subspacead, with seeds 10"),
        (["shots=1", "seeds=[0,1]"], "subspacead, with shots 1 and seeds 2"),
        (["categories=[cap]", "metrics=[auroc, ap, f1max, aupro]"],
         "subspacead, with categories cap and no pixel_auroc"),
        (["support.rule=nested"], "subspacead, with support nested"),
        (["input.image_size=64"], "subspacead, with input image_size 64"),
        (["number.subset=mean"], "subspacead, with number auroc mean of logical and structural"),
        (["methods.subspace_ad.params.rotations=2"], "subspacead, with subspace_ad.rotations 2"),
    ],
)  # fmt: skip
def test_what_a_sweep_file_has_otherwise_is_told(sweep_file: Write, overrides: list[str], label: str):
    demo = {"backbone": "vit_small_patch14_dinov2.lvd142m", "layers": ["blocks.6"]}
    entry = {"name": "subspace_ad", "params": demo}
    path = sweep_file(protocol="subspacead", weights="demo", methods=[entry])
    raw = yaml.safe_load(path.read_text())
    del raw["shots"]
    path.write_text(yaml.safe_dump(raw))
    assert labels(path, *overrides) == [label]
    again = path.with_name("resolved.yaml")  # what a run keeps of it says the same
    again.write_text(yaml.safe_dump(load(path, overrides, CHECKS).record()))
    assert labels(again) == [label]


def test_all_categories_by_name_are_what_the_word_means(archives: None):
    raw = {"name": "t", "dataset": {"name": "mvtec_loco", "root": "/x"}, "methods": [{"name": "mean_image"}]}
    nine = list(preset("clip_lad").names["mvtec_loco"])
    few = "clip_lad, with categories " + ", ".join(nine[1:4])
    for some, label in ((nine, "clip_lad"), (nine[1:4], few)):
        config = SweepConfig.model_validate({**raw, "protocol": "clip_lad", "categories": some})
        assert {t.protocols for t, _ in expand(config)} == {(label,)}


def test_another_data_set_is_told(sweep_file: Write):
    assert labels(sweep_file(protocol="psad", shots="full")) == ["psad, with dataset mvtec_ad"]


def test_without_a_protocol_nothing_is_told_or_changed(sweep_file: Write):
    path = sweep_file()
    assert labels(path) == [] and {t.protocols for t in trials(path)} == {()}
    assert configs_of(load(path)) == [("", load(path))]


# --- several at once --------------------------------------------------------------------------------------


def test_trials_of_two_protocols_run_once(sweep_file: Write):
    """The same three draws, whichever protocol asks for them, in one sweep or in two into one folder."""
    common: dict[str, Any] = {"categories": ["cap"], "support": {"rule": "nested"}, "metrics": ["auroc"]}
    both = sweep_file(protocols=["clip_lad", "objectcore"], **common)
    planned = trials(both)
    assert Counter(len(t.protocols) for t in planned) == {2: 3, 1: 2}  # seeds 0 to 2 are of both
    assert len({t.id for t in planned}) == 5
    one = sweep_file(protocol="objectcore", **common)
    assert {t.id for t in trials(one)} == {t.id for t in planned if len(t.protocols) == 2}
    assert sweep_here(one, "--backend", "serial").returncode == 0
    said = sweep_here(sweep_file(protocol="clip_lad", **common), "--backend", "serial").stdout
    assert "5 trials planned, 3 already there, 0 to skip, 2 to run" in said
    run = read_run(load(one).run_directory)
    told = Counter(str(label).split(",")[0] for labels in run.trials["protocols"] for label in labels)
    assert told == {"objectcore": 3, "clip_lad": 2}
    assert {name.split(",")[0] for names in run.plan["protocols"] for name in names} == {"clip_lad"}
    assert [record["protocol"] for record in run.protocols] == ["clip_lad"]


def test_each_of_several_protocols_is_what_it_is_alone(archives: None):
    def ids(**keys: Any) -> dict[str, tuple[str, ...]]:
        raw = {
            "name": "t",
            "dataset": {"name": "mvtec_loco", "root": "/x"},
            "methods": [{"name": "mean_image"}],
        }
        return {t.id: t.protocols for t, _ in expand(SweepConfig.model_validate({**raw, **keys}))}

    together = ids(protocols=["clip_lad", "vand2025", "univad"])
    for name in ("clip_lad", "vand2025", "univad"):
        assert {i for i, of in together.items() if name in of} == set(ids(protocol=name))


# --- why --------------------------------------------------------------------------------------------------

WHY = {
    "from": "objectcore",
    "to": "clip_lad",
    "factors": [
        "categories",
        "draw",
        "seeds",
        "aggregation",
        {"name": "side", "method": "mean_image", "change": {"image_size": [32, 64]}},
    ],
}


def test_why_goes_from_one_protocol_to_the_other_a_factor_at_a_time(archives: None):
    raw = {"name": "t", "dataset": {"name": "mvtec_loco", "root": "/x"}, "methods": [{"name": "mean_image"}]}
    config = SweepConfig.model_validate({**raw, "shots": [1], "why": WHY})
    steps = dict(configs_of(config))
    names = list(steps)
    assert (
        names[0] == "objectcore, with shots 1" and names[5] == "clip_lad, with shots 1" and len(names) == 10
    )
    seen = [
        (s.categories, s.support.rule, len(s.seed_list), s.methods[0].params["image_size"])
        for s in steps.values()
    ]
    start, end = ("objects", "sample", 3, 32), ("subcategories", "nested", 5, 64)
    assert seen[:6] == [start, *((*end[:i], *start[i:]) for i in (1, 2, 3, 3, 4))]
    assert seen[6:] == [  # alone; the first of the path is so by itself
        ("objects", "nested", 3, 32),
        ("objects", "sample", 5, 32),
        start,
        ("objects", "sample", 3, 64),
    ]
    planned = [trial for trial, _ in expand(config)]
    assert len(planned) == len({t.id for t in planned})
    of = Counter(label for t in planned for label in t.protocols)
    assert [of[name] for name in names] == [15, 27, 27, 45, 45, 45, 15, 25, 15, 15]
    told = [record["step"] for record in records(config.record())]
    assert [step.get("what") for step in told[:6]] == [
        None,
        "objects → subcategories",
        "sample → nested",
        "3 → 5",
        "auroc pooled in both",
        "image_size 32 → 64",
    ]
    assert told[0]["touched"] == {"mean_image": ["image_size"]}


def test_what_no_factor_names_is_the_last_step(archives: None):
    raw = {"name": "t", "dataset": {"name": "mvtec_loco", "root": "/x"}, "methods": [{"name": "mean_image"}]}
    why = {"from": "objectcore", "to": "vand2025", "factors": ["draw"], "alone": False}
    config = SweepConfig.model_validate({**raw, "why": why})
    last = records(config.record())[-1]
    assert (
        last["label"] == "vand2025"
        and last["step"]["factor"] == "rest (shots, seeds, validation, input, number)"
    )
    alone = SweepConfig.model_validate({**raw, "protocol": "vand2025"})
    assert {t.id for t, _ in expand(alone)} == {t.id for t, _ in expand(config) if "vand2025" in t.protocols}


def test_a_factor_that_is_none_is_refused(sweep_file: Write):
    path = sweep_file(why={"from": "psad", "to": "dfsc", "factors": ["drawn"]})
    with pytest.raises(ConfigError, match="did you mean 'draw'"):
        load(path, (), CHECKS)
    side = {"name": "side", "method": "mean_image", "change": {"image_size": [8]}}
    with pytest.raises(
        ConfigError, match=r"changes 'mean_imag', which this sweep does not run .did you mean 'mean_"
    ):
        other = side | {"method": "mean_imag", "change": {"image_size": [8, 16]}}
        load(sweep_file(why={"from": "psad", "to": "dfsc", "factors": [other]}), (), CHECKS)
    with pytest.raises(ConfigError, match=r"must be \[before, after\], not 1 values"):
        load(sweep_file(why={"from": "psad", "to": "dfsc", "factors": [side]}), (), CHECKS)


# --- categories in a word, validation images --------------------------------------------------------------


def test_a_word_says_which_categories(tmp_path: Path, sweep_file: Write):
    root = tmp_path / "data"
    for category in ("juice_bottle", "pushpins"):
        loco(root, category)
    path = sweep_file(dataset={"name": "mvtec_loco", "root": str(root)})

    def found(word: str) -> set[str]:
        return {t.category for t in trials(path, f"categories={word}")}

    assert found("objects") == found("all") == {"juice_bottle", "pushpins"}
    with pytest.raises(
        ConfigError, match=r"categories: .*nothing says which images are of which sub-category; python"
    ):
        found("subcategories")
    versioned(root, types(root / "juice_bottle"))
    kinds = {"juice_bottle/banana", "juice_bottle/cherry", "pushpins"}
    assert (found("objects"), found("all"), found("subcategories")) == (
        {"juice_bottle", "pushpins"},
        kinds,
        kinds,
    )
    few = "clip_lad, with shots 1 and 3 of its 9 categories"
    found_here = expanded(load(path, ["protocol=clip_lad"], CHECKS))
    assert found_here.notes[0].startswith(f"protocol {few} (")
    assert {t.protocols for t, _ in found_here.trials} == {(few,)}
    assert sweep_here(path, "protocol=clip_lad", "--backend", "serial").returncode == 0
    assert [r["label"] for r in read_run(load(path).run_directory).protocols] == [few]


FIVE = {"breakfast_box", "juice_bottle", "pushpins", "screw_bag", "splicing_connectors"}
TO_BE_READ = [
    p.stem for p in sorted((ROOT / "configs").glob("*.yaml")) if "mvtec_loco_anomaly" in p.read_text()
]


@pytest.mark.parametrize("name", TO_BE_READ)
def test_what_a_config_runs_on_does_not_hang_on_a_manifest(
    name: str, archives: None, monkeypatch: pytest.MonkeyPatch
):
    """Tables over five objects stay that, with the product types of all images known."""
    for variable in ("LADDER_DATA", "LADDER_TEACHERS", "LADDER_LABELS"):
        monkeypatch.setenv(variable, "/x")
    raw = yaml.safe_load((ROOT / f"configs/{name}.yaml").read_text())
    few = {"dataset": {"name": "mvtec_loco", "root": "/x"}, "methods": [{"name": "mean_image"}]}
    why = {"why": {**raw["why"], "factors": ["categories"]}} if "why" in raw else {}
    found = {t.category for t, _ in expand(SweepConfig.model_validate({**raw, **few, **why}))}
    nine = {*preset("clip_lad").names["mvtec_loco"]}
    wanted = nine if name in ("fewshot", "clip_lad_table1", "clip_lad_clusters") else FIVE
    wanted = {"juice_bottle", "splicing_connectors"} if name == "clip_lad_table3" else wanted
    assert found == (FIVE | nine if name == "why" else wanted)
    assert raw.get("categories") != "all"


@pytest.mark.parametrize("name", [name for name in TO_BE_READ if name != "why"])
def test_a_configs_protocol_is_what_it_writes_down(name: str, archives: None):
    """Naming it changes no trial, and no config names one that it departs from but in shots."""
    few = {"dataset": {"name": "mvtec_loco", "root": "/x"}, "methods": [{"name": "mean_image"}]}
    raw = yaml.safe_load((ROOT / f"configs/{name}.yaml").read_text()) | few
    named = {t.id: t.protocols for t, _ in expand(SweepConfig.model_validate(raw))}
    said = raw.pop("protocol", None)
    assert set(named) == {t.id for t, _ in expand(SweepConfig.model_validate(raw))}
    assert set(named.values()) <= ({(said,), (f"{said}, with shots 4",)} if said else {()})


def test_validation_images_are_identity_only_where_they_are_kept_from_a_method(sweep_file: Write):
    official, none = (trials(sweep_file(validation=word))[0] for word in ("official", "none"))
    assert official.id == none.id and official.validation and none.validation  # it never looks at them
    kept = replace(official, validation=False)
    assert kept.id != official.id and "validation" not in official.identity
    split = Split("d", "c", samples(3), samples(2), samples(1), {}, {}, (), "", ())
    names = [sample.id for sample in split.train]
    assert [len(fit_data(names, split, given).validation) for given in (True, False)] == [2, 0]


def _attributes(name: str) -> set[str]:
    """Attributes that the files of a method's package mention."""
    module = METHODS._table[name].partition(":")[0].replace(".", "/")
    path = ROOT / module
    files = list(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    trees = [ast.parse(file.read_text()) for file in files]
    return {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize("name", METHODS.own)
def test_a_method_that_says_so_never_looks_at_validation_images(name: str):
    """comad's package is also comad_patchcore's, which may."""
    card: Card = METHODS.load(name).card
    assert card.validation or name == "comad" or "validation" not in _attributes(name)

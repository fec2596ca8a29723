"""From a sweep file to trials, and from trials to a plan."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import write_tree
from pydantic import BaseModel
from safetensors.numpy import save_file

from harness.config import SweepConfig, load
from harness.datasets import DATASETS
from harness.errors import ConfigError
from harness.method import Asset, Context, Resources
from harness.params import model_of
from harness.trial import Status, Trial
from sweeps.drive import Options
from sweeps.expand import expand
from sweeps.plan import Plan, make_plan, plan_rows
from sweeps.problems import CHECKS

Write = Callable[..., Path]


def trials(path: Path, *overrides: str) -> list[Trial]:
    return [trial for trial, _ in expand(load(path, overrides, CHECKS))]


def ids(path: Path, *overrides: str) -> set[str]:
    return {trial.id for trial in trials(path, *overrides)}


# --- expansion --------------------------------------------------------------------------------------------


def test_the_product_of_all_axes_in_order(sweep_file: Write):
    pairs = {"smoothing": [0, 1], "pooling": ["max", "mean"]}
    grid = {"name": "mean_image", "grid": {"image_size": [8, 16]}, "zip": pairs}
    found = trials(sweep_file(shots=[1, 2], seeds=2, methods=[grid]))
    assert len({t.id for t in found}) == len(found) == 3 * 2 * 2 * 2 * 2
    assert Counter(t.category for t in found) == {"bolt": 16, "cap": 16, "nut": 16}
    assert {(t.params["smoothing"], t.params["pooling"]) for t in found} == {(0, "max"), (1, "mean")}
    assert [t.category for t in found] == sorted(t.category for t in found)


def test_an_entry_may_run_on_some_of_the_sweeps_axes(sweep_file: Write):
    few = {"name": "mean_image", "params": {"image_size": 8}, "categories": ["nut", "cap"], "shots": ["full"]}
    methods = [{"name": "mean_image"}, few, few | {"shots": 2, "seeds": [1], "categories": ["cap"]}]
    found = trials(sweep_file(shots=[2, "full"], seeds=2, methods=methods))
    places = Counter((t.category, t.shots, t.split_seed) for t in found if t.params["image_size"] == 8)
    assert places == {("cap", None, None): 1, ("nut", None, None): 1, ("cap", 2, 1): 1}
    assert len(found) == 3 * (2 + 1) + 3
    assert {t.id for t in found if t.category == "cap"} <= ids(
        sweep_file(
            shots=[2, "full"],
            seeds=2,
            methods=[{"name": "mean_image"}, {"name": "mean_image", "params": {"image_size": 8}}],
        )
    )


def test_what_an_entry_names_has_to_be_the_sweeps(sweep_file: Write):
    wrong = {"name": "mean_image", "categories": ["bolt", "nutt"], "shots": [2, "full"], "seeds": 2}
    path = sweep_file(shots=[1, 2], seeds=[0, 7], methods=[{"name": "mean_image"}, wrong])
    with pytest.raises(ConfigError) as caught:
        expand(load(path, (), CHECKS), path)
    assert caught.value.problems == [
        f"{path}: methods.1.categories: 'nutt' is not among the sweep's (did you mean 'nut'?); these are "
        "bolt, cap, nut",
        f"{path}: methods.1.shots: 'full' is not among the sweep's; these are 1, 2",
        f"{path}: methods.1.seeds: '1' is not among the sweep's; these are 0, 7",
    ]


def test_axes_that_cannot_change_the_numbers_collapse(sweep_file: Write):
    """mean_image ignores the run seed; with all training images the draw does not matter either."""
    found = trials(sweep_file(shots=[1, "full"], seeds=5, categories=["cap"]))
    assert Counter(t.shots for t in found) == {1: 5, None: 1}
    assert {(t.split_seed, t.run_seed) for t in found if t.shots is None} == {(None, None)}
    assert {t.run_seed for t in found} == {None}


def test_a_method_that_ignores_shots_and_seeds_is_one_trial(
    sweep_file: Write, monkeypatch: pytest.MonkeyPatch
):
    from methods.mean_image import MeanImage

    zero_shot = replace(MeanImage.card, ignores=lambda params: frozenset({"shots", "split_seed", "run_seed"}))
    monkeypatch.setattr(MeanImage, "card", zero_shot)
    found = trials(sweep_file(shots=[1, 2, 4], seeds=5, categories=["cap"]))
    assert [(t.shots, t.support, t.split_seed, t.run_seed) for t in found] == [(0, (), None, None)]


def test_parameters_are_complete_and_identical_ones_merge(sweep_file: Write):
    spelled = {"name": "mean_image", "params": {"image_size": 64, "pooling": "max"}}
    found = trials(sweep_file(methods=[{"name": "mean_image"}, spelled], categories=["cap"]))
    assert [t.params for t in found] == [{"image_size": 64, "smoothing": 1.0, "pooling": "max"}]


def test_all_methods_see_the_same_nested_support_sets(sweep_file: Write, tmp_path: Path):
    weights = tmp_path / "w.safetensors"
    save_file({"conv1.weight": np.zeros(1, np.float32)}, weights)
    methods = [{"name": "mean_image"}, {"name": "patchcore", "params": {"weights": str(weights)}}]
    supports: dict[tuple[Any, ...], set[tuple[str, ...]]] = {}
    for t in trials(sweep_file(shots=[1, 2, 4], seeds=3, methods=methods)):
        supports.setdefault((t.category, t.shots, t.split_seed), set()).add(t.support)
    assert all(len(found) == 1 for found in supports.values())
    one = {key: next(iter(found)) for key, found in supports.items()}
    assert all(one[c, 2, s][:1] == one[c, 1, s] and one[c, 4, s][:2] == one[c, 2, s] for c, _, s in one)


def test_too_many_shots_and_a_missing_category_folder_are_said_together(sweep_file: Write, tmp_path: Path):
    root = write_tree(tmp_path / "data", ("bolt",), train=3)
    path = sweep_file(dataset={"name": "mvtec_ad", "root": str(root)}, shots=[4])
    with pytest.raises(ConfigError, match="mvtec_ad bolt: 4 shots asked for, 3 training images available"):
        expand(load(path, (), CHECKS))


def test_an_unmet_need_is_planned_with_its_reason(sweep_file: Write, monkeypatch: pytest.MonkeyPatch):
    from methods.mean_image import MeanImage

    picky = replace(
        MeanImage.card, unmet=lambda params, task: "needs masks" if task.category == "cap" else None
    )
    monkeypatch.setattr(MeanImage, "card", picky)
    config = load(sweep_file(), (), CHECKS)
    plan = make_plan(expand(config), {})
    assert [(t.category, t.reason) for t in plan.skipped] == [("cap", "needs masks")]
    assert [t.category for t in plan.remaining] == ["bolt", "nut"]


def test_20_000_trials_expand_in_seconds(sweep_file: Write):
    """5 s is the promise (measured: 1.2 s); of the CPU, so that it holds on a busy machine too."""
    grid = {"name": "mean_image", "grid": {"image_size": list(range(8, 116)), "pooling": ["max", "mean"]}}
    path = sweep_file(shots=[1, 2, 4, "full"], seeds=10, methods=[grid])
    began = time.process_time()
    planned = expand(load(path, (), CHECKS))
    plan = make_plan(planned, {})
    seconds = time.process_time() - began
    assert len(plan.trials) == 3 * 31 * 216 == 20_088
    assert seconds < 5


# --- identity (rule 1 of the design): what is in it, what is not --------------------------------------------

IN, OUT = "in", "out"
CLASSIFIED = {
    "name": OUT,
    "protocol": OUT,  # what it fills in is in or out by itself
    "protocols": OUT,
    "why.from_": OUT,
    "why.to": OUT,
    "why.factors": OUT,
    "why.alone": OUT,
    "dataset.name": IN,
    "dataset.root": OUT,
    "categories": IN,
    "shots": IN,
    "seeds": IN,
    "support.rule": IN,
    "support.manifest": IN,
    "support.offset": IN,
    "support.before": IN,
    "support.indices": IN,
    "validation": IN,  # of methods that look at validation images
    "input.image_size": IN,
    "number.metric": OUT,
    "number.subset": OUT,
    "number.curve": OUT,
    "weights": IN,
    "methods.name": IN,
    "methods.categories": IN,
    "methods.shots": IN,
    "methods.seeds": IN,
    "methods.params": IN,
    "methods.grid": IN,
    "methods.zip": IN,
    "methods.resources.gpus": OUT,
    "methods.resources.most_per_card": OUT,
    "methods.resources.cpus": OUT,
    "methods.resources.timeout_minutes": OUT,
    "methods.resources.stack": OUT,
    "metrics": OUT,  # computed from scores and maps, also afterwards (harness.rescore)
    "keep_maps": OUT,
    "keep_checkpoints": OUT,
    "out": OUT,
    "cache.folder": OUT,
    "cache.limit_gib": OUT,
    "cache.enabled": OUT,
    "unit_trials": OUT,
    "max_trials": OUT,
}
COMMON = {"marks": OUT, "pixels": IN, "allow_duplicates": OUT}
OPTIONS = {  # of data sets; through the fingerprint of the images or through what is in the category
    "autovi": COMMON,
    "btad": COMMON,
    "cad_sd": COMMON,
    "mpdd": COMMON,
    "real_iad": {"size": IN, "index": IN} | COMMON,
    "vid_ad": COMMON,
    "visa": {"split": IN} | COMMON,
    "mvtec_ad2": {"test": IN, "pro_limits": OUT} | COMMON,
    "demo": {"subtypes": IN, "subtype_rule": IN, "marks": OUT, "pixels": IN, "allow_duplicates": OUT},
    "mvtec_loco": {"subtypes": IN, "subtype_rule": IN, "marks": OUT, "pixels": IN, "allow_duplicates": OUT},
    "mvtec_ad": {"marks": OUT, "pixels": IN, "allow_duplicates": OUT},
    "folder": {
        "train": IN,
        "validation": IN,
        "normal": IN,
        "abnormal": IN,
        "masks": IN,
        "labels": IN,
        "mask_ending": IN,
        "held_out": IN,
        "marks": OUT,
        "pixels": IN,
        "allow_duplicates": OUT,
    },
}


def _leaves(model: type[BaseModel], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, field in model.model_fields.items():
        inner = [
            a for a in (field.annotation, *getattr(field.annotation, "__args__", ())) if isinstance(a, type)
        ]
        models = [a for a in inner if issubclass(a, BaseModel)]
        found |= {leaf for m in models for leaf in _leaves(m, f"{prefix}{name}.")} or {f"{prefix}{name}"}
    return found


def test_every_field_of_a_sweep_file_is_classified():
    assert _leaves(SweepConfig) == set(CLASSIFIED)


def test_every_option_of_every_data_set_is_classified():
    found = {name: set(model_of(DATASETS.load(name).Options).model_fields) for name in OPTIONS}
    assert found == {name: set(options) for name, options in OPTIONS.items()}
    assert set(OPTIONS) == set(DATASETS)


def test_how_a_sweep_is_run_never_reaches_a_trial():
    """The command line, resources, and all of a context but its seed are outside the identity."""
    ours = {"only", "limit", "retry", "spent", "backend", "address", "dashboard", "debug", "file", "shard"}
    assert {f.name for f in fields(Options)} == ours
    assert {f.name for f in fields(Resources)} == {
        "gpus",
        "cpus",
        "timeout_minutes",
        "stack",
        "auto",
        "most_per_card",
    }
    assert {f.name for f in fields(Context)} == {"run_seed", "device", "artifacts", "scratch"}
    assert not {f.name for f in fields(Trial)} & {
        f.name for part in (Options, Resources) for f in fields(part)
    }


BASE = Trial(
    method="m",
    method_version=1,
    params={"a": 1, "b": 0.5, "weights": "/x/w.pth"},
    dataset="d",
    category="c",
    fingerprint="f",
    shots=2,
    support=("p", "q"),
    split_seed=0,
    run_seed=0,
    assets=(Asset("w", "ab", "/x/w.pth"),),
    paths=frozenset({"weights"}),
)
CHANGES: Mapping[str, tuple[str, Any]] = {
    "method": (IN, "n"),
    "method_version": (IN, 2),
    "params": (IN, {"a": 2, "b": 0.5, "weights": "/x/w.pth"}),
    "dataset": (IN, "e"),
    "category": (IN, "c/sub"),
    "fingerprint": (IN, "g"),
    "shots": (IN, None),
    "support": (IN, ("q", "p")),
    "split_seed": (IN, 1),
    "run_seed": (IN, None),
    "assets": (IN, (Asset("w", "cd", "/x/w.pth"),)),
    "paths": (IN, frozenset()),
    "protocols": (OUT, ("clip_lad",)),
    "validation": (IN, False),
    "marks": (OUT, ("demo data",)),
    "reason": (OUT, "no masks"),
    "together": (OUT, "all but the margin"),
    "sizes": (OUT, ((64, 64, None),)),
    "reads": (OUT, (("pass", "layer1"),)),
    "images": (OUT, 120),
    "later": (IN, {"a": 1}),
}


def test_every_field_of_a_trial_is_classified():
    assert {f.name for f in fields(Trial)} == set(CHANGES)


@pytest.mark.parametrize("name", CHANGES)
def test_a_trial_is_its_numbers(name: str):
    kind, value = CHANGES[name]
    changed = replace(BASE, **{name: value})
    assert (changed.id != BASE.id) == (kind == IN)


def test_a_trial_is_known_by_content_not_by_place_or_spelling():
    elsewhere = replace(
        BASE,
        params={"weights": "/y/v.pth", "b": 0.5, "a": 1},
        assets=(Asset("w", "ab", "/y/v.pth", marks=("demo weights",)),),
    )
    assert elsewhere.id == BASE.id
    assert len(BASE.id) == 16
    assert set(BASE.id) <= set("0123456789abcdef")


def test_what_came_later_and_changes_nothing_is_not_part_of_the_identity():
    newer = replace(BASE, params={**BASE.params, "new": 0}, later={"new": 0})
    assert newer.id == BASE.id
    assert replace(newer, params={**BASE.params, "new": 1}).id != BASE.id


def test_the_id_is_the_same_on_every_machine_and_in_every_version():
    assert BASE.id == "5b7047ed24e03451", (
        "results of earlier versions would be computed again; raise IDENTITY_VERSION"
    )


FIELD_CHANGES = {
    "name": "other",
    "categories": ["cap"],
    "shots": [2],
    "seeds": [7],
    "support.rule": "first_k",
    "metrics": ["ap"],
    "keep_maps": True,
    "out": "/nowhere/else",
    "cache.folder": "/nowhere/cache",
    "cache.limit_gib": 1.5,
    "cache.enabled": False,
    "unit_trials": 1,
    "max_trials": 500,
    "methods.0.params": {"image_size": 9},
    "methods.0.grid": {"image_size": [9]},
    "methods.0.zip": {"image_size": [9]},
    "methods.0.resources.gpus": 1,
    "methods.0.resources.cpus": 7,
    "methods.0.resources.timeout_minutes": 3,
    "methods.0.resources.stack": 4,
}


@pytest.mark.parametrize("place", FIELD_CHANGES)
def test_changing_a_field_changes_the_trials_exactly_if_it_is_in(sweep_file: Write, place: str):
    path = sweep_file(seeds=[1])
    kind = CLASSIFIED[place.replace("methods.0", "methods")]
    changed = ids(path, f"{place}={json.dumps(FIELD_CHANGES[place])}")
    assert (changed != ids(path)) == (kind == IN)


def test_weights_are_in_by_content(sweep_file: Write, tmp_path: Path):
    for name, content in (("a", 1), ("b", 1), ("c", 2)):
        save_file({"conv1.weight": np.full(1, content, np.float32)}, tmp_path / f"{name}.safetensors")
    path = sweep_file(methods=[{"name": "patchcore"}])
    a, b, c = (ids(path, f"weights={tmp_path / name}.safetensors") for name in "abc")
    assert a == b != c


def test_the_images_are_in_by_content_and_not_by_place(sweep_file: Write, tree: Path, tmp_path: Path):
    here = ids(sweep_file())
    copy = write_tree(tmp_path / "copy", ("bolt", "cap", "nut"))
    assert ids(sweep_file(), f"dataset.root={copy}") == here
    (copy / "cap/train/good/000.png").write_bytes((copy / "cap/train/good/001.png").read_bytes())
    changed = ids(sweep_file(), f"dataset.root={copy}")
    assert len(changed & here) == 2


def test_a_support_manifest_is_in_by_what_it_lists(sweep_file: Write, tmp_path: Path):
    def manifest(name: str, image: str) -> str:
        path = tmp_path / name
        path.write_text(yaml.safe_dump({c: [image] for c in ("bolt", "cap", "nut")}))
        return f"support={{rule: manifest, manifest: {path}}}"

    a, b, c = manifest("a.yaml", "001"), manifest("b.yaml", "001"), manifest("c.yaml", "002")
    assert ids(sweep_file(), a) == ids(sweep_file(), b) != ids(sweep_file(), c)


FOLDER_CHANGES = {
    "train": "more",
    "validation": "more",
    "normal": "test/fine",
    "abnormal": ["test/dent"],
    "masks": None,
    "labels": {"square": "logical"},
    "marks": ["seen"],
}


@pytest.mark.parametrize("option", FOLDER_CHANGES)
def test_options_of_a_folder_change_the_trials_exactly_if_they_are_in(
    sweep_file: Write, tmp_path: Path, option: str
):
    root = write_tree(tmp_path / "data", ("cap",))
    for new, old in (("more", "train/good"), ("test/fine", "test/good"), ("test/dent", "test/square")):
        shutil.copytree(root / "cap" / old, root / "cap" / new)
    shutil.copytree(root / "cap/ground_truth/square", root / "cap/ground_truth/dent")
    (root / "cap/test/fine/000.png").unlink()
    path = sweep_file(dataset={"name": "folder", "root": str(root), "abnormal": ["test/square"]})
    changed = ids(path, f"dataset.{option}={json.dumps(FOLDER_CHANGES[option])}")
    assert (changed != ids(path)) == (OPTIONS["folder"][option] == IN)


# --- the plan ---------------------------------------------------------------------------------------------


@pytest.fixture
def planned(sweep_file: Write) -> list[tuple[Trial, Resources]]:
    """12 trials: two poolings, three categories, 1 shot and full."""
    grid = {"name": "mean_image", "grid": {"pooling": ["max", "mean"]}}
    return expand(load(sweep_file(shots=[1, "full"], methods=[grid]), (), CHECKS))


def left(plan: Plan) -> list[str]:
    return [trial.id for trial in plan.remaining]


def test_what_has_a_row_is_done(planned: list[tuple[Trial, Resources]]):
    every = [t.id for t, _ in planned]
    plan = make_plan(planned, dict.fromkeys(every[:5], "ok") | {"0123": "ok"})
    assert sorted(left(plan)) == sorted(every[5:])
    assert set(plan.done) == set(every[:5])
    assert not make_plan(planned, dict.fromkeys(every, "ok")).units


@pytest.mark.parametrize("status", [*Status, "all"])
def test_retry_takes_up_trials_of_that_status_and_no_others(
    planned: list[tuple[Trial, Resources]], status: str
):
    had = {t.id: s for (t, _), s in zip(planned, [*Status] * 2, strict=False)}
    plan = make_plan(planned, had, retry=[status])
    again = {i for i, s in had.items() if status in (s, "all")}
    missing = {t.id for t, _ in planned} - set(had)
    assert set(left(plan)) == again | missing


def test_only_and_limit_choose_what_runs_now(planned: list[tuple[Trial, Resources]]):
    plan = make_plan(planned, {}, only={"shots": ["full"], "category": ["cap", "nut"]})
    assert {(t.shots, t.category) for t in plan.remaining} == {(None, "cap"), (None, "nut")}
    assert len(plan.trials) == 12
    assert left(make_plan(planned, {}, limit=5)) == [t.id for t, _ in planned][:5]
    one = planned[3][0].id
    assert left(make_plan(planned, {}, only={"id": [one]})) == [one]


def test_only_refuses_values_that_no_trial_has(planned: list[tuple[Trial, Resources]]):
    with pytest.raises(ConfigError) as caught:
        make_plan(planned, {}, only={"category": ["cpa"], "shots": ["2"]})
    assert caught.value.problems == [
        "--only category=cpa: no trial has it (did you mean 'cap'?); category is one of: bolt, cap, nut",
        "--only shots=2: no trial has it; shots is one of: 1, full",
    ]


def test_units_hold_trials_of_one_method_category_and_resources(sweep_file: Write):
    methods = [
        {"name": "mean_image"},
        {"name": "mean_image", "params": {"pooling": "mean"}, "resources": {"cpus": 2}},
    ]
    planned = expand(load(sweep_file(shots=[1, 2], seeds=3, methods=methods), (), CHECKS))
    plan = make_plan(planned, {}, unit_trials=100)
    assert len(plan.units) == 3 * 2
    for unit in plan.units:
        assert len({(t.method, t.category, t.params["pooling"]) for t in unit.trials}) == 1
        assert unit.resources.cpus == (2 if unit.trials[0].params["pooling"] == "mean" else 1)
    assert sorted(left(plan)) == sorted(t.id for t, _ in planned)


def test_the_size_of_units_follows_the_work(planned: list[tuple[Trial, Resources]]):
    def sizes(**options: Any) -> list[int]:
        return [len(unit.trials) for unit in make_plan(planned, {}, **options).units]

    assert sizes(unit_trials=3) == [3, 1, 3, 1, 3, 1]
    assert sizes(unit_trials=1) == [1] * 12
    assert max(sizes(slots=1)) == 3  # 12 trials for one slot: four portions, so that the last one is short
    assert max(sizes(slots=100)) == 1


def test_ten_thousand_trials_are_at_most_a_few_thousand_units():
    """Ray Tune's own cost grows with the number of units."""
    many = [(replace(BASE, category=str(n % 4), run_seed=n), Resources()) for n in range(20_000)]
    plan = make_plan(many, {}, slots=10_000)
    assert len(plan.units) <= 2_004
    assert sum(len(unit.trials) for unit in plan.units) == 20_000


def test_the_rows_of_the_plan_name_every_trial(planned: list[tuple[Trial, Resources]]):
    plan = make_plan(planned, {planned[0][0].id: "ok"})
    rows = {row["trial_id"]: row for row in plan_rows(plan)}
    assert set(rows) == {t.id for t, _ in planned}
    assert json.loads(rows[planned[0][0].id]["params"]) == planned[0][0].params

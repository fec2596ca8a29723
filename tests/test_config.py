"""The sweep file: what it may say, and that everything wrong with it is said at once, in the right words."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from conftest import ROOT, cpu_seconds, sweep_here

from harness.config import SweepConfig, json_schema, load
from harness.errors import ConfigError
from harness.params import Problem, validate
from sweeps.problems import CHECKS, kinds

Write = Callable[..., Path]
SCHEMA = ROOT / "configs" / "schema" / "sweep.schema.json"

AXES = ("image_size", "dimension", "num_neighbours")


def problems(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, overrides, CHECKS, kinds)
    return [line.removeprefix(f"{path}: ") for line in caught.value.problems]


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {"sedes": 3},
            "sedes: unknown key (did you mean 'seeds'?); allowed: cache, categories, dataset,",
        ),
        ({"name": "a b"}, "name: string should match pattern"),
        (
            {"shots": [1, "ful"]},
            "shots.1: must be a valid integer or 'full' (did you mean 'full'?) (got 'ful')",
        ),
        ({"shots": 0}, "shots: must be greater than 0 or 'full' (got 0)"),
        ({"shots": []}, "shots: value should have at least 1 item"),
        ({"seeds": 0}, "seeds: must be greater than 0 or a valid list (got 0)"),
        ({"seeds": [0, -1]}, "seeds.1: input should be greater than or equal to 0 (got -1)"),
        ({"categories": "al"}, "categories: must be 'all' or a valid list (did you mean 'all'?) (got 'al')"),
        (
            {"categories": ["bolt", "nuts"]},
            "categories.1: no category 'nuts' (did you mean 'nut'?) in {tree}; there: bolt, cap, nut",
        ),
        (
            {"support": {"rule": "neste"}},
            "support.rule: 'neste' is not allowed (did you mean 'nested'?); allowed: 'nested',",
        ),
        (
            {"metrics": ["auroc", "aurox"]},
            "metrics.1: unknown metric 'aurox' (did you mean 'auroc'?); known: auroc,",
        ),
        ({"methods": []}, "methods: a list should have at least 1 item"),
        ({"methods": [{}]}, "methods.0.name: is required"),
        (
            {"methods": [{"name": "mean_imag"}]},
            "methods.0.name: unknown method 'mean_imag' (did you mean 'mean_image'?); known: ",
        ),
        (
            {"methods": [{"name": "mean_image", "params": {"image_sise": 4}}]},
            "methods.0.params.image_sise: unknown key (did you mean 'image_size'?); allowed: image_size,",
        ),
        (
            {"methods": [{"name": "mean_image", "grid": {"smoothing": [1, -1]}}]},
            "methods.0.grid.smoothing: input should be greater than or equal to 0 (got -1)",
        ),
        (
            {"methods": [{"name": "mean_image", "zip": {"smoothing": [1, 2], "image_size": [8]}}]},
            "methods.0.zip: lists that change together must be equally long, these are ",
        ),
        (
            {
                "methods": [
                    {"name": "mean_image", "params": {"pooling": "max"}, "grid": {"pooling": ["mean"]}}
                ]
            },
            "methods.0.params: 'pooling' is given in more than one of params, grid and zip",
        ),
        (
            {"methods": [{"name": "mean_image", "params": {"pooling": "men"}}]},
            "methods.0.params.pooling: 'men' is not allowed (did you mean 'mean'?); allowed: 'max' or 'mean'",
        ),
        (
            {"methods": [{"name": "mean_image", "resources": {"gpu": 1}}]},
            "methods.0.resources.gpu: unknown key (did you mean 'gpus'?); allowed: cpus, gpus,",
        ),
        (
            {"dataset": {"name": "mvtec_lco", "root": "/x"}},
            "dataset.name: unknown dataset 'mvtec_lco' (did you mean 'mvtec_loco'?); known: autovi, btad, ",
        ),
        ({"dataset": {"name": "demo"}}, "dataset.root: is required"),
        (
            {"dataset": {"name": "mvtec_ad", "root": "/x", "mark": ["a"]}},
            "dataset.mark: unknown key (did you mean 'marks'?); allowed: allow_duplicates, marks, pixels",
        ),
        ({"cache": {"limit_gib": 0}}, "cache.limit_gib: input should be greater than 0 (got 0)"),
        ({"out": "${LADDER_OUTT}/x"}, "out: environment variable LADDER_OUTT is not set"),
        ({"dataset": {"root": "{tree}"}, "categories": ["cap"]}, "dataset.name: is required"),
        (
            {"dataset": {"name": 3, "root": "{tree}"}, "categories": ["cap"]},
            "dataset.name: input should be a",
        ),
        ({"dataset": {"name": ["a"], "root": "{tree}"}}, "dataset.name: input should be a valid string"),
        (
            {"dataset": {"name": None, "root": "{tree}"}},
            "dataset.name: input should be a valid string (got nu",
        ),
        (
            {"dataset": {"name": "mvtec_ad", "root": 7}, "categories": ["cap"]},
            "dataset.root: input should be",
        ),
        ({"dataset": {"name": "mvtec_ad", "root": "/nope"}}, "dataset.root: /nope: no such folder"),
        (
            {"dataset": {"name": "mvtec_ad", "root": "~nosuchuser/x"}},
            "dataset.root: there is no home '~nosuchuser'",
        ),
        (
            {"dataset": {"name": "folder", "root": "{tree}", "train": "x" * 300}},
            "dataset.train: is longer than",
        ),
        (
            {"categories": [1]},
            'categories.0: input should be a valid string (got 1; a text is wanted: write "1"',
        ),
        (
            {"categories": [None]},
            "categories.0: input should be a valid string (got null; a text is wanted: wr",
        ),
        ({"categories": {"a": 1}}, "categories: must be 'all' or a valid list (got a mapping of keys)"),
        ({"seeds": {"a": 1}}, "seeds: must be a valid integer or a valid list (got a mapping of keys)"),
        ({"categories": []}, "categories: must be 'all' or a list should have at least 1 item"),
        (
            {"seeds": True},
            "seeds: must be a valid integer or a valid list (got true; true and false are no n",
        ),
        (
            {"shots": True},
            "shots: must be a valid integer or 'full' (got true; true and false are no numbers)",
        ),
        ({"shots": "1"}, "shots: must be a valid integer or 'full' (got '1'; a number stands without quotes"),
        (
            {"seeds": [2**64]},
            "seeds.0: input should be less than or equal to 9223372036854775807 (got 184467",
        ),
        (
            {"seeds": 10**9},
            "seeds: 1,000,000,000 seeds are more than max_trials: 100,000 allows; a certain seed",
        ),
        (
            {"seeds": "12:30:45"},
            "seeds: must be a valid integer or a valid list (got '12:30:45'; a time is no",
        ),
        ({"keep_maps": "yes"}, "keep_maps: input should be true or false (got 'yes'; write true)"),
        ({"cache": {"enabled": 1}}, "cache.enabled: input should be true or false (got 1)"),
        (
            {"cache": {"limit_gib": float("inf")}},
            "cache.limit_gib: input should be a finite number (got Infinit",
        ),
        (
            {"cache": {"folder": "/etc/passwd"}},
            "cache.folder: /etc/passwd is a file, where a folder is wanted",
        ),
        ({"out": "/etc/passwd"}, "out: /etc/passwd is a file, where a folder is wanted"),
        ({"out": "/etc/passwd/run"}, "out: /etc/passwd is a file, where a folder is wanted"),
        ({"out": ""}, "out: is empty, and no path"),
        ({"out": "~nosuchuser/x"}, "out: there is no home '~nosuchuser' on this machine"),
        ({"out": "x" * 300}, "out: is longer than a path can be (255 bytes a name, 4096 in all)"),
        ({"weights": "~nosuchuser/w.pth"}, "weights: there is no home '~nosuchuser' on this machine"),
        ({"support": {"rule": "manifest"}}, "support.manifest: is what the rule draws from"),
        (
            {"support": {"rule": "manifest", "manifest": "/dev/full"}},
            "support.manifest: /dev/full is no regular",
        ),
        ({"support": {"rule": "manifest", "manifest": "/nope"}}, "support.manifest: no file /nope"),
        (
            {"methods": [{"name": "mean_image", "params": {"image_size": 10**12}}]},
            "methods.0.params.image_size: input should be less than or equal to 8192 (got 1000000000000)",
        ),
        (
            {"methods": [{"name": "mean_image", "params": {"image_size": True}}]},
            "methods.0.params.image_size: input should be a valid integer (got true; true and false are no",
        ),
        (
            {"methods": [{"name": "patchcore", "grid": {k: list(range(1, 400)) for k in AXES}}]},
            "methods.0: 63,521,199 combinations of hyper-parameters are more than max_trials: 100,000",
        ),
        (
            {"methods": [{"name": "patchcore", "params": {"weights": "x" * 300}}]},
            "methods.0.params.weights: is longer than a path can be",
        ),
        (
            {"methods": [{"name": "patchcore", "params": {"dimension": 2**63}}]},
            "methods.0.params.dimension: is beyond what 64 bits hold (got 9223372036854775808)",
        ),
        *(
            (
                {"methods": [{"name": "mean_image", "resources": {key: value}}]},
                f"methods.0.resources.{key}: {said}",
            )
            for key, value, said in (
                ("gpus", 1.5, "above 1, GPUs are whole ones"),
                ("gpus", 1e-5, "is 0 or at least 0.0001"),
                ("cpus", 1e-5, "input should be greater than or equal to 0.0001"),
                ("gpus", True, "input should be a valid number (got true"),
                ("gpus", float("inf"), "input should be a finite number"),
                ("cpus", 1e300, "input should be less than or equal to 4096"),
                ("timeout_minutes", 1e-300, "input should be greater than or equal to 0.001"),
                ("stack", 10**9, "input should be less than or equal to 10000"),
            )
        ),
    ],
)
def test_one_mistake_is_one_line_with_place_value_and_what_is_allowed(
    sweep_file: Write, tree: Path, keys: dict[str, Any], line: str
):
    if "{tree}" in str(keys):
        keys = json.loads(json.dumps(keys).replace("{tree}", str(tree)))
    found = problems(sweep_file(**keys))
    assert len(found) == 1, found
    assert found[0].startswith(line.format(tree=tree))


def test_everything_wrong_is_said_at_once(sweep_file: Write):
    path = sweep_file(
        sedes=1,
        shots=[0],
        metrics=["aurox"],
        out="${NOT_SET_ANYWHERE}/run",
        methods=[{"name": "nothing"}, {"name": "mean_image", "params": {"image_size": "big"}}],
    )
    places = [line.partition(":")[0] for line in problems(path)]
    assert places == [
        "out",
        "shots.0",
        "sedes",
        "methods.0.name",
        "methods.1.params.image_size",
        "metrics.0",
    ]


def test_a_key_given_twice_names_its_line(sweep_file: Write):
    path = sweep_file()
    path.write_text(path.read_text() + "shots: [2]\n")
    last = len(path.read_text().splitlines())
    assert problems(path) == [f"not valid YAML: line {last}: key 'shots' is given twice"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1", "not valid YAML: line 1: "),
        ("- a", "a sweep file is a mapping of keys, this is a list"),
        ("# nothing", "a sweep file is a mapping of keys, this is empty"),
    ],
)
def test_what_is_no_sweep_file_is_refused(tmp_path: Path, text: str, line: str):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert problems(path)[0].startswith(line)


def test_a_missing_file_names_the_nearest(sweep_file: Write):
    path = sweep_file()
    with pytest.raises(
        ConfigError, match=r"swep\.yaml: No such file or directory \(did you mean '.*sweep\.yaml'\?\)"
    ):
        load(path.with_name("swep.yaml"))


def test_environment_variables_and_their_defaults(
    sweep_file: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("LADDER_TEST", str(tmp_path))
    monkeypatch.setenv("EMPTY", "")
    path = sweep_file(out="${LADDER_TEST}/run", name="${EMPTY:-plan}-${LADDER_TEST_NAME:-b}")
    config = load(path, (), CHECKS)
    assert (config.out, config.name) == (tmp_path / "run", "plan-b")
    assert problems(path, "out=${EMPTY}/x") == ["out: environment variable EMPTY is empty"]


def test_an_override_spares_one_the_variable_that_it_replaces(sweep_file: Write, tmp_path: Path):
    path = sweep_file(out="${NOT_SET_ANYWHERE}/run")
    assert load(path, [f"out={tmp_path}"], CHECKS).out == tmp_path


def test_overrides_replace_values_by_dotted_path_index_and_name(sweep_file: Write):
    path = sweep_file()
    words = [
        "shots=[2, full]",
        "methods.mean_image.params.image_size=8",
        "methods.0.params.pooling=mean",
        "seeds=3",
    ]
    config = load(path, words, CHECKS)
    assert config.shot_list == [2, None]
    assert config.methods[0].params == {"image_size": 8, "pooling": "mean"}
    assert list(config.seed_list) == [0, 1, 2]


@pytest.mark.parametrize(
    ("word", "place", "value"),
    [
        ("out=/tmp/runs/try #2", "out", Path("/tmp/runs/try #2")),
        ("out=/tmp/a: 3", "out", Path("/tmp/a: 3")),
        ("dataset.root=/data/100% #1", "dataset.root", Path("/data/100% #1")),
        ("name=007", "name", "007"),
        ("name=null", "name", "null"),
        ("name='007'", "name", "007"),
        ("weights=2024", "weights", "2024"),
        ("weights=null", "weights", None),
        ("weights=", "weights", None),
        ("categories.0=01", "categories", ["01"]),
        ("categories=[01, on, 2024-01-02]", "categories", ["01", "on", "2024-01-02"]),
        ("methods.patchcore.params.backbone=1e3", "methods.0.params", {"backbone": "1e3"}),
        ("methods.0.params.precision=16 #", "methods.0.params", {"precision": "16 #"}),
        ("methods.0.params.crop=64", "methods.0.params", {"crop": 64}),
        ("methods.0.params.weights=~", "methods.0.params", {"weights": None}),
        ("dataset.train=12", "dataset.train", "12"),
        ("cache.enabled=false", "cache.enabled", False),
        ("seeds=[3, 4]", "seeds", [3, 4]),
    ],
)
def test_text_on_the_command_line_is_text(sweep_file: Write, word: str, place: str, value: Any):
    """What stands behind the sign is what the shell handed over, where the key takes nothing but text."""
    folder = {"name": "folder", "root": "/x"}
    path = sweep_file(categories=["x"], methods=[{"name": "patchcore"}], dataset=folder)
    here: Any = load(path, [word], (), kinds)
    for step in place.split("."):
        here = here[int(step)] if step.isdigit() else getattr(here, step)
    assert here == value


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("seeds=3 # three", "seeds: must be a valid integer or a valid list (got '3 # three')"),
        ("methods.²=x", "methods.²: no such place in the sweep file to override"),
        (".".join("a" * 5000) + "=1", "a.a.a"),
        (
            "seeds=&a [*a]",
            "seeds: '&a [*a]' on the command line is not valid YAML (line 1: the alias *a stands",
        ),
        (
            "seeds=12:30:45",
            "seeds: must be a valid integer or a valid list (got '12:30:45'; a time is no number)",
        ),
        ("name=\udcff", "name: '\\udcff' is not UTF-8"),
        ("shots", "'shots' on the command line is not key=value"),
        ("shots=[", "shots: '[' on the command line is not valid YAML"),
        ("methods.psad.params.k=1", "methods.psad.params.k: no such place in the sweep file to override"),
        ("sots=1", "sots: unknown key (did you mean 'shots'?); allowed: "),
        ("shots=0", "shots: must be greater than 0 or 'full' (got 0)"),
    ],
)
def test_wrong_overrides_are_problems_like_any_other(sweep_file: Write, word: str, line: str):
    assert problems(sweep_file(), word)[0].startswith(line)


def test_an_override_by_a_name_that_two_entries_have_is_refused(sweep_file: Write):
    path = sweep_file(methods=[{"name": "mean_image"}, {"name": "mean_image", "params": {"image_size": 8}}])
    said = (
        "methods.mean_image.params.image_size: 2 entries are called 'mean_image'; say which by number: [0, 1]"
    )
    assert problems(path, "methods.mean_image.params.image_size=9") == [said]
    assert load(path, ["methods.1.params.image_size=9"]).methods[1].params == {"image_size": 9}


def test_relative_paths_become_absolute(sweep_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    config = load(sweep_file(out="here", dataset={"name": "mvtec_ad", "root": "data"}))
    assert (config.out, config.dataset.root) == (tmp_path / "here", tmp_path / "data")


def test_seeds_and_shots_lose_repetitions_and_keep_their_order():
    config = validated(seeds=[3, 0, 3], shots=[4, "full", 4, 1])
    assert (config.seed_list, config.shot_list) == ([3, 0], [4, None, 1])


def test_a_config_survives_its_own_json():
    config = validated(shots=[1, "full"])
    assert SweepConfig.model_validate(config.model_dump(mode="json")) == config


def validated(**keys: Any) -> SweepConfig:
    content = {"name": "t", "dataset": {"name": "demo", "root": "/x"}, "methods": [{"name": "m"}]}
    config = validate(SweepConfig, content | keys)
    assert isinstance(config, SweepConfig)
    return config


@pytest.mark.parametrize("wrong", ["nan", "inf"])
def test_numbers_that_are_none_are_refused_in_hyper_parameters(wrong: str):
    from harness.params import resolve
    from methods.mean_image import MeanImage

    with pytest.raises(Problem, match="smoothing: input should be"):
        resolve(MeanImage, {"smoothing": float(wrong)})


# --- the schema for editors -------------------------------------------------------------------------------


def test_the_exported_schema_is_the_one_of_the_code():
    assert SCHEMA.read_text() == json_schema(), (
        f"run: python -m harness.sweep --schema > {SCHEMA.relative_to(ROOT)}"
    )


CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_config_names_the_schema_and_fits_it(path: Path):
    assert path.read_text().splitlines()[0] == "# yaml-language-server: $schema=schema/sweep.schema.json"
    jsonschema.validate(yaml.safe_load(path.read_text()), json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize(
    "keys", [{"shots": "full"}, {"shots": 4}, {"seeds": [1, 2]}, {"categories": ["a/b"]}]
)
def test_the_schema_allows_what_the_code_allows(keys: dict[str, Any]):
    content = {"name": "t", "dataset": {"name": "demo", "root": "x", "marks": []}, "methods": [{"name": "m"}]}
    jsonschema.validate(content | keys, json.loads(SCHEMA.read_text()))
    validated(**keys)


# --- the command line -------------------------------------------------------------------------------------

PROBE = """
import sys
from harness.sweep import main
code = main(sys.argv[1:])
assert not {"ray", "torch"} & set(sys.modules), "a wrong sweep file must not wait for ray or torch"
sys.exit(code)
"""


def refused(*words: str | Path) -> tuple[str, float]:
    began = cpu_seconds()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *map(str, words)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    return done.stderr, cpu_seconds() - began


def refused_here(*words: str | Path) -> str:
    done = sweep_here(*words)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


def test_unknown_method_and_parameter_exit_2_in_3_seconds_without_ray_and_torch(
    sweep_file: Write, tmp_path: Path
):
    methods = [{"name": "patchcor"}, {"name": "patchcore", "params": {"coreset_ration": 0.1}}]
    path = sweep_file(methods=methods)
    said, seconds = refused(path)
    assert said.splitlines()[0] == "error: 2 problems, nothing was started:"
    assert f"  {path}: methods.0.name: unknown method 'patchcor' (did you mean 'patchcore'?)" in said
    assert f"  {path}: methods.1.params.coreset_ration: unknown key (did you mean 'coreset_ratio'?)" in said
    assert seconds < 3
    assert not (tmp_path / "run").exists()


def test_a_missing_root_and_missing_weights_are_named_before_anything_starts(
    sweep_file: Write, tmp_path: Path
):
    weights = tmp_path / "none.safetensors"
    methods = [{"name": "patchcore", "params": {"weights": str(weights)}}]
    path = sweep_file(methods=methods)
    said = refused_here(path)
    assert said.strip() == f"error: {path}: methods.0 (patchcore): weights: no file {weights}"
    said = refused_here(sweep_file(dataset={"name": "mvtec_ad", "root": str(tmp_path / "nowhere")}))
    assert said.strip().startswith(f"error: {path}: dataset.root: {tmp_path / 'nowhere'}: no such folder")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["--only", "methd=x"],
            "--only 'methd=x': unknown axis 'methd' (did you mean 'method'?); known: method,",
        ),
        (
            ["--only", "method=mean_imag"],
            "--only method=mean_imag: no trial has it (did you mean 'mean_image'?)",
        ),
        (["--retry", "fail"], "--retry 'fail' is no status (did you mean 'failed'?); known: ok, failed,"),
    ],
)
def test_wrong_options_say_what_is_allowed(sweep_file: Write, words: list[str], line: str):
    said = refused_here(sweep_file(), *words)
    assert said.startswith(f"error: {line}")

"""Whatever a sweep file says, it is planned or refused: in words that name the file, soon, in little memory.

`LADDER_FUZZ=3000 pytest tests/test_config_fuzz.py` tries so many files of each kind instead of a few.
"""

import io
import os
import re
import resource
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from copy import deepcopy
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml
from conftest import write_tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import sweep
from harness.errors import WeightsError
from methods.shared import weights
from methods.shared.backbones import names
from methods.shared.openclip import spec

MANY = int(os.environ.get("LADDER_FUZZ", "0"))
SECONDS, GIB = 10, 1 << 30
FEW = settings(
    max_examples=MANY or 120,
    deadline=None,  # of the wall; what counts is below
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a tiny data set; neither a network nor timm, which takes seconds to load, is asked."""
    folder = tmp_path_factory.mktemp("fuzz")
    write_tree(folder / "data", ("bolt", "cap"), train=3, test=2, side=8)

    def offline(name: str, pretrained: str | None = None) -> NoReturn:
        raise WeightsError(f"the weights of {name!r} are nowhere")

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(names, "ask", lambda *backbones: {})
        patch.setattr(weights, "_own", offline)
        patch.setattr(spec, "_entry", offline)
        yield folder


BASES: list[dict[str, Any]] = [
    {
        "name": "a",
        "dataset": {"name": "mvtec_ad", "root": "data", "marks": ["m"]},
        "categories": ["bolt", "cap"],
        "shots": [1, 2, "full"],
        "seeds": 2,
        "methods": [
            {"name": "mean_image", "grid": {"image_size": [8, 16]}, "zip": {"smoothing": [0, 1.5]}},
            {
                "name": "mean_image",
                "params": {"pooling": "mean"},
                "categories": ["cap"],
                "shots": 1,
                "seeds": [0],
            },
        ],
        "metrics": ["auroc", "aupro"],
        "out": "runs/a",
        "cache": {"folder": "store", "limit_gib": 1.5, "enabled": True},
    },
    {
        "name": "b",
        "dataset": {"name": "folder", "root": "data", "abnormal": ["test/square"], "labels": {"square": "x"}},
        "categories": "all",
        "shots": "full",
        "seeds": [3, 1],
        "support": {"rule": "first_k"},
        "weights": "demo",
        "methods": [
            {"name": "patchcore", "params": {"layers": ["layer2"], "crop": 64, "image_size": 96}},
            {"name": "winclip", "params": {"image_size": 48, "scales": [2]}},
            {"name": "psad", "resources": {"gpus": 0.25, "cpus": 2, "timeout_minutes": 60, "stack": 2}},
            {"name": "efficientad", "params": {"image_size": 64, "steps": 5}},
        ],
        "unit_trials": 3,
        "keep_maps": False,
    },
]
# fmt: off
WORDS = [
    "name", "root", "params", "grid", "zip", "resources", "dataset", "shots", "seeds", "weights", "rule",
    "full", "manifest", "folder", "gpus", "layers", "all", "demo", "data", "bolt", "mean_image",
    "mvtec_ad", "methods", "~/x", "~nosuchuser/x", "/etc/passwd", "/dev/full", "/dev/zero", "data/bolt",
    "${HOME}", "${NOWHERE_SET}", "${X:-y}", "01", "on", "no", "null", "true", "12:30:45", "2024-02-30",
    "1e3", "1_000", "../..", "a/../b", "<<",
]
RAW = [
    "!!int abc", "!!map [1]", "!!timestamp x", "!!python/name:os.system", "&a [*a]", "*nowhere",
    "2024-02-30", "? [a]", "{<<: 3}", "{<<: [{a: 1}, {b: 2}]}", '"\\U00110000"', '"\\ud800"', '"\\0"',
    "'", "@", "a: b", "12:30:45", "[1, 2", "}", "# x", "--- x", "%TAG ! x", "{a: 1, a: 2}", "!!set {a}",
    "0x1F", "0o17", "-", "?", ": x", "!", "&", "*", ">-", "|", "null", "~", "=", "<<", "9" * 5000,
    "[" * 400, "- " * 400, "\t", "\ufeff", "\x07", "",
]
# fmt: on
SCALARS = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from([None, True, False, "", " ", "\n", "a\nb", "\x85", "é" * 200, "x" * 300, "x/" * 3000]),
    st.sampled_from([0, -1, 1, 3, 2**31, 2**53, 2**63, 2**64, 10**9, 10**18, 10**30, -(10**18)]),
    st.sampled_from([0.0, -0.0, 0.5, 1.5, 1e-300, 1e300, float("inf"), float("-inf"), float("nan"), 1e12]),
    st.text(max_size=8),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
    ),
    max_leaves=8,
)
# What a value may well be instead.
NEAR = {
    int: (0, 1, 2, 5, 7, 64, 128, 1000, 10_000, 100_000, 100_001),
    float: (0.1, 0.5, 1, 2.0, 30),
    str: (
        "all",
        "demo",
        "full",
        "bolt",
        "cap",
        "a b#c",
        "x.y",
        "mean_image",
        "winclip",
        "clip",
        "clip_lad",
        "auroc",
    ),
    bool: (True, False),
    list: ([], [1], [1, 2, 3], ["bolt"], ["layer1", "layer3"], ["full"]),
    dict: ({}, {"rule": "nested"}, {"name": "mean_image"}, {"image_size": 32}, {"image_size": [16, 32, 64]}),
}
LARGE = st.sampled_from(
    [list(range(4000)), ["x"] * 4000, {str(i): [1, 2] for i in range(40)}, [[1] * 200] * 20]
)


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to everything inside a value, itself left out."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [way for key in keys for way in ((*here, key), *places(value[key], (*here, key)))]


def at(value: Any, way: tuple[Any, ...]) -> Any:
    """What lies at the end of a way."""
    for key in way:
        value = value[key]
    return value


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A sweep file with up to four things changed, taken away, put in or moved."""
    content = deepcopy(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.sampled_from((0, 1, 1, 1, 2, 4)))):
        ways = places(content)
        if not ways:
            break
        *to, last = draw(st.sampled_from(ways))
        holder = at(content, tuple(to))
        match draw(st.sampled_from(("put", "put", "near", "large", "drop", "add", "move", "list", "key"))):
            case "put":
                holder[last] = draw(VALUES)
            case "near":
                holder[last] = draw(st.sampled_from(NEAR.get(type(holder[last]), (None,))))
            case "large":
                holder[last] = deepcopy(draw(LARGE))
            case "drop":
                del holder[last]
            case "add" if isinstance(holder, dict):
                holder[draw(st.sampled_from(WORDS))] = draw(VALUES)
            case "add":
                holder.append(draw(VALUES))
            case "move":
                holder[last] = deepcopy(at(content, draw(st.sampled_from(ways))))
            case "list":
                holder[last] = [holder[last]]
            case "key" if isinstance(holder, dict):
                holder[draw(st.sampled_from(WORDS))] = holder.pop(last)
            case _:
                pass
    return content


@st.composite
def written(draw: st.DrawFn) -> str:
    """A mutated file as text, sometimes with a raw piece of YAML in place of a value or a line."""
    text = yaml.safe_dump(draw(mutated()), allow_unicode=draw(st.booleans()), width=1000)
    if draw(st.sampled_from((False, False, True))):
        lines = text.splitlines()
        line, piece = draw(st.integers(0, len(lines) - 1)), draw(st.sampled_from(RAW))
        key, colon, _ = lines[line].partition(": ")
        lines[line] = f"{key}{colon}{piece}" if colon and draw(st.booleans()) else piece
        text = "\n".join(lines)
    return text


KEYS = st.one_of(
    st.sampled_from(
        ["seeds", "out", "name", "shots", "dataset", "dataset.root", "categories.0", "methods.0", "weights"]
    ),
    st.sampled_from(
        ["methods.mean_image.params.image_size", "methods.1.grid", "methods.²", "cache.x.y", "a." * 3000]
    ),
    st.lists(st.sampled_from([*WORDS, "0", "1", "methods"]), min_size=1, max_size=4).map(".".join),
)
WORD = st.builds(lambda key, value: f"{key}={value}", KEYS, st.one_of(st.sampled_from(RAW), SCALARS.map(str)))
OVERRIDES = st.one_of(st.just([]), st.just([]), st.lists(WORD, max_size=2))


def ends_well(place: Path, content: str | bytes, words: list[str]) -> int:
    """Plan a file as the command line does; its exit code, after what it says has been looked at."""
    path = place / "sweep.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    out, err = io.StringIO(), io.StringIO()
    began = time.process_time()
    with redirect_stdout(out), redirect_stderr(err):
        code = sweep.main([str(path), "--dry-run", *words])
    assert time.process_time() - began < SECONDS
    assert code in (0, 2)
    assert bool(code) == bool(err.getvalue())
    if code:
        look(err.getvalue().rstrip("\n"), path)
    return code


def look(said: str, path: Path) -> None:
    """What is refused names the file in every line, and counts its lines."""
    first, *rest = said.split("\n")
    many = re.fullmatch(r"error: ([0-9,]+) problems, nothing was started:", first)
    lines = [line[2:] for line in rest] if many else [first.removeprefix("error: ")]
    more = re.fullmatch(r"and ([0-9,]+) more", lines[-1])
    number = len(lines) if more is None else len(lines) - 1 + int(more[1].replace(",", ""))
    assert number == (int(many[1].replace(",", "")) if many else 1)
    assert all(line.startswith(f"{path}: ") for line in lines[: len(lines) - bool(more)])
    assert all(len(line) < 4000 for line in lines)


@pytest.fixture(autouse=True)
def _in_little_memory() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < GIB


def test_the_files_that_are_mutated_can_be_planned(place: Path):
    assert [ends_well(place, yaml.safe_dump(base), []) for base in BASES] == [0, 0]


@FEW
@given(content=written(), words=OVERRIDES)
def test_mutated_files(place: Path, content: str, words: list[str]):
    ends_well(place, content, words)


@FEW
@given(
    content=st.one_of(
        st.text(max_size=200), st.binary(max_size=200), st.text("[]{}:-,&*!?|>'\"%@` \n#<=ab01")
    )
)
def test_any_text(place: Path, content: str | bytes):
    assert ends_well(place, content, []) == 2

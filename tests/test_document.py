"""YAML as plain data: what scalars stand for, what is refused, and that everything is counted first."""

import math
import time
from pathlib import Path
from typing import Any

import pytest

from harness.document import NotYaml, parse, read
from harness.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[01, on, no, off, yes, y, 2024-01-02, 12:30:45, 1_000, 007, 08, v1, +, 1.2.3]", None),
        ("[1, -2, +3, 0, 0x1F, 0o17]", [1, -2, 3, 0, 31, 15]),
        ("[1.5, .5, 5., 1e3, 1e-3, 1.5E+2, -.inf]", [1.5, 0.5, 5.0, 1000.0, 0.001, 150.0, -math.inf]),
        ("[true, True, FALSE, null, ~, Null, ]", [True, True, False, None, None, None]),
        ("['1', \"true\", '', !!str 7, ! 8]", ["1", "true", "", "7", "8"]),
        ("[!!int 7, !!float 3, !!bool true, !!null ~]", [7, 3, True, None]),
        ("{1: a, on: b, null: c, 2.0: d}", {"1": "a", "on": "b", "null": "c", "2.0": "d"}),
        ("a: |\n  x #y\nb: >\n  p\n  q\n", {"a": "x #y\n", "b": "p q\n"}),
        ('"\\ud83d\\ude00"', "😀"),  # as JSON writes it
        ("", None),
        ("# nothing", None),
        ("{a: &x [1], b: *x}", {"a": [1], "b": [1]}),
        ("k: &k key\n*k : 3", {"k": "key", "key": 3}),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any):
    expected = (
        [word.strip() for word in text.strip("[]").split(",")] if value is None and text[:1] == "[" else value
    )
    assert parse(text) == expected


def test_merge_keys():
    """Own keys win over merged ones, and of several mappings the first."""
    base = "base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\n"
    found = parse(base + "one: {y: 9, <<: *b}\ntwo:\n  <<: [*m, *b]\n  w: 5\n'<<': text")
    assert found["one"] == {"x": 1, "y": 9}
    assert found["two"] == {"y": 3, "z": 4, "x": 1, "w": 5}
    assert found["<<"] == "text"


def test_what_an_alias_stands_for_is_changed_alone():
    found = parse("a: &x {p: [1]}\nb: *x\nc: {<<: *x}")
    found["a"]["p"].append(2)
    assert found["b"] == found["c"] == {"p": [1]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a [*a]", "line 1: the alias *a stands inside itself"),
        ("b: 1\na: *q", "line 2: the alias *q is not known up to here"),
        ("a: 1\nb: 2\na: 3", "line 3: key 'a' is given twice"),
        ("? [a, b]\n: 1", "line 1: a key is a plain text"),
        ("{{a: 1}: 2}", "line 1: a key is a plain text"),
        ("<<: 3", "line 1: << takes a mapping, or a list of mappings"),
        ("!!map [1]", "line 1: the tag !!map is not known here"),
        ("!!set {a}", "line 1: the tag !!set is not known here"),
        ("a: !!int abc", "line 1: 'abc' is not what the tag !!int says"),
        ("a: !!bool xyz", "line 1: 'xyz' is not what the tag !!bool says"),
        ("a: !!float abc", "line 1: 'abc' is not what the tag !!float says"),
        ("a: !!timestamp 2024-01-02", "the tag !!timestamp says, or the tag is unknown"),
        ("a: !!python/object/apply:os.system [x]", "the tag !!python/object/apply:os.system is not known"),
        ("a: " + "9" * 5000, "line 1: a number of 5000 digits"),
        ('a: "\\U00110000"', "line 1: a character that does not exist"),
        ('a: "\\ud800"', "line 1: half a character"),
        ('a: "x\\0y"', "line 1: a null character"),
        ("[" * 1000, "line 1: nested more than 50 levels deep"),
        ("- " * 1000, "line 1: nested more than 50 levels deep"),
        ("? " * 1000, "line 1: nested more than 50 levels deep"),
        ("a: {" * 1000, "nested more than 50 levels deep"),
        ("--- a\n--- b", "line 2: a second document begins here"),
        ("a: [1", "line 1: while parsing a flow sequence expected ',' or ']'"),
        ("a: b: c", "line 1: mapping values are not allowed here"),
        ("a:\n\t- b", "line 2: "),
        ("a: b\nc: \x01", "line 2: the unprintable character '\\x01'"),
        ("%YAML 9.9\n---\na: 1", "found incompatible YAML document"),
    ],
)
def test_what_is_no_plain_data_is_refused_with_its_line(text: str, said: str):
    with pytest.raises(NotYaml) as caught:
        parse(text)
    assert said in caught.value.sentences[0]


def test_all_that_is_not_plain_is_said_at_once():
    with pytest.raises(NotYaml) as caught:
        parse("a: 1\na: 2\nb: *q\nc: !!set {x}")
    assert [sentence.partition(":")[0] for sentence in caught.value.sentences] == [
        "line 2",
        "line 3",
        "line 4",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{c}: &{c} [{','.join([f'*{chr(ord(c) - 1)}'] * 10)}]\n" for c in "bcdefghij"),
        "a: &a {k: v}\nb: [" + "*a," * 3_000 + "]",
        "[" + "1," * 6_000 + "]",
    ],
)
def test_a_bomb_is_counted_and_not_built(text: str):
    began = time.process_time()
    with pytest.raises(NotYaml, match=r"more than 5,000 values, aliases followed"):
        parse(text, values=5_000)
    assert time.process_time() - began < 3


def test_everything_may_stay_a_text():
    assert parse("a: [037, 37, 1.0, null, true]", texts=True) == {"a": ["037", "37", "1.0", "null", "true"]}


def test_files_that_are_none(tmp_path: Path):
    (tmp_path / "big.yaml").write_text("# " + "x" * (1 << 18))
    (tmp_path / "utf16.yaml").write_bytes("a: é".encode("utf-16"))
    (tmp_path / "bom.yaml").write_bytes("\ufeffa: 1\r\nb: 2\r\n".encode())
    assert read(tmp_path / "bom.yaml") == {"a": 1, "b": 2}
    for path, said in (
        (tmp_path / "big.yaml", "is larger than the 256 KiB that it may have"),
        (tmp_path / "utf16.yaml", "not UTF-8 text (byte 0)"),
        (tmp_path, "is a folder, where a file is wanted"),
        (Path("/dev/zero"), "is no regular file"),
        (tmp_path / "a\0b", "embedded null byte"),
        (tmp_path / ("x" * 300), "File name too long"),
        (tmp_path / "bon.yaml", f"No such file or directory (did you mean '{tmp_path / 'bom.yaml'}'?)"),
    ):
        with pytest.raises(ConfigError) as caught:
            read(path)
        assert caught.value.problems == [f"{path}: {said}"]

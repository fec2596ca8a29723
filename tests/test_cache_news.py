"""What a person hears of a store that cannot keep or has lost something: one line, and every trial is ok."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import sweep
from rich.console import Console

from harness.trial import Status
from sweeps.cache_news import cache_news
from sweeps.ledger import COUNTED, NEWS_COLUMNS, News
from sweeps.progress import Progress


@pytest.mark.parametrize(
    ("counters", "words"),
    [
        (None, []),
        ({"x.hits": 3, "evictions": 1}, []),
        ({"unkept": 2, "unkept.ENOSPC": 2}, ["No space left on device"]),
        ({"unkept": 2, "unkept.EACCES": 1, "unkept.ValueError": 1}, ["of a type", "Permission denied"]),
        ({"damaged": 1}, ["damaged"]),
    ],
)
def test_counters_in_words(counters: dict[str, int] | None, words: list[str]):
    lines = sorted(cache_news(None if counters is None else json.dumps(counters)))
    assert len(lines) == len(words)
    assert all(any(word in line for line in lines) for word in words)


def row(**counters: int) -> dict[str, Any]:
    known: dict[str, Any] = dict.fromkeys((*NEWS_COLUMNS, *COUNTED))
    return known | {"method": "m", "status": Status.OK, "artifacts": json.dumps(counters)}


def test_each_is_said_once():
    out = io.StringIO()
    progress = Progress([], Console(file=out, width=200))
    progress.tell(News([row(damaged=1), row(damaged=2), row()], []))
    progress.tell(News([row(damaged=1)], []))
    assert out.getvalue().count("damaged") == 1


def test_a_store_that_cannot_keep_costs_no_trial(sweep_file: Callable[..., Path], tmp_path: Path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "packed").touch()  # where a folder should be: also root cannot write there
    done = sweep(sweep_file(categories=["bolt"], seeds=2), "--backend", "serial")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("cache: arrays cannot be kept (Not a directory)") == 1

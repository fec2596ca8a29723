"""An address where a path is wanted: refused in one line, whatever the key or the option."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, sweep_here

from harness.addresses import local, no_path
from harness.cache import cache_root
from harness.errors import ConfigError
from reports.command import main as reports_main

Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("s3://bucket/run", "copy with `aws s3 sync FROM TO`"),
        ("S3:/bucket/run", "copy with `aws s3 sync FROM TO`"),  # pathlib makes one slash of two
        ("gs://bucket/run", "copy with `gcloud storage rsync -r FROM TO`"),
        ("hdfs://host/run", "copy with `hadoop distcp FROM TO`"),
        ("abfs://box@account/run", "copy with `rclone sync FROM TO`"),
        ("https://host/weights.pth", "download it, and give the path of what you have"),
        ("file:///data/run", "give the path alone: /data/run"),
    ],
)
def test_an_address_is_named_with_what_to_do_instead(text: str, says: str):
    assert no_path(text).startswith(f"{text!r} is an address")
    assert no_path(text).endswith(says) or f"{says}, data before" in no_path(text)
    with pytest.raises(argparse.ArgumentTypeError, match="is an address"):
        local(text)


@pytest.mark.parametrize("text", ["runs/a", "/data/a:b/c", "C:/data", "hf-hub:timm/x", "a:b", "./s3:/x"])
def test_a_path_is_none(text: str):
    assert no_path(text) == ""
    assert local(text) == Path(text)


@pytest.mark.parametrize(
    ("key", "keys"),
    [
        ("out", {"out": "s3://b/run"}),
        ("cache.folder", {"cache": {"folder": "gs://b/cache"}}),
        ("dataset.root", {"dataset": {"name": "mvtec_ad", "root": "s3://b/data"}}),
        ("support.manifest", {"support": {"rule": "manifest", "manifest": "s3://b/m.json"}}),
        ("weights", {"weights": "s3://b/w", "methods": [{"name": "patchcore"}]}),
        (
            "methods.0.params.weights",
            {"methods": [{"name": "patchcore", "params": {"weights": "s3://b/w.pth"}}]},
        ),
        (
            "methods.0.grid.weights",
            {"methods": [{"name": "efficientad", "grid": {"weights": ["gs://b/t", "s3://b/t"]}}]},
        ),
    ],
)
def test_every_key_of_a_sweep_file_that_takes_a_path_refuses_it(
    sweep_file: Write, key: str, keys: dict[str, Any], tmp_path: Path
):
    done = sweep_here(sweep_file(**keys), "--dry-run")
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if "is an address" in line]
    assert said, done.stderr
    assert all(f": {key}: " in line for line in said)
    assert not (tmp_path / "run").exists()


def test_readers_refuse_it_too(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        reports_main(["s3://bucket/run"])
    assert end.value.code == 2
    assert "argument RUN: 's3://bucket/run' is an address" in capsys.readouterr().err


def test_the_folder_of_the_cache_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LADDER_CACHE", "s3://bucket/cache")
    with pytest.raises(ConfigError, match="LADDER_CACHE: 's3://bucket/cache' is an address"):
        cache_root()


def test_every_option_that_is_a_path_goes_through_the_same_door():
    packages = ("harness", "methods", "sweeps", "reports", "training")
    texts = {path: path.read_text() for name in packages for path in (ROOT / name).rglob("*.py")}
    assert sum("type=local" in text for text in texts.values()) > 10
    assert [str(path) for path, text in texts.items() if "type=Path" in text] == []

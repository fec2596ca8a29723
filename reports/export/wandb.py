"""To offline folders of Weights & Biases: one run per trial, grouped by sweep; `wandb sync` uploads them."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from harness.confined import component
from reports.export.records import Record
from reports.export.tools import plain, tool

DIGEST = "ladder.digest"  # beside the run's file, outside of what is uploaded
SILENT = "WANDB_ERROR_REPORTING"
LONGEST_TAG = 64  # characters that W&B takes
BATCH = 200  # runs; a service of W&B takes most of a second to start


def write(sweep: Record, trials: Iterable[Record], out: Path) -> str:
    """Write a sweep and its trials; returns how they are uploaded.

    Raises:
        ConfigError: wandb is not installed.
    """
    os.environ.setdefault(SILENT, "false")  # else it tells its makers of its errors, over the network
    wandb = tool("wandb", "wandb")
    out.mkdir(parents=True, exist_ok=True)
    there = _there(out)
    wanted = (
        (record, kind) for records, kind in (([sweep], "sweep"), (trials, "trial")) for record in records
    )
    for some in _batches(wanted):
        made = [(_run(wandb, sweep, record, kind, there, out), record) for record, kind in some]
        wandb.teardown()  # the service writes behind our back: only when it has ended are the files whole
        for folder, record in made:
            if folder is not None:
                (folder / DIGEST).write_text(record.digest, encoding="ascii")
    return f"wandb sync {out / 'wandb'}/offline-run-*"


def _batches(every: Iterable[tuple[Record, str]]) -> Iterator[list[tuple[Record, str]]]:
    """So many at a time as an interruption may cost."""
    left = iter(every)
    while some := list(islice(left, BATCH)):
        yield some


def _there(out: Path) -> dict[str, list[Path]]:
    """Id of a run -> its folders."""
    found: dict[str, list[Path]] = {}
    for folder in (out / "wandb").glob("offline-run-*-*"):
        found.setdefault(folder.name.split("-", 3)[3], []).append(folder)
    return found


def _run(
    wandb: Any, sweep: Record, record: Record, kind: str, there: Mapping[str, list[Path]], out: Path
) -> Path | None:
    """Begin and end a run; its folder, or None where the one that is there says the same."""
    key = f"{sweep.id[-8:]}-{component(record.id) if kind == 'trial' else kind}"  # W&B takes 64 characters
    old = there.get(key, [])
    if any(_said(folder) == record.digest for folder in old):
        return None
    for folder in old:
        shutil.rmtree(folder)
    run = wandb.init(
        project=component(sweep.name),
        group=sweep.name,
        job_type=kind,
        id=key,
        name=record.name[:128],
        config={**record.params, "tags": dict(record.tags), "status": record.status, **_times(record)},
        tags=[tag[:LONGEST_TAG] for tag in _words(record)],
        settings=_settings(wandb, out, record.tags.get("host", "")),
        reinit="create_new",
    )
    names = plain([*record.metrics])
    run.summary.update({names[name]: value for name, value in record.metrics.items()})
    run.finish(exit_code=0 if record.status in ("ok", "skipped") else 1)
    return Path(run.dir).parent


def _said(folder: Path) -> str:
    note = folder / DIGEST
    return note.read_text(encoding="ascii") if note.is_file() else ""


def _settings(wandb: Any, out: Path, host: str) -> Any:
    """Nothing of this machine, which is not where the run ran, and nothing on the terminal."""
    return wandb.Settings(
        mode="offline",
        root_dir=str(out),
        host=host,
        console="off",
        silent=True,
        disable_git=True,
        disable_code=True,
        disable_job_creation=True,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )


def _times(record: Record) -> dict[str, str]:
    times = {"started_at": record.started, "finished_at": record.finished}
    return {name: time.isoformat() for name, time in times.items() if time}


def _words(record: Record) -> list[str]:
    """What people filter by: status, protocols and marks; each once, none empty."""
    listed = [
        record.status,
        *record.tags.get("protocols", "").split("; "),
        *record.tags.get("marks", "").split("; "),
    ]
    return [word for word in dict.fromkeys(listed) if word]

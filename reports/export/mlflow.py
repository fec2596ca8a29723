"""To a file store of MLflow: an experiment per sweep, in it a run for the sweep and below that one per trial.

`log_batch` writes a file per value and none is ever changed: a record that reads otherwise than at the last
export becomes a new run, and the older one is deleted, as MLflow understands it.
Every call of a file store looks for its run among all of the experiment, so that time grows with the square
of the trials: seconds for hundreds, minutes for thousands.
"""

import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from reports.export.records import Record
from reports.export.tools import plain, tool

ALLOW = "MLFLOW_ALLOW_FILE_STORE"  # since 3.8 MLflow writes to plain files only where this is set
SILENT = "MLFLOW_DISABLE_TELEMETRY"
ID, DIGEST, PARENT = "ladder.id", "ladder.digest", "mlflow.parentRunId"
LONGEST = 6000  # characters of a parameter, and of a tag less than that of some versions
PAGE = 10_000
MANY = 100  # values of each kind that one call may have
_STATES = {"ok": "FINISHED", "skipped": "KILLED"}  # all others: FAILED


def write(sweep: Record, trials: Iterable[Record], out: Path) -> str:
    """Write a sweep and its trials; returns how they are looked at.

    Raises:
        ConfigError: MLflow is not installed.
    """
    os.environ.setdefault(ALLOW, "true")
    os.environ.setdefault(SILENT, "true")  # else it tells its makers of its use, over the network
    mlflow = tool("mlflow", "mlflow")
    client = mlflow.MlflowClient(tracking_uri=out.absolute().as_uri())
    experiment = _experiment(client, sweep.name)
    known = _known(client, experiment)
    parent = _run(client, experiment, known, sweep.id, sweep, {})
    for trial in trials:
        _run(
            client, experiment, known, f"{sweep.id}/{trial.id}", trial, {PARENT: parent, "trial_id": trial.id}
        )
    return f"{ALLOW}=true mlflow ui --backend-store-uri {out}"


def _experiment(client: Any, name: str) -> str:
    found = client.get_experiment_by_name(name)
    return found.experiment_id if found else client.create_experiment(name)


def _known(client: Any, experiment: str) -> dict[str, tuple[str, str, str]]:
    """Id of a record -> run, digest and parent of what is there."""
    found, token = {}, None
    while True:
        page = client.search_runs([experiment], max_results=PAGE, page_token=token)
        for run in page:
            tags = run.data.tags
            if ID in tags and run.info.status != "RUNNING":  # else an export was interrupted there
                found[tags[ID]] = run.info.run_id, tags.get(DIGEST, ""), tags.get(PARENT, "")
            elif ID in tags:
                client.delete_run(run.info.run_id)
        token = page.token
        if not token:
            return found


def _run(
    client: Any,
    experiment: str,
    known: Mapping[str, tuple[str, str, str]],
    key: str,
    record: Record,
    tags: Mapping[str, str],
) -> str:
    """The run of a record: the one that is there if it says the same below the same parent."""
    old, digest, parent = known.get(key, ("", "", ""))
    if old and (digest, parent) == (record.digest, tags.get(PARENT, "")):
        return old
    if old:
        client.delete_run(old)
    kept = {**record.tags, **tags, ID: key, DIGEST: record.digest}
    run = client.create_run(experiment, _millis(record.started), {ID: key}, record.name).info.run_id
    _log(client, run, record, kept)
    client.set_terminated(run, _STATES.get(record.status, "FAILED"), _millis(record.finished))
    return run


def _log(client: Any, run: str, record: Record, kept: Mapping[str, str]) -> None:
    """Everything in as few calls as may be: each looks for the run among all runs of the experiment."""
    entities = tool("mlflow.entities", "mlflow")
    at, names = _millis(record.finished) or 0, plain([*record.metrics])
    metrics = [entities.Metric(names[name], value, at, 0) for name, value in record.metrics.items()]
    params = [entities.Param(name, value) for name, value in _cut(record.params).items()]
    tags = [entities.RunTag(name, value) for name, value in _cut(kept).items()]
    for start in range(0, max(len(metrics), len(params), len(tags)), MANY):
        part = slice(start, start + MANY)
        client.log_batch(run, metrics=metrics[part], params=params[part], tags=tags[part])


def _cut(texts: Mapping[str, str]) -> dict[str, str]:
    names = plain([*texts])
    return {
        names[name]: text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
        for name, text in texts.items()
    }


def _millis(time: datetime | None) -> int | None:
    return None if time is None else int(time.timestamp() * 1000)

"""The files of a run around its tables: lock, configuration, plan."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.errors import DataError, RunLocked
from harness.results import driver
from harness.results.parquet import table_of, write_parquet
from harness.results.reader import PLAN_FILE, SWEEP_FILE, Sweep, config_digest, read_sweep
from harness.results.schema import PLAN, SCHEMA_VERSION
from harness.whole import whole


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold a run directory as its driver, and leave a note that says so.

    Raises:
        RunLocked, DataError: see `held`.
    """
    with held(run):
        write_json(run / driver.FILE, driver.this_process())
        yield


@contextmanager
def held(run: Path, wait: float = 0.0) -> Iterator[None]:
    """Hold a run directory for writing; the lock dies with the process.

    Args:
        run: made where it is missing.
        wait: so many seconds for whoever holds it.

    Raises:
        RunLocked: another driver holds it (named with host and process id).
        DataError: the directory cannot be made or written.
    """
    lock = FileLock(_made(run) / driver.LOCK)
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        raise RunLocked(
            f"{run}: another sweep is writing here ({_holder(run)}); wait or choose another out"
        ) from None
    except OSError as error:
        raise DataError(f"{run / driver.LOCK}: cannot be locked ({error.strerror})") from error
    try:
        yield
    finally:
        lock.release()


def _made(run: Path) -> Path:
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{run}: cannot be made ({error.strerror})") from error
    if not os.access(run, os.W_OK):
        raise DataError(f"{run}: cannot be written")
    return run


def _holder(run: Path) -> str:
    holder = driver.read_driver(run)
    return f"process {holder.pid} on {holder.host}" if holder else "unknown process"


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON atomically.

    Raises:
        DataError: it cannot be written.
    """
    try:
        with whole(path) as hidden:
            hidden.write_text(json.dumps(value, indent=2, default=str) + "\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error


def write_sweep(
    run: Path,
    config: Mapping[str, Any],
    scales: Mapping[str, Any] | None = None,
    cards: Mapping[str, Any] | None = None,
    protocols: Sequence[Mapping[str, Any]] = (),
) -> None:
    """`sweep.json`: the resolved configuration under the version of the result schema.

    Args:
        run: a run directory.
        config: the configuration.
        scales: metric -> what is known of its values (`harness.metrics.scale`). What is there of other
            metrics stays: results may have been scored anew by metrics that the configuration does not name.
        cards: method -> what it declares of itself. What is there of other methods stays: their trials may
            still be in the plan.
        protocols: what it is measured under (`harness.protocols.parts.records`).
    """
    there = _there(run)
    known = {**there.scales, **(scales or {})}, {**there.cards, **(cards or {})}
    _write_sealed(run, config, *known, protocols)


def _write_sealed(
    run: Path,
    config: Mapping[str, Any],
    scales: Mapping[str, Any],
    cards: Mapping[str, Any],
    protocols: Sequence[Mapping[str, Any]],
) -> None:
    """The file with its digest, over what it holds as JSON has it."""
    told = {"config": config, "metrics": scales, "methods": cards}
    told |= {"protocols": protocols} if protocols else {}
    content = json.loads(json.dumps(told, default=str))
    digest = config_digest(content)
    write_json(run / SWEEP_FILE, {"schema_version": SCHEMA_VERSION, "digest": digest, **content})


def _there(run: Path) -> Sweep:
    """The `sweep.json` of a run; an empty one where there is none that can be read."""
    try:
        return read_sweep(run)
    except DataError:
        return Sweep({}, {}, {}, None)


def write_scales(run: Path, scales: Mapping[str, Any]) -> None:
    """Note in the `sweep.json` of a run what is known of the values of further metrics.

    Raises:
        DataError: it cannot be read or written.
    """
    found = read_sweep(run)
    _write_sealed(run, found.config, {**found.scales, **scales}, found.cards, found.protocols)


def write_plan(run: Path, rows: list[dict[str, Any]]) -> None:
    """`plan.parquet`: one row per planned trial, so that a half-finished run knows what is missing.

    Raises:
        DataError: it cannot be written.
    """
    path = run / PLAN_FILE
    try:
        write_parquet(path, table_of(rows, PLAN))
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error

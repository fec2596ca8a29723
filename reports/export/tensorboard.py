"""To event files of TensorBoard: a folder per trial with its scalars and hyper-parameters, one for the sweep.

The bytes depend on the records alone, so that a second export of the same run changes nothing.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.confined import component
from harness.whole import whole
from reports.export.records import Record
from reports.export.tools import tool

FILE = "events.out.tfevents.0.ladder"  # one per folder, in whose name TensorBoard looks for "tfevents"
SWEEP = "sweep"
EXTRA = "tensorboard"


def write(sweep: Record, trials: Iterable[Record], out: Path) -> str:
    """Write a sweep and its trials; returns how they are looked at.

    Raises:
        ConfigError: TensorBoard is not installed.
    """
    folder = out / component(sweep.id)
    _write(folder / SWEEP / FILE, sweep)
    for trial in trials:
        _write(folder / f"{component(trial.name)}-{trial.id[:8]}" / FILE, trial, hyper=True)
    return f"tensorboard --logdir {out}"


def _write(path: Path, record: Record, *, hyper: bool = False) -> None:
    records = tool("tensorboard.summary.writer.record_writer", EXTRA)
    with whole(path, durable=False) as hidden, hidden.open("wb") as file:
        writer = records.RecordWriter(file)
        for event in _events(record, hyper):
            writer.write(event.SerializeToString(deterministic=True))
        writer.flush()


def _events(record: Record, hyper: bool) -> Iterator[Any]:
    event = tool("tensorboard.compat.proto.event_pb2", EXTRA).Event
    ended = record.finished or record.started
    at = ended.timestamp() if ended else 0.0
    yield event(wall_time=at, file_version="brain.Event:2")
    for summary in [*_session(record)] if hyper else []:
        yield event(wall_time=at, summary=summary)
    yield event(wall_time=at, summary=_text(record))
    for name, value in record.metrics.items():
        yield event(wall_time=at, step=0, summary=_scalar(name, value))


def _scalar(name: str, value: float) -> Any:
    return tool("tensorboard.plugins.scalar.summary_v2", EXTRA).scalar_pb(name, value)


def _text(record: Record) -> Any:
    """Everything that is no number, as a table."""
    lines = ["| what | value |", "| --- | --- |", f"| status | {record.status} |"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in {**record.params, **record.tags}.items()]
    return tool("tensorboard.plugins.text.summary_v2", EXTRA).text_pb("trial", "\n".join(lines))


def _cell(value: str) -> str:
    return " ".join(value.replace("|", "\\|").split())


def _session(record: Record) -> Iterator[Any]:
    """What the HParams page reads of a trial: its parameters, and how it ended."""
    hparams = tool("tensorboard.plugins.hparams.summary_v2", EXTRA)
    start = record.started.timestamp() if record.started else 0.0
    values = {name: _value(text) for name, text in record.params.items()}
    yield hparams.hparams_pb(values, trial_id=record.id, start_time_secs=start)
    yield _end(record)


def _value(text: str) -> str | float:
    """A parameter as that page sorts it: numbers as numbers."""
    try:
        return float(text)
    except ValueError:
        return text


def _end(record: Record) -> Any:
    """The end of a session; of the functions that make one, that for it needs TensorFlow."""
    api, data, metadata = (
        tool(f"tensorboard.plugins.hparams.{name}", EXTRA)
        for name in ("api_pb2", "plugin_data_pb2", "metadata")
    )
    status = api.STATUS_SUCCESS if record.status in ("ok", "skipped") else api.STATUS_FAILURE
    end = data.SessionEndInfo(
        status=status, end_time_secs=record.finished.timestamp() if record.finished else 0.0
    )
    said = metadata.create_summary_metadata(data.HParamsPluginData(session_end_info=end))
    summary = tool("tensorboard.compat.proto.summary_pb2", EXTRA).Summary()
    summary.value.add(tag=metadata.SESSION_END_INFO_TAG, metadata=said, tensor=metadata.NULL_TENSOR)
    return summary

"""Every planned trial for the page: what it was, what came of it, what it cost."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from harness.metrics.scale import PERCENT
from reports.frame.cells import SUBSETS
from reports.frame.load import Frame
from reports.frame.naming import metric_of
from reports.page.columns import measurements, printed, thousandths, words
from reports.tables.provenance import sweep_file

LISTED = 8  # support images; of larger supports their number is said
_WORDS = ("variant", "category", "seed", "status")
_DETAILS = (
    *("dataset", "error_type", "reason", "traceback"),
    *("params", "device", "host", "git_commit", "finished_at"),
)
_NUMBERS = ("fit_seconds", "ms_per_image", "peak_rss_mib", "peak_gpu_mib")


def trials(frame: Frame) -> dict[str, Any]:
    """Columns of the trials table and of the main metrics, in the order of the plan; `details` for cards."""
    t = frame.trials
    listed = [_listed(files) for files in t["support"]]
    return {
        "runs": [{"path": str(s.path), "sweep": sweep_file(s)} for s in frame.sources],
        "id": t["trial_id"].tolist(),
        "run": t["run"].tolist(),
        "shots": t["shots"].tolist(),
        "words": {name: words(t[name]) for name in _WORDS},
        "details": {name: words(t[name]) for name in _DETAILS}
        | {"marks": words(map(", ".join, t["marks"])), "support": words(listed)}
        | {"weights": words(map(_weights, t["weights"]))},
        "numbers": {name: measurements(t[name]) for name in _NUMBERS},
        "measures": _measures(frame),
    }


def _listed(files: Any) -> str:
    if files is None or isinstance(files, float):
        return ""
    return ", ".join(files) if len(files) <= LISTED else f"{len(files)} images"


def _weights(listed: Any) -> str:
    if listed is None or isinstance(listed, float):
        return ""
    return ", ".join(f"{w['name']} sha256:{w['sha256']}" for w in listed)


def _measures(frame: Frame) -> list[dict[str, Any]]:
    """The main metric on every subset; of others the mean of logical and structural, or all anomalies."""
    metrics = frame.metrics
    shown = []
    for measure, some in metrics.groupby("measure", sort=False):
        present = [s for s in SUBSETS if s in set(some["subset"])]
        main = metric_of(str(measure)) == frame.main
        subsets = present if main else [s for s in ("mean", "all") if s in present][:1]
        shown += [(not main, _values(frame, some, str(measure), subset)) for subset in subsets]
    return [one for _, one in sorted(shown, key=lambda pair: pair[0])]


def _values(frame: Frame, metrics: pd.DataFrame, measure: str, subset: str) -> dict[str, Any]:
    """Title, values, and what is unusual about them: other digits than usual, and if lower is better."""
    scale = frame.scale(measure)
    by_trial = metrics[metrics["subset"] == subset].drop_duplicates("trial_id").set_index("trial_id")["value"]
    values: Sequence[float] = frame.trials["trial_id"].map(by_trial).tolist()
    title = f"{frame.title(measure)}, {'pooled' if subset == 'all' else subset}"
    found: dict[str, Any] = {"title": title} | ({"lower": True} if scale.higher_is_better is False else {})
    if (scale.unit, scale.decimals) == (PERCENT, 1):
        return found | {"values": thousandths(values)}
    return found | {"values": printed(values, scale), "decimals": scale.decimals}

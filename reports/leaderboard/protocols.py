"""Under which rules numbers came about; those of different rules are on different boards."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from reports.frame.load import Frame
from reports.frame.protocols import asked, told, unasked, under


def under_each(frame: Frame) -> Iterator[tuple[str, Frame]]:
    """Protocols with what was run under them: the frame itself where there is one.

    A protocol is what the run calls it, and a trial may be of several; else the rule for drawing supports.
    """
    labels = [record["label"] for record in told(frame)]
    rules = frame.trials["run"].map({run: _rule(source.config) for run, source in enumerate(frame.sources)})
    # what only a step between two protocols asks for is on no board
    of_none = unasked(frame.trials) if labels else True
    every = [(label, mine) for label in labels if (mine := asked(frame.trials, label)).any()]
    every += [(name, mine) for name in rules.unique() if (mine := rules.eq(name) & of_none).any()]
    for name, mine in every:
        if mine.all() and len(every) == 1:
            yield name, frame
        elif name in labels:
            yield name, under(frame, name)
        else:
            trials = frame.trials[mine]
            metrics = frame.metrics[frame.metrics["trial_id"].isin(trials["trial_id"])]
            yield name, replace(frame, trials=trials, metrics=metrics)


def _rule(config: Mapping[str, Any]) -> str:
    support = config.get("support")
    rule = support.get("rule") if isinstance(support, dict) else support
    return str(rule or "")

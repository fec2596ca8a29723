"""Which nodes of a cluster do their work: what comes of a node is no result of a trial.

A node that refuses (`sweeps.handshake`) gets no more trials at once; one that fails otherwise for reasons of
its own after the second time without a trial that went well in between. The last node is never put aside:
what is wrong may be wrong with one category alone. Trials that it cannot run wait for a node that may join.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, final

from harness.failures import REFUSED, Blame, blame, uncoloured
from harness.trial import Status, TrialResult

STRIKES = 2  # the first may be a disk that was full for a moment
ATTEMPTS = 3  # nodes on which a trial is tried before it is given up


class Verdict(NamedTuple):
    """What becomes of an answer.

    Attributes:
        result: the rows to keep, or None: the trial is to run again, on another node.
        aside: why the node gets no more trials from now on, or None.
        waits: why trials like this one get no more of the node, which is the last, or None.
    """

    result: TrialResult | None
    aside: str | None = None
    waits: str | None = None


@final
@dataclass
class Health:
    """Judges every answer that comes back from a cluster; pure bookkeeping, of the driver.

    Attributes:
        aside: node -> (host, why) of those that get no more trials.
        spoilt: host -> trials that it did not run for reasons of its own.
    """

    aside: dict[str, tuple[str, str]] = field(default_factory=dict)
    spoilt: Counter[str] = field(default_factory=Counter)
    _strikes: Counter[str] = field(default_factory=Counter)
    _tries: Counter[str] = field(default_factory=Counter)

    def judge(self, result: TrialResult, node: str, host: str, others: int, grows: bool = False) -> Verdict:
        """Whether a result stands, and what it says of the node that gave it.

        Args:
            result: of a trial.
            node: which node ran it; any name that tells nodes apart.
            host: its name for people.
            others: how many other nodes could run the trial now.
            grows: whether nodes may join.
        """
        row = dict(result.trial)
        if isinstance(row.get("reason"), str):
            row["reason"] = uncoloured(row["reason"])
        if blame(row) is Blame.TRIAL:
            if row["status"] == Status.OK:
                self._strikes[node] = 0
            return Verdict(replace(result, trial=row))
        return self._against(replace(result, trial=_lost(row, host)), node, host, others, grows)

    def _against(self, result: TrialResult, node: str, host: str, others: int, grows: bool) -> Verdict:
        row = result.trial
        self.spoilt[host] += 1
        self._strikes[node] += 1
        self._tries[row["trial_id"]] += 1
        again = (others > 0 or grows) and self._tries[row["trial_id"]] < ATTEMPTS
        why = str(row["reason"]).removeprefix(_prefix(host)) if self._enough(node, row, others) else None
        kept = None if again else result
        if others:
            return Verdict(kept, aside=self._news(node, host, why))
        return Verdict(kept, waits=why if again else None)

    def _enough(self, node: str, row: Mapping[str, Any], others: int) -> bool:
        # on the last node others may go well between two tries of one and the same trial
        here = 0 if others else self._tries[row["trial_id"]]
        return row["error_type"] == REFUSED or max(self._strikes[node], here) >= STRIKES

    def _news(self, node: str, host: str, why: str | None) -> str | None:
        """The reason, where the node is put aside for it now."""
        if why is None or node in self.aside:
            return None
        self.put_aside(node, host, why)
        return why

    def put_aside(self, node: str, host: str, why: str) -> None:
        """A node gets no more trials, for whatever reason."""
        self.aside.setdefault(node, (host, why))

    def lines(self) -> Iterable[str]:
        """For the end of a sweep: each node that was put aside, and why."""
        for host, why in self.aside.values():
            n = self.spoilt[host]
            went = f", {n} trial{'s' if n > 1 else ''} went elsewhere" if n else ""
            yield f"node {host} was put aside{went}: {_first(why)}"


def _lost(row: dict[str, Any], host: str) -> dict[str, Any]:
    kind = f"{row['error_type']}: " if row.get("error_type") not in (None, REFUSED) else ""
    reason = f"{_prefix(host)}{kind}{row.get('reason') or ''}"
    return row | {
        "status": Status.LOST,
        "reason": reason,
        "host": host,
        "error_type": row.get("error_type") or "NodeFault",
    }


def _prefix(host: str) -> str:
    return f"node {host}: "


def _first(text: str) -> str:
    return (text.strip().splitlines() or [""])[0][:300]

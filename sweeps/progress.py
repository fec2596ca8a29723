"""What a person sees of a running sweep: a live table on a terminal, plain lines elsewhere."""

import socket
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, final

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.results.plain import cause
from harness.trial import Status, Trial
from sweeps.cache_news import cache_news
from sweeps.ledger import Ledger, News

LINE_SECONDS = 30.0  # of a log file: often enough to see that it lives, some hundred lines for an hour


@final
class Progress:
    """Counts what has ended and says how long the rest will take.

    Args:
        trials: what this run is to do.
        console: where to print.
    """

    def __init__(self, trials: Sequence[Trial], console: Console):
        self.console = console
        self.began = time.monotonic()
        self.planned = Counter(trial.method for trial in trials)
        self.ended: dict[str, Counter[str]] = defaultdict(Counter)
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.hits = self.computes = 0
        self.running: Sequence[str] = ()
        self.failures: list[dict[str, Any]] = []
        self.broken: Counter[str] = Counter()  # why trials were not trained together, as was planned
        self.said: set[str] = set()
        self.heard = 0  # lines of the ledger
        self.notes: dict[str, None] = {}  # each once, in order: members of a stack tell the same
        # no line for what takes less than that
        self._line_at = self.began

    @contextmanager
    def shown(self, ledger: Ledger) -> Iterator[Callable[[], None]]:
        """Show the state of a ledger until the block ends; yields what is to be called now and then."""
        # its own thread draws, so that the picture moves while a trial runs
        live = Live(get_renderable=self._table, console=self.console, refresh_per_second=2)
        # in a file every picture would stay, one below the other
        with live if self.console.is_terminal and self.planned else nullcontext():
            try:
                yield lambda: self.look(ledger)
            finally:
                self.look(ledger)

    def look(self, ledger: Ledger) -> None:
        """Take in what happened since the last look."""
        self.tell(ledger.news(self.done))

    def tell(self, news: News) -> None:
        """Count what happened, and print a line if it is time for one."""
        for row in news.ended:
            self.ended[row["method"]][row["status"]] += 1
            # crashed and lost trials have no time of their own
            self.seconds[row["method"]].append(row["total_seconds"] or 0.0)
            self.hits += row["artifact_hits"] or 0
            self.computes += row["artifact_computes"] or 0
            if row["together_error"]:
                self.broken[row["together_error"]] += 1
            self.notes |= dict.fromkeys(row["notes"] or ())
            if row["status"] not in (Status.OK, Status.SKIPPED):
                self.failures.append(row)
            self._say_once(cache_news(row["artifacts"]))
        for line in news.said[self.heard :]:
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)
        self.heard = len(news.said)
        self.running = news.running
        now = time.monotonic()
        if not self.console.is_terminal and now - self._line_at >= LINE_SECONDS:
            self._line_at = now
            self.console.print(self.line())

    def _say_once(self, lines: set[str]) -> None:
        for line in sorted(lines - self.said):
            self.console.print(line, highlight=False, markup=False)
        self.said |= lines

    def line(self) -> str:
        """The state in one line."""
        return (
            f"{self.done}/{sum(self.planned.values())} trials done, {self.failed} not ok, "
            f"{len(self.running)} running, {_duration(time.monotonic() - self.began)} gone, "
            f"{self._left()} left, {self._saved()}"
        )

    @property
    def done(self) -> int:
        """Trials that have ended."""
        return sum(sum(counts.values()) for counts in self.ended.values())

    @property
    def failed(self) -> int:
        """Trials that have ended neither ok nor skipped."""
        return len(self.failures)

    def _left(self) -> str:
        seconds = self.eta_seconds()
        return "?" if seconds is None else f"about {_duration(seconds)}"

    def eta_seconds(self) -> float | None:
        """Seconds until the end: what is left of each method at its mean pace, as parallel as so far."""
        known = [s for seconds in self.seconds.values() for s in seconds]
        if not known or not self.done:
            return None
        # for methods of which nothing has ended yet
        mean_of_all = sum(known) / len(known)
        work = 0.0
        for method, planned in self.planned.items():
            own = self.seconds.get(method)
            work += (planned - sum(self.ended[method].values())) * (
                sum(own) / len(own) if own else mean_of_all
            )
        # measured, not counted: cores, GPU shares and waiting are all in it
        parallelism = sum(known) / max(time.monotonic() - self.began, 1e-9)
        # zero where all that has ended crashed or was skipped
        return work / max(parallelism, 1e-9)

    def _saved(self) -> str:
        asked = self.hits + self.computes
        return f"{self.computes} of {asked} arrays computed" if asked else "nothing shared yet"

    def _table(self) -> Group:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for name in ("method", "done", "ok", "not ok", "seconds each"):
            table.add_column(name, justify="left" if name == "method" else "right")
        for method, planned in self.planned.items():
            table.add_row(method, *self._cells(method, planned))
        total = sum(self.planned.values())
        return Group(ProgressBar(total=total, completed=self.done, width=60), Text(self.line()), table)

    def _cells(self, method: str, planned: int) -> list[str]:
        counts, seconds = self.ended[method], self.seconds[method]
        done = sum(counts.values())
        bad = done - counts[Status.OK] - counts[Status.SKIPPED]
        each = f"{sum(seconds) / len(seconds):.1f}" if seconds else "–"
        return [f"{done}/{planned}", str(counts[Status.OK]), str(bad), each]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def failure_lines(rows: Sequence[dict[str, Any]], most: int = 8) -> list[str]:
    """Failures grouped by status, kind, method and cause, the most frequent first."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["status"], row["error_type"] or "", row["method"], cause(row["reason"])].append(row)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    lines = [
        f"{len(found)} × {status} {method}{f' ({kind})' if kind else ''}: "
        f"{_first_line(found[0]['reason'])}{_where(found)}  [e.g. {found[0]['trial_id']}]"
        for (status, kind, method, _), found in ordered[:most]
    ]
    return lines + ([f"and {len(ordered) - most} more kinds"] if len(ordered) > most else [])


def _where(rows: Sequence[dict[str, Any]], most: int = 3) -> str:
    """The hosts of rows, the one with most of them first; nothing where that is this machine alone."""
    hosts = Counter(row.get("host") for row in rows)
    if set(hosts) <= {None, socket.gethostname()}:
        return ""
    names = [f"{host} ({n})" if len(hosts) > 1 else f"{host}" for host, n in hosts.most_common(most)]
    return f", on {', '.join(names)}" + (f" and {len(hosts) - most} more" if len(hosts) > most else "")


def broken_lines(broken: Counter[str]) -> list[str]:
    """Why training together broke off, the most frequent reason first."""
    return [f"training {n} trials together broke off: {_first_line(why)}" for why, n in broken.most_common()]


def note_lines(notes: Sequence[str], most: int = 8) -> list[str]:
    """What happened on the way, and ended well."""
    lines = [f"note: {text}" for text in notes[:most]]
    return lines + ([f"and {len(notes) - most} more notes"] if len(notes) > most else [])


def _first_line(reason: str | None) -> str:
    text = (reason or "").strip().splitlines()
    # a terminal's line or two; harness.show has the rest
    return (text[0] if text else "no reason given")[:200]

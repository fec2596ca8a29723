"""Run the work units of a sweep on a Ray cluster."""

import logging
import shutil
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import ray

from harness.cache import cache_root
from harness.errors import ConfigError, HeadLost, ResultsError
from harness.signals import handlers_kept
from sweeps import run_log
from sweeps.dispatch import dispatcher_for
from sweeps.dispatch.dispatcher import GPU_SECONDS as PATIENCE
from sweeps.head import Head, watched
from sweeps.ledger import Ledger
from sweeps.plan import WorkUnit
from sweeps.ray.board import Board
from sweeps.ray.cards import Cards
from sweeps.ray.nodes import Nodes, alive, demand
from sweeps.ray.process import plain
from sweeps.ray.quiet import quiet
from sweeps.ray.tuning import run_tune
from sweeps.ray.waiting import Waiting, headline
from sweeps.token import close_token
from sweeps.worker import Setting, slots_here

BARREN_ROUNDS = 3  # so often Tune may come back without a single trial ended
POLL_SECONDS = 0.5
CALLS, CALL_SECONDS = 10, 1.0
LOCAL = "local"


@final
@dataclass(frozen=True)
class Cluster:
    """Where to run.

    Attributes:
        address: "local" for a cluster of this process alone, else as in `ray.init`.
        dashboard: show Ray's dashboard, on this machine's loopback only.
    """

    address: str = LOCAL
    dashboard: bool = False


def run_ray(
    units: Sequence[WorkUnit],
    setting: Setting,
    ledger: Ledger,
    watch: Callable[[], None],
    scratch: Path,
    cluster: Cluster,
    most: int | None = None,
) -> None:
    """Run every trial of every unit on a Ray cluster.

    Results come back to this process, which alone writes: no shared file system is needed for them, and
    no actor whose death would lose them.

    Args:
        units: what to run.
        setting: what the trials share.
        ledger: where results go.
        watch: called about twice a second in the calling thread.
        scratch: a folder for Tune's own files, removed afterwards.
        cluster: where.
        most: trials that are given out as one unit, at most; None decides by how long they take.

    Raises:
        ConfigError: the cluster cannot be reached or has not what the trials ask for.
        ResultsError: results cannot be written any more.
        HeadLost: nobody answers at the cluster's head.
        KeyboardInterrupt: what was finished is kept.
    """
    grows = cluster.address != LOCAL
    with _connected(cluster) as head:

        def look() -> None:
            head.check()
            watch()

        cards = Cards(wanted=any(unit.resources.gpus for unit in units))
        for line in cards.first(alive):
            ledger.say(line)
        nodes = Nodes(cards, ledger.say)
        patience = PATIENCE if grows else 0.0
        dispatcher = dispatcher_for(units, folder=cache_root(), most=most, patience=patience)
        board = Board(dispatcher, nodes, ledger, setting, units, grows)
        waiting = Waiting(board, units, grows)
        ledger.say(headline(nodes.now(), units))
        if cards.wanted and patience and not any(node.gpus for node in nodes.now()):
            ledger.say(f"no node has a GPU: {patience:.0f} s are given to those that may join")
        try:
            _rounds(board, waiting, look, scratch, head)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            if grows and not isinstance(sys.exception(), HeadLost):
                demand([])
            dispatcher.save()
            for line in board.health.lines():
                ledger.say(line)


@contextmanager
def _connected(cluster: Cluster) -> Iterator[Head]:
    warnings.filterwarnings("ignore", module="ray")
    # what workers print would run through the table of progress
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    logging.getLogger("ray.tune.analysis").setLevel(logging.ERROR)  # it misses files that nobody is to write
    options |= {"logging_format": run_log.FORMAT}  # of the run's log, whose handler Ray's loggers have
    # only of a cluster of our own: Ray refuses these for one that it joins
    if cluster.address == LOCAL:
        # GPUs are left to Ray, which asks the driver and obeys CUDA_VISIBLE_DEVICES: naming more is an error
        options |= {"num_cpus": slots_here()}
        # that it made a token is no news; `close_token` sees to it
        logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
        options |= {"include_dashboard": cluster.dashboard, "dashboard_host": "127.0.0.1"}
    try:
        _call(cluster.address)
        with handlers_kept():
            ray.init(address=cluster.address, **options)
    except Exception as error:  # plain ones too: a node that does not come up in time
        raise ConfigError(f"--address {cluster.address}: {' '.join(str(error).split())}") from error
    if cluster.address == LOCAL:
        close_token()  # after init: that is what writes it
    with quiet(), watched(ray.get_runtime_context().gcs_address) as head:
        try:
            yield head
        finally:
            ray.shutdown()  # inside: without a head it might not come back


def _call(address: str) -> None:
    """Try a "host:port": Ray itself tries a wrong one for minutes. A head that is starting is waited for.

    Raises:
        OSError: nobody listens there.
    """
    host, _, port = address.rpartition(":")
    for tries in range(CALLS):
        if not (host and port.isdigit()):
            return  # "auto", and other words that Ray knows
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=CALL_SECONDS).close()
            return
        except OSError:
            if tries + 1 == CALLS:
                raise
            time.sleep(CALL_SECONDS)


def _rounds(board: Board, waiting: Waiting, watch: Callable[[], None], scratch: Path, head: Head) -> None:
    """Experiments until nothing is left; Tune itself may die on the way."""
    barren = 0
    while not board.finished:
        before = len(board.ledger.ended_ids)
        why = _round(board, waiting, watch, scratch)
        if why:
            head.wait()  # a head that is gone ends Tune too, and is no reason to give up trials
        board.all_lost(why)
        barren = barren + 1 if len(board.ledger.ended_ids) == before else 0
        if barren >= BARREN_ROUNDS:
            board.give_up(
                board.dispatcher.rest(), f"Ray Tune came back {barren} times without a result: {why}"
            )


def _round(board: Board, waiting: Waiting, watch: Callable[[], None], scratch: Path) -> str:
    """One experiment, in a thread: this thread watches and can be interrupted. Why it ended early, or ""."""
    said: list[str] = []

    def run() -> None:
        try:
            run_tune(board, waiting, scratch)
        except Exception as error:  # noqa: BLE001 - Tune may die (a memory-monitor kill ends it); we go on
            said.append(plain(f"{type(error).__name__}: {error}"))
            logging.getLogger(__name__).warning("Ray Tune ended early: %s", said[-1])

    # daemon: Ctrl-C need not wait until Tune comes back
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(POLL_SECONDS)
        watch()
        # raised here: what Tune is told from a callback ends in its log
        if board.ledger.fatal:
            raise ResultsError(board.ledger.fatal)
        if board.refusal:
            raise ConfigError(board.refusal)
    return "".join(said)

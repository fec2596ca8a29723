"""What Ray Tune asks of us: which seats to open, whether they go on, what to do when one breaks.

Tune's own notion of a trial is a seat here. Its search algorithm opens seats, each with a placement of its
own that is decided at that moment; its scheduler, asked after every step, gives a seat its next unit or
lets it go. So the number of Tune's trials is that of seats, not of units, and its cost per event stays.
"""

import pickle
from pathlib import Path
from typing import Any, final

from ray import tune
from ray.tune.experiment import Experiment
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import SearchAlgorithm

from sweeps.ray.board import Board
from sweeps.ray.process import plain
from sweeps.ray.seat import Seat, Step
from sweeps.ray.supervisor import Supervisor
from sweeps.ray.waiting import Waiting

NODE = "ray.io/node-id"  # the label that Ray gives to every node


def run_tune(board: Board, waiting: Waiting, scratch: Path) -> None:
    """One experiment, until nothing is left. Tune may die on the way (a memory-monitor kill of a supervisor).

    Args:
        board: decides everything.
        waiting: looks after what cannot start.
        scratch: folder for Tune's own files.
    """
    tune.run(
        tune.with_parameters(Supervisor, setting=board.setting),
        name="seats",
        search_alg=_Openings(board, waiting),
        scheduler=_Turns(board),
        callbacks=[_Arrivals(board), unprinted()],
        storage_path=str(scratch),
        verbose=0,
        # a checkpoint would want a disk that all nodes share, even an empty one
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        # Tune would begin again with the first unit of a seat; the board gives out what is missing
        max_failures=0,
        raise_on_failed_trial=False,
    )


def unprinted() -> TrialProgressCallback:
    """Tune's report, unheard: of a seat that ends without a result it prints, whatever `verbose` is."""
    progress = TrialProgressCallback()
    progress._print = lambda msg: None
    return progress


@final
class _Openings(SearchAlgorithm):
    """Opens seats as the board finds room."""

    def __init__(self, board: Board, waiting: Waiting):
        self._board, self._waiting = board, waiting

    def add_configurations(self, experiments: Any) -> None:
        """Tune says once what all its trials have in common."""
        self._common: Experiment = experiments[0]

    def next_trial(self) -> TuneTrial | None:
        """A seat that can be opened now."""
        self._waiting.look()
        seat = self._board.open()
        return self._tune_trial(seat) if seat else None

    def is_finished(self) -> bool:
        """Whether no seat will be opened any more."""
        return self._board.finished or super().is_finished()

    def _tune_trial(self, seat: Seat) -> TuneTrial:
        return TuneTrial(
            str(self._common.run_identifier),
            trial_id=seat.id,
            storage=self._common.storage,
            placement_group_factory=_placement(seat),
            checkpoint_config=self._common.checkpoint_config,
            # the defaults write parameters and dates into names of folders
            trial_name_creator=lambda trial: trial.trial_id,
            trial_dirname_creator=lambda trial: trial.trial_id,
        )


def _placement(seat: Seat) -> tune.PlacementGroupFactory:
    """A byte of memory for the supervisor, so that it takes no core away, the rest for its workers; one node.

    Beside its workers a supervisor shares their fate: a dead node costs the trials that ran on it, no others.
    """
    gpus = {"GPU": seat.resources.gpus} if seat.resources.gpus else {}
    return tune.PlacementGroupFactory(
        [{"memory": 1}, {"CPU": seat.resources.cpus, **gpus}],
        strategy="STRICT_PACK",
        bundle_label_selector=[{NODE: seat.node}] * 2,
    )


@final
class _Arrivals(tune.Callback):
    """Hands a new seat its first unit."""

    def __init__(self, board: Board):
        self._board = board

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Tune writes a pickle of its callbacks that nobody reads; the board stays out of it."""
        return tune.Callback, ()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The supervisor is up."""
        seat = self._board.seats[trial.trial_id]
        _assign(trial, seat.unit)
        self._board.came_up(seat)


@final
class _Turns(TrialScheduler):
    """Tells Tune after every step whether a seat goes on; looks after those that cannot."""

    def __init__(self, board: Board):
        super().__init__()
        self._board = board

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """What a supervisor has to say, and what it does next."""
        seat = self._board.seats[trial.trial_id]
        step = self._board.heard(seat, pickle.loads(result["heard"]))  # noqa: S301 - from our own supervisor
        return self._turn(trial, step)

    def _turn(self, trial: Any, step: Step) -> str:
        if not step.stays:
            return TrialScheduler.STOP
        if step.unit or step.drains:
            _assign(trial, step.unit)
        elif trial.trial_id in self._board.parked:
            return TrialScheduler.NOOP  # holds what it has, and does nothing
        return TrialScheduler.CONTINUE

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """A seat broke: what Tune knows of it stands in a file."""
        if seat := self._board.seats.get(trial.trial_id):
            self._board.lost(seat, _error_of(trial))

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Asked at every step, and never chooses: Tune starts what is pending by itself."""
        waiting = self._board.stranded()
        ended = waiting + ([self._board.seats[p] for p in self._board.parked] if self._board.finished else [])
        trials = {trial.trial_id: trial for trial in tune_controller.get_live_trials()} if ended else {}
        for seat in ended:
            tune_controller.stop_trial(trials[seat.id])
            self._board.lost(seat, "its node was gone before it began")

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Nothing to do."""

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Nothing to do: the board let it go."""

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Nothing to do."""


def _assign(trial: Any, unit: Any) -> None:
    # before the step that Tune asks for next: calls of one actor keep their order
    trial.temporary_state.ray_actor.assign.remote(unit)


def _error_of(trial: Any) -> str:
    try:
        return plain(Path(trial.error_file).read_text(encoding="utf-8"))
    except (OSError, TypeError):  # Tune has written none
        return "no word from Ray"

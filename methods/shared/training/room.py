"""The training room: a training that is described once runs to its end, whatever happens on the way.

What a method says is a `Training`: modules, optimisers, `batch(step)` (the data of a step and everything
drawn for it) and `step(number, batch)` (takes it and gives the terms of the loss). `train` does the rest. The
state is kept in the trial's scratch folder, and gone on from; losses of every step are looked at, are written
as CSV, and end the trial with the number of the step where one is not finite; on a card steps are replayed as
a CUDA graph; small networks are found trained in the artifact store. Nothing stops a training before its end.

A training that was killed ends with the bits of one that was not, on a CPU, since
- what a step draws depends on (seed, step) alone (`draws`); torch's own generators are seeded anew before
  every step, so that layers of dropout need no care;
- all that changes from step to step lies in `modules` and `optimisers`.

How to say it:
- frozen inputs: `held.Held(held.frozen(images, spec, context), device).batch(draws.batch(...))`; or pixels
  alone, `held.pixels`;
- one optimiser: `step=lambda _, batch: minimise(losses(batch), optimiser)`;
- networks that take turns: `step` minimises with one optimiser and then with the other, or goes by its number
  and says `graph=False`;
- a student after its teacher: two trainings with a `name` each, one `train` after the other; the networks of
  the first are in evaluation mode and frozen when it returns;
- what looks at the networks between steps (an average, the best so far on held-out images): `after`, which
  keeps what it knows in a module among `modules`.

Budgets are steps. A paper's epochs are `epochs * draws.batches(n, size)` of them, which the card states.

Trials that train as one network (`Card.together`) are not made here. Where members differ in seed or a scalar
alone, a method may offer it as EfficientAD does: parameters of the members along channels and convolutions in
groups (`methods.efficientad.members`), one optimiser for all, `fit_together` to train them, and the artifact
store to hand every member its weights, which its own `fit` then finds there.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from harness.artifacts import Op
from harness.errors import ConfigError
from harness.method import Context
from methods.shared.training.curves import diverged
from methods.shared.training.draws import torch_seed
from methods.shared.training.feeding import Batch, Feeding, Terms
from methods.shared.training.optimisers import set_rate
from methods.shared.training.precision import Used, arithmetic
from methods.shared.training.states import Unfit, check_optimiser, check_shapes, keep, restored
from methods.shared.training.traces import Traces

DRAWN = 99  # stream of what torch draws by itself inside a step
ONE_VALUE = "Expected more than 1 value per channel"  # as torch says it


@final
@dataclass(frozen=True)
class Training:
    """A training as it stands before its first step.

    Attributes:
        method: name of what is trained ("rd4ad"), for files and keys.
        identity: JSON-able; what decides the weights besides images, seed, steps and precision.
        inputs: content of the images, in order.
        modules: name -> what is trained or changes with it, on the device; in training mode while steps are
            taken, afterwards in evaluation mode and without gradients.
        optimisers: name -> optimiser, of `optimisers`.
        batch: step -> tensors of any device; a function of the step and the seed, and of nothing else.
        step: (step, batch on the device) -> terms of the loss by name, detached; leaves `batch` as it is.
        terms: the names, in the order of the file of losses; a step may lack some.
        steps: how many.
        rate: step -> factor of the optimisers' learning rates.
        precision: of convolutions on a card; bfloat16 wants `optimisers.forward` around networks besides.
        graph: whether every step is the same operations on other numbers, none of which comes from the host:
            a card then replays it as a CUDA graph, one for all batches of the same shapes.
        ahead: `batch` takes long, touches no card, and is called by a thread beside the steps.
        after: called with the number of every step when it has been taken.
        name: of one of several trainings of a trial.
        version: raised when the same description trains to other weights.
    """

    method: str
    identity: Mapping[str, Any]
    inputs: tuple[str, ...]
    modules: Mapping[str, nn.Module]
    optimisers: Mapping[str, torch.optim.Optimizer]
    batch: Callable[[int], Batch]
    step: Callable[[int, Batch], Terms]
    terms: tuple[str, ...]
    steps: int
    rate: Callable[[int], float] = lambda step: 1.0
    precision: Used = "float32"
    graph: bool = True
    ahead: bool = False
    after: Callable[[int], None] | None = None
    name: str = ""
    version: int = 1


@final
@dataclass(frozen=True)
class Pace:
    """When a training stops to look at itself.

    Attributes:
        block: steps between two looks at the losses, at most.
        seconds: between two states that are kept, at least.
    """

    block: int = 50
    seconds: float = 60.0


def train(training: Training, context: Context, pace: Pace = Pace()) -> None:
    """Bring the modules to the end of their training: from the store, from a state, or step by step.

    Args:
        training: what.
        context: seed, device, artifact store, scratch folder.
        pace: of looks and states; without influence on the result.

    Raises:
        ConfigError: batch normalisation gets a single value per channel.
        HarnessError: a loss is not finite; names the step.
    """
    traces = _traces(training, context)
    traces.weights(training.modules, lambda: _to_the_end(training, context, traces, pace))
    for module in training.modules.values():
        module.eval().requires_grad_(False)


def _traces(own: Training, context: Context) -> Traces:
    params = {
        "identity": own.identity,
        "name": own.name,
        "steps": own.steps,
        "precision": own.precision,
        "seed": context.run_seed,
        "device": context.device.partition(":")[0],  # as of frozen features: a card sums in another order
    }
    return Traces(context, Op(own.method, params, own.version), own.inputs, own.name, own.terms)


def _to_the_end(training: Training, context: Context, traces: Traces, pace: Pace) -> NDArray[np.float32]:
    """Take the steps that are left; the losses of all."""
    device = torch.device(context.device)
    run = _Run(training, traces, context.run_seed, device)
    try:
        with arithmetic(training.precision, timed=True), _own_generators(device), _enough_values():
            run.train(pace)
    finally:
        run.feeding.close()
        traces.write(run.losses[: run.step])
    return run.losses


@contextmanager
def _own_generators(device: torch.device) -> Iterator[None]:
    """Afterwards torch's generators are as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


@contextmanager
def _enough_values() -> Iterator[None]:
    """Batch normalisation refuses a single image of which a single place is left; torch names no reason."""
    try:
        yield
    except ValueError as error:
        if ONE_VALUE not in str(error):
            raise
        raise ConfigError(
            "image_size: of a step's one image a layer has one place, and batch normalisation needs two "
            "values; take a larger image_size, or a batch_size that leaves no image alone"
        ) from error


@final
class _Run:
    """A training on the way from its state to the last step."""

    def __init__(self, training: Training, traces: Traces, seed: int, device: torch.device) -> None:
        self.training, self.traces, self.seed, self.device = training, traces, seed, device
        self.feeding = Feeding(
            training.batch, training.step, training.steps, device, training.graph, training.ahead
        )
        # before a state changes them
        groups = [group for optimiser in training.optimisers.values() for group in optimiser.param_groups]
        self.rates = [float(group["lr"]) for group in groups]
        self.losses = np.full((training.steps, len(training.terms)), np.nan, np.float32)
        self.lacking = torch.tensor(float("nan"), device=device)
        for module in training.modules.values():
            module.train()
        self.step = restored(traces.state, self._taken) or 0

    def train(self, pace: Pace) -> None:
        kept, steps = time.monotonic(), self.training.steps
        while self.step < steps:
            self._block(min(pace.block, steps - self.step), kept + pace.seconds)
            if time.monotonic() - kept >= pace.seconds or self.step == steps:
                self._keep()
                kept = time.monotonic()

    def _block(self, number: int, until: float) -> None:
        """Take steps, fewer where they last; then look at their losses, for which a card is waited for."""
        found, there = [], []
        for step in range(self.step, self.step + number):
            terms = self._take(step)
            # at once into a tensor of its own: a replayed graph writes to one place
            found.append(torch.stack([terms.get(t, self.lacking).float() for t in self.training.terms]))
            there.append([t in terms for t in self.training.terms])
            if time.monotonic() >= until:
                break
        values = torch.stack(found).cpu().numpy()
        start, self.step = self.step, self.step + len(found)
        self.losses[start : self.step] = values
        self._look(start, ~np.isfinite(values) & np.array(there))

    def _take(self, step: int) -> Terms:
        factor = self.training.rate(step)
        groups = (g for optimiser in self.training.optimisers.values() for g in optimiser.param_groups)
        for group, rate in zip(groups, self.rates, strict=True):
            set_rate(group, rate * factor)
        self._seed(step)
        terms = self.feeding.take(step)
        if self.training.after is not None:
            self.training.after(step)
        return terms

    def _seed(self, step: int) -> None:
        """Torch's own generator, for what layers draw; on a card the graph reads its seed anew."""
        seed = torch_seed(self.seed, DRAWN, step)
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _look(self, start: int, broken: NDArray[np.bool_]) -> None:
        if broken.any():
            step = start + int(np.flatnonzero(broken.any(axis=1))[0])
            self.step = step + 1
            what = f"training of the {self.training.name}" if self.training.name else "training"
            raise diverged(step, self.training.terms, self.losses[step].tolist(), what)

    def _keep(self) -> None:
        if self.traces.state is None:
            return
        own, losses = self.training, self.losses[: self.step].copy()
        content = {
            "step": self.step,
            "losses": torch.from_numpy(losses),
            "modules": {name: module.state_dict() for name, module in own.modules.items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in own.optimisers.items()},
        }
        keep(content, self.traces.state)
        self.traces.write(losses)

    def _taken(self, content: Any) -> int:
        """Give modules and optimisers their states, once all of them fit; the number of steps behind them."""
        own, step = self.training, content["step"]
        if not isinstance(step, int) or not 0 <= step <= own.steps:
            raise Unfit(f"it stands at step {step} of {own.steps}")
        if content["losses"].shape != (step, len(own.terms)):
            raise Unfit("it has the losses of another number of steps")
        for name, module in own.modules.items():
            check_shapes(name, module.state_dict(), content["modules"][name])
        for name, optimiser in own.optimisers.items():
            check_optimiser(optimiser, content["optimisers"][name])
        for name, module in own.modules.items():
            module.load_state_dict(content["modules"][name])
        for name, optimiser in own.optimisers.items():
            # rates follow from the step, and on a card lie where a graph looks for them
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": content["optimisers"][name]["state"], "param_groups": groups})
        self.losses[:step] = content["losses"].numpy()
        return step

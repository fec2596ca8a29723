"""The protocol that every method follows, and what a method says about itself.

A method is a final dataclass: its first field is `context`, every other field is a hyper-parameter with
a type, a default (the paper's value) and no `**kwargs`; its class attribute `card` describes it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, final, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from harness.artifacts import ArtifactStore, no_store
from harness.citation import Citation
from harness.data import FitData, ImageSet, Sample


@final
@dataclass(frozen=True)
class Context:
    """What a trial hands to its method besides data.

    Attributes:
        run_seed: seed of everything random inside the method.
        device: torch device name, "cpu" or "cuda:0".
        artifacts: where arrays that other trials can use again are kept.
        scratch: a folder for checkpoints that outlive a killed trial; None where nothing is kept. When the
            trial is ok all of it goes but `*.csv`, unless the sweep says `keep_checkpoints`.
    """

    run_seed: int = 0
    device: str = "cpu"
    artifacts: ArtifactStore = field(default_factory=no_store)
    scratch: Path | None = None


@final
@dataclass(frozen=True)
class Scores:
    """What a method says of n images. Higher is more anomalous; the scale is free.

    Attributes:
        image: one score per image, float64 (n,), finite.
        parts: named components of the score, float64 (n,) each, so that ablations are sums and not runs.
        maps: anomaly maps at the method's own resolution, float (n, h, w), or None.
    """

    image: NDArray[np.float64]
    parts: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    maps: NDArray[np.floating[Any]] | None = None


@final
@dataclass(frozen=True)
class Segmentation:
    """What a method takes for the parts of n images.

    Attributes:
        labels: uint8 (n, h, w) at the method's own resolution; 0 is the background.
        names: of the labels.
    """

    labels: NDArray[np.uint8]
    names: tuple[str, ...]


@final
@dataclass(frozen=True)
class Asset:
    """A file whose content decides the numbers: weights, prompts, labels.

    Attributes:
        name: what it is, without its path ("wide_resnet50_2.tv_in1k").
        sha256: of its content.
        path: where it lies here; provenance, never part of a trial's identity.
        marks: what tables must say of numbers made with it ("demo weights").
    """

    name: str
    sha256: str
    path: str = field(default="", compare=False)
    marks: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Resources:
    """What one trial of a method asks of the cluster.

    Attributes:
        gpus: number of GPUs, fractions of one allowed; 0 for none. A first guess where `auto`.
        cpus: number of CPU cores (the thread pools of torch, faiss and BLAS follow it).
        timeout_minutes: after this long a trial is ended with status `timeout`; None for never.
        stack: at most so many trials are trained as one, where the method can (`Card.together`).
        auto: the share of a card is measured. Never of 0, nor of more than one card.
        most_per_card: at most so many trials of the method on one card, where `auto`.
    """

    gpus: float = 0.0
    cpus: float = 1.0
    timeout_minutes: float | None = 120.0
    stack: int = 8
    auto: bool = True
    most_per_card: int = 8  # beyond, they wait for each other's kernels and not for memory


@final
@dataclass(frozen=True)
class Task:
    """The situation a trial is in, for a method to say whether it can run there.

    Attributes:
        dataset: its name.
        category: a category or sub-type.
        shots: number of support images that was asked for; None for all, 0 where the method ignores it.
        n_train: number of training images.
        n_validation: number of validation images.
        has_part_masks: whether the data set has part masks of its own.
        train: the training images; empty where they are not known yet.
    """

    dataset: str
    category: str
    shots: int | None
    n_train: int
    n_validation: int
    has_part_masks: bool
    train: tuple[Sample, ...] = ()


Params = Mapping[str, Any]
Size = tuple[int, int, int | None]  # height, width, side of the centre that is cut out or None
Read = tuple[str, str]  # a pass of a network, and one of its outputs


def _no_assets(params: Params, category: str) -> tuple[Asset, ...]:
    del params, category
    return ()


def _always(params: Params, task: Task) -> str | None:
    del params, task
    return None


def _nothing(params: Params) -> frozenset[str]:
    del params
    return frozenset()


def _possible(params: Params) -> Sequence[tuple[str, str]]:
    del params
    return ()


def _alone(params: Params) -> str | None:
    del params
    return None


def _unknown(params: Params, native: tuple[int, int]) -> Sequence[Size]:
    del params, native
    return ()


def _unread(params: Params, native: tuple[int, int]) -> Sequence[Read]:
    del params, native
    return ()


Use = Literal["text", "part labels", "external images", "rules per category"]


@final
@dataclass(frozen=True)
class Demo:
    """How a method is run in `make demo`, on small demo weights: to show that it runs, not what it can.

    Attributes:
        params: hyper-parameters that differ from the defaults, for seconds instead of hours.
        note: why, as a remark beside the entry.
        axes: the sweep's `categories`, `shots` or `seeds` to which it keeps, where all would take too long.
    """

    params: Params = field(default_factory=dict)
    note: str = ""
    axes: Mapping[str, Sequence[str | int]] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Card:
    """A method's declaration of itself; read by the planner, the reports and `harness.list`.

    `python -m harness.list --write` fills NOTICES.md, the table of methods in README.md and configs/demo.yaml
    from it.

    Attributes:
        title: name as printed in tables.
        summary: one sentence.
        version: raised whenever the numbers of unchanged parameters change; part of the trial's identity.
        paper: that it implements; None of what has none.
        further: other work that it takes something from, each with what.
        licence: of its code here.
        weights_licence: of the pretrained weights that it loads by default, with their names.
        trained: whether it learns weights; else it only remembers or measures ("training-free").
        uses: what it may learn from or be told besides images of the category; "rules per category" are
            words, counts or thresholds that somebody wrote for each.
        demo: how it is run in `make demo`.
        paths: hyper-parameters that name files or folders; their content (see `assets`) replaces them in
            the trial's identity.
        assets: (parameters, category) -> the files whose content decides the numbers there: weights, a
            category's prompts, its labels. Raises WeightsError or DataError where one is missing.
        ignores: parameters -> the axes ("shots", "split_seed", "run_seed") that cannot change the numbers.
        unmet: (parameters, task) -> why it cannot run there, or None. Raises DataError where what it needs is
            there and cannot be used.
        resources: what one trial needs.
        seconds: of one trial, as a first guess; what takes longest is begun first.
        problems: parameters -> (parameter, what is wrong with it) of values that are fine one by one but
            cannot be used together, or name what does not exist. Asked while planning, without torch.
        together: parameters -> a text; trials of one category and support set for which it is the same can
            be trained as one by the method's `fit_together`. None for parameters that are trained alone.
        reads: (parameters, native (height, width) of the images) -> what it reads of passes of networks: (the
            pass, an output). An economy: a pass also gives what other trials of the sweep read of it.
        sizes: (parameters, native (height, width) of the images) -> sizes at which it asks for images. An
            economy: an image is decoded once for all of them, and once more for a size that is not named.
        later: hyper-parameters that came after `version`, each with the value at which all is as it was:
            there it is no part of a trial's identity, so that trials of earlier runs are found again.
        validation: whether it may look at validation images; of one that never does, trials with and without
            them are the same trial.
        extra: the extra of Ladder's package, and the module, without which it cannot run; such a method is in
            no sweep that ships for everybody.
    """

    title: str
    summary: str
    version: int = 1
    paper: Citation | None = None
    further: tuple[tuple[str, Citation], ...] = ()
    licence: str = ""
    weights_licence: str = ""
    trained: bool | None = None
    uses: frozenset[Use] = frozenset()
    demo: Demo | None = None
    paths: frozenset[str] = frozenset()
    assets: Callable[[Params, str], Sequence[Asset]] = _no_assets
    ignores: Callable[[Params], frozenset[str]] = _nothing
    unmet: Callable[[Params, Task], str | None] = _always
    resources: Resources = Resources()
    seconds: float = 60.0
    problems: Callable[[Params], Sequence[tuple[str, str]]] = _possible
    together: Callable[[Params], str | None] = _alone
    sizes: Callable[[Params, tuple[int, int]], Sequence[Size]] = _unknown
    reads: Callable[[Params, tuple[int, int]], Sequence[Read]] = _unread
    later: Params = field(default_factory=dict)
    validation: bool = True
    extra: str = ""


@runtime_checkable
class Method(Protocol):
    """Learns from normal images, then scores images one by one.

    `score(images)[i]` must equal `score([images[i]])`: no method may look at a test set as a set. An
    attribute `precision_used` (text) is optional, for the column of that name, and so are three methods:
    `explain(images) -> list[tuple[View, ...]]` (`harness.views`), pictures of how the scores came about;
    `segment(images) -> Segmentation`, the parts it sees; and the class method
    `fit_together(members: Sequence[tuple[Self, FitData]]) -> None` (see `Card.together`), which trains
    unfitted members as one and keeps what each has learned where its own `fit`, which is called afterwards
    and perhaps in another process, finds it: the artifact store, or `Context.scratch`. It passes over members
    that are trained already, goes on where it was killed, and may leave a member out (one that diverges).
    """

    card: ClassVar[Card]

    def fit(self, data: FitData) -> Self:
        """Learn from normal images; returns itself."""
        ...

    def score(self, images: ImageSet) -> Scores:
        """Anomaly scores of `images`; higher is more anomalous."""
        ...

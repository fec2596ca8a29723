"""Part labels of images, through the artifact store: one training per variant, one pass per image."""

import io
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from harness.artifacts import Op
from harness.data import ImageSet
from harness.data.digest import array_digest
from harness.method import Context
from harness.whole import whole
from methods.psad.augment import Labels, Sample, coordinates
from methods.psad.network import built, built_second
from methods.psad.pairs import Lessons
from methods.psad.training import TrainingSpec, predicted, train, train_second
from methods.shared.backbones.features import FeatureSpec
from methods.shared.backbones.frozen import Backbone, load
from methods.shared.pixels import Geometry, resized
from methods.shared.training.states import restored

Bytes = NDArray[np.uint8]
# what of a recipe the warm-up does not know
LATER = ("losses", "hist_loss", "hist_classes", "lambdas", "joint")


@final
@dataclass(frozen=True)
class Material:
    """The images of a support set as the segmenter sees them.

    Attributes:
        labelled: images with labels.
        labels: their label maps at native size.
        unlabelled: further images, may be empty.
        match: unlabelled image -> index of the labelled one of its type; None where there is one type.
        n_classes: N_C.
    """

    labelled: ImageSet
    labels: tuple[Labels, ...]
    unlabelled: ImageSet
    match: tuple[int, ...] | None
    n_classes: int


@final
@dataclass
class PartSegmenter:
    """The few-shot part segmenter; trained when a label map is first needed that nobody has stored.

    Attributes:
        spec: encoder, its layers and the size of the input.
        recipe, material: what it is trained by and on.
        context: seed, device, artifact store, scratch folder.
    """

    spec: FeatureSpec
    recipe: TrainingSpec
    material: Material
    context: Context
    _network: nn.Module | None = field(default=None, init=False, repr=False)

    def labels(self, images: ImageSet) -> list[Labels]:
        """The most probable part of every pixel, uint8 (h, w) at the size of the network's input."""
        return self._stored("psad_parts", self.key, images, self._trained)

    def _stored(
        self, name: str, key: str, images: ImageSet, network: Callable[[], nn.Module]
    ) -> list[Labels]:
        def compute(missing: list[int]) -> list[Labels]:
            pixels = resized(images.subset(missing), self.spec.geometry, self.context.artifacts)
            return list(predicted(network(), self._backbone, pixels))

        return self.context.artifacts.get_many(Op(name, {"segmenter": key}), images.keys(), compute)

    def _trained(self) -> nn.Module:
        """The network that gives the labels; kept, since not every store keeps arrays."""
        if self._network is None:
            state = self._second() if self.recipe.second else self._joint()
            build = built_second if self.recipe.second else built
            self._network = _filled(self._new(build), state)
        return self._network

    # The three trainings: each an artifact that knows exactly what it depends on.

    def _warm_up(self) -> Bytes:
        """State of network and optimiser after the supervised steps; all variants of the losses share it."""
        return self.context.artifacts.get(self._warm_op, self._warm_inputs, lambda: self._run(None)[0])

    def _joint(self) -> Bytes:
        """Weights after all steps."""

        def compute() -> Bytes:
            return self._run(self._warm_up())[1]

        return self.context.artifacts.get(self._joint_op, self._joint_inputs, compute)

    def _second(self) -> Bytes:
        """Weights of the second segmenter, trained on what the first says of all images."""
        return self.context.artifacts.get(self._second_op, self._joint_inputs, self._run_second)

    def _run(self, start: Bytes | None) -> tuple[Bytes, Bytes]:
        """Train up to the end of the warm-up, or on from there: the whole state, and the weights."""
        recipe = self.recipe
        end = recipe.warm_up if start is None else recipe.warm_up + recipe.joint
        network = self._new(built)
        key = self._warm_op.key(*self._warm_inputs) if start is None else self._joint_key
        with self._folder() as folder:
            state = folder / f"{key[:16]}.pt"
            if start is not None and restored(state, lambda content: content["step"]) is None:
                with whole(state) as partial:
                    start.tofile(partial)
            train(network, self._backbone, self._lessons, recipe, end, state)
            return np.fromfile(state, np.uint8), _packed(network)

    def _run_second(self) -> Bytes:
        network = self._new(built_second)
        with self._folder() as folder:
            state = folder / f"{self.key[:16]}.pt"
            lessons = self._pseudo_lessons
            train_second(network, self._backbone, lessons, self.recipe, self.recipe.second, state)
        return _packed(network)

    def _new(self, build: Callable[..., nn.Module]) -> nn.Module:
        return build(self._backbone, self.spec.layers, self.n_classes, self.recipe.seed)

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        if self.context.scratch is not None:
            self.context.scratch.mkdir(parents=True, exist_ok=True)
            yield self.context.scratch
            return
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)

    # What is learned from.

    @property
    def _lessons(self) -> Lessons:
        images = self._pixels(self.material.labelled)
        labels = [shrunk(labels, self.spec.geometry) for labels in self.material.labels]
        place = coordinates(*self.spec.geometry.shape)
        samples = [Sample(image, y, place) for image, y in zip(images, labels, strict=True)]
        return Lessons(samples, self._pixels(self.material.unlabelled), self.material.match, self.n_classes)

    @property
    def _pseudo_lessons(self) -> Lessons:
        first = _filled(self._new(built), self._joint())
        place, samples = coordinates(*self.spec.geometry.shape), []
        for images in (self.material.labelled, self.material.unlabelled):
            labels = self._stored("psad_pseudo_parts", self._joint_key, images, lambda: first)
            samples += [Sample(x, y, place) for x, y in zip(self._pixels(images), labels, strict=True)]
        return Lessons(samples, (), None, self.n_classes)

    def _pixels(self, images: ImageSet) -> Sequence[NDArray[np.uint8]]:
        return resized(images, self.spec.geometry, self.context.artifacts)

    # Keys.

    @property
    def _warm_op(self) -> Op:
        shared = {k: v for k, v in asdict(self.recipe).items() if k not in (*LATER, "second", "tf32")}
        shared |= {"tf32": True} if self.recipe.tf32 else {}  # so that what is stored without it is found
        features = self.spec.op(",".join(self.spec.layers), self.context.device).params
        lambda_1, n_classes = self.recipe.lambdas[0], self.n_classes
        return Op("psad_warm_up", {**features, **shared, "lambda_1": lambda_1, "n_classes": n_classes})

    @property
    def _warm_inputs(self) -> tuple[str, ...]:
        return (*self.material.labelled.keys(), *map(array_digest, self.material.labels))

    @property
    def _joint_op(self) -> Op:
        own = {k: v for k, v in asdict(self.recipe).items() if k in LATER}
        return Op("psad_segmenter", {**own, "warm_up": self._warm_op.key(*self._warm_inputs)})

    @property
    def _joint_inputs(self) -> tuple[str, ...]:
        """The unlabelled images, where the losses look at them."""
        if self.recipe.losses == "sup" and not self.recipe.second:
            return ()
        return (*self.material.unlabelled.keys(), json.dumps(self.material.match))

    @property
    def _joint_key(self) -> str:
        return self._joint_op.key(*self._joint_inputs)

    @property
    def _second_op(self) -> Op:
        return Op("psad_second_segmenter", {"steps": self.recipe.second, "first": self._joint_key})

    @property
    def key(self) -> str:
        """Names the trained segmenter: everything that its label maps depend on."""
        second = self._second_op.key(*self._joint_inputs)
        return second if self.recipe.second else self._joint_key

    @property
    def n_classes(self) -> int:
        """N_C, background counted."""
        return self.material.n_classes

    @property
    def _backbone(self) -> Backbone:
        """Called as the features of the composition call it, so that both share what is loaded."""
        return load(self.spec.file, tuple(sorted(self.spec.layers)), self.context.device, "float32")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_network": None} if self.context.artifacts.root else self.__dict__


def shrunk(labels: Labels, geometry: Geometry) -> Labels:
    """A label map at the size of the network's input: the label nearest to every pixel's centre."""
    size = (geometry.width, geometry.height)
    return np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))


def _packed(network: nn.Module) -> Bytes:
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def _filled(network: nn.Module, state: Bytes) -> nn.Module:
    network.load_state_dict(torch.load(io.BytesIO(state.tobytes()), weights_only=True))
    return network.eval()

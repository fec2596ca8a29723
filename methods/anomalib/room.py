"""Where a model of anomalib is built, learns and scores; imports torch, and anomalib when it is asked to."""

import io
import logging
import math
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.data import FitData, ImageSet
from harness.errors import ConfigError
from harness.method import Context, Scores
from harness.seeding import seeded
from methods.anomalib.asked import crop_argument, files
from methods.anomalib.catalogue import CATALOGUE
from methods.anomalib.loading import offline, own_file
from methods.shared.backbones.frozen import arithmetic
from methods.shared.pixels import Geometry, batches, resized

LOUD = ("anomalib", "lightning", "lightning.fabric", "lightning.pytorch", "timm")
MIXED = {"float32": "32-true", "bfloat16": "bf16-mixed"}
READ_AT_ONCE = 32  # images


@final
@dataclass(frozen=True)
class Order:
    """What a trial wants of anomalib.

    Attributes:
        params: complete hyper-parameters of the method.
        context: seed, device, store.
    """

    params: Mapping[str, Any]
    context: Context

    @property
    def model(self) -> str:
        """Its class."""
        return self.params["model"]

    @property
    def batch(self) -> int:
        """Images in a step."""
        return self.params["batch_size"] or CATALOGUE[self.model].batch


@final
@dataclass
class Detector:
    """A model of anomalib that has learnt; can be pickled.

    Attributes:
        module: the Lightning module.
        geometry: what images are resized to before the model's own pre-processing.
        crop: side of the centre that this cuts out; None for none.
        seed: of whatever a model draws while it looks at an image.
        precision: of the arithmetic.
    """

    module: Any
    geometry: Geometry
    crop: int | None
    seed: int
    precision: str

    def scores(self, images: ImageSet, context: Context) -> Scores:
        """Scores of images, each of them alone in its batch."""
        with quiet(), arithmetic(context.device, self.precision), torch.inference_mode():  # pyright: ignore[reportArgumentType]
            found = [self._one(x, context) for x in pixels(images, self.geometry, context)]
        image = np.array([value for value, _ in found], np.float64)
        maps = [each for _, each in found if each is not None]
        return Scores(image, maps=np.stack(maps) if maps else None)

    def _one(self, pixels: NDArray[np.uint8], context: Context) -> tuple[float, NDArray[np.float32] | None]:
        """What the model says before anomalib's post-processor, which is switched off, would rescale it."""
        batch = batch_of([pixels])
        with seeded(self.seed):  # an image must score the same whatever was scored before it
            batch.image = self.module.pre_processor.transform(batch.image.to(context.device))
            said = self.module.predict_step(batch, 0)
        values, score = said.anomaly_map, said.pred_score
        if values is None:
            return float(score), None
        # as anomalib has it: where a model gives no score, it is the largest value of its map
        value = float(values.max() if score is None else score)
        return value, self._whole(values.detach().float().reshape(values.shape[-2:]))

    def _whole(self, inner: Tensor) -> NDArray[np.float32]:
        """A map of the centre as one of the whole image: the least value where the model has not looked."""
        if self.crop is None:
            return inner.cpu().numpy()
        side = round(self.geometry.height * inner.shape[0] / self.crop)
        before = (side - inner.shape[0]) // 2
        after = side - inner.shape[0] - before
        return np.pad(inner.cpu().numpy(), (before, after), constant_values=float(inner.min()))


def fitted(params: Mapping[str, Any], data: FitData, context: Context) -> Detector:
    """A model built and trained as the hyper-parameters say.

    Raises:
        NeedNotMet: it wants to download something.
        WeightsError: a file does not fit.
    """
    order = Order(params, context)
    with quiet(), seeded(context.run_seed), arithmetic(context.device, "float32"), offline(params["weights"]):
        module, geometry, crop = built(order, len(data.train))
        _learn(order, module, _fed(order, data, geometry))
        module.eval().to(context.device)
    return Detector(module, geometry, crop, context.run_seed, params["precision"])


def built(order: Order, shots: int) -> tuple[Any, Geometry, int | None]:
    """A new model, the size at which it wants images, and the side of the centre that it cuts out of them."""
    owner, entry = getattr(import_module("anomalib.models"), order.model), CATALOGUE[order.model]
    before = owner.configure_pre_processor(**_input(order))
    args = dict(order.params["init_args"])
    args |= {entry.images: order.params["images"]} if entry.images and order.params["images"] else {}
    args |= {"k_shot": shots} if order.model == "WinClip" and "k_shot" not in args else {}
    sides = _sides(before.transform, "Resize")
    crop = _sides(before.transform, "CenterCrop")
    if entry.sized:
        args.setdefault(entry.sized, tuple(crop or sides))
    module = owner(**args, pre_processor=before, post_processor=False, evaluator=False, visualizer=False)
    if entry.file:
        own_file(module, files(order.params)[-1].path)
    return module, Geometry(*sides), crop[0] if crop else None


def _input(order: Order) -> dict[str, Any]:
    """What the model's own pre-processing is made with; of a size that somebody has chosen nothing is cut."""
    size, crop, name = order.params["image_size"], order.params["crop"], crop_argument(order.model)
    if size is None or CATALOGUE[order.model].fixed:
        return {}
    side = crop or size
    cut = {name: side if name == "crop_size" else (side, side)} if name else {}
    return {"image_size": (size, size), **cut}


def _sides(transform: Any, kind: str) -> tuple[int, ...]:
    """(height, width) of the last transform of a kind in a pre-processing; empty if there is none."""
    found = [t for t in getattr(transform, "transforms", [transform]) if type(t).__name__ == kind]
    if not found:
        if kind == "Resize":
            raise ConfigError("image_size: the model's own pre-processing has no size; give one")
        return ()
    size = tuple(found[-1].size)
    return size if len(size) == 2 else (size[0], size[0])


def pixels(images: ImageSet, geometry: Geometry, context: Context) -> Iterator[NDArray[np.uint8]]:
    """Resized images, read some at a time."""
    for part in batches(images, READ_AT_ONCE):
        yield from resized(part, geometry, context.artifacts)


def batch_of(images: Sequence[NDArray[np.uint8]]) -> Any:
    """Normal images as anomalib's batch: RGB in [0, 1], float32 (n, 3, h, w)."""
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()  # some models call view()
    stacked = stacked.float() / 255
    n, _, height, width = stacked.shape
    return import_module("anomalib.data").ImageBatch(
        image=stacked,
        gt_label=torch.zeros(n, dtype=torch.bool),
        gt_mask=torch.zeros(n, height, width, dtype=torch.bool),
    )


def _fed(order: Order, data: FitData, geometry: Geometry) -> Any:
    """Lightning's data module over arrays in memory."""
    train = list(pixels(data.train, geometry, order.context))
    held_out = list(pixels(data.validation, geometry, order.context)) or train
    shuffled = CATALOGUE[order.model].kind != "is shown"  # references are the first k of the support set
    module = import_module("lightning.pytorch").LightningDataModule()
    module.train_dataloader = lambda: _loader(train, order.batch, shuffled)
    module.val_dataloader = lambda: _loader(held_out, order.batch, False)
    module.train_batch_size, module.category = order.batch, data.category
    return module


def _loader(images: list[NDArray[np.uint8]], batch: int, shuffled: bool) -> Any:
    return torch.utils.data.DataLoader(images, batch, shuffle=shuffled, collate_fn=batch_of)  # pyright: ignore[reportArgumentType]


def _learn(order: Order, module: Any, feed: Any) -> None:
    """Train, then look at one batch of validation images, when models settle thresholds and references."""
    with tempfile.TemporaryDirectory() as folder, _interruptible():
        options = _trainer_options(order, module, len(feed.train_dataloader()), folder)
        trainer = import_module("lightning.pytorch").Trainer
        if CATALOGUE[order.model].kind != "is shown":
            trainer(**options, limit_val_batches=0).fit(module, datamodule=feed)
        module.to(order.context.device)
        trainer(**options, limit_val_batches=1).validate(module, datamodule=feed, verbose=False)
    module.trainer = None


def _trainer_options(order: Order, module: Any, batches: int, folder: str) -> dict[str, Any]:
    """The model's own wishes under ours: no logger, checkpoint or bar; one device, and no cluster."""
    kind, _, index = order.context.device.partition(":")
    plain = import_module("lightning.pytorch.plugins.environments").LightningEnvironment
    ours = {
        "accelerator": "gpu" if kind == "cuda" else "cpu",
        "devices": [int(index or 0)] if kind == "cuda" else 1,
        "precision": MIXED[order.params["precision"]],
        "default_root_dir": folder,
        "num_sanity_val_steps": 0,
        "check_val_every_n_epoch": 1,
        "plugins": [plain()],  # Slurm's would take its signals and ask for its tasks
        **dict.fromkeys(
            ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
        ),
    }
    return module.trainer_arguments | ours | _limits(order, batches)


def _limits(order: Order, batches: int) -> dict[str, int]:
    """Both limits always: schedules of some models are fractions of the one, of others of the other."""
    if CATALOGUE[order.model].kind != "trains":
        return {}
    steps, epochs = order.params["max_steps"], order.params["max_epochs"]
    if steps is None:
        return {"max_epochs": epochs, "max_steps": -1}
    needed = math.ceil(steps / batches)
    return {"max_epochs": min(epochs or needed, needed), "max_steps": steps}


@contextmanager
def quiet() -> Iterator[None]:
    """No bars, banners and advice of Lightning and anomalib; errors are exceptions."""
    loggers = [logging.getLogger(name) for name in LOUD]
    levels = [each.level for each in loggers]
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(io.StringIO()))
        stack.enter_context(redirect_stderr(io.StringIO()))  # tqdm's bars
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for each in loggers:
            each.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.setLevel(level)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C stays what it is: Lightning would end the process with code 1 and be deaf to the next one."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as left:
        if not isinstance(left.__context__, KeyboardInterrupt):
            raise
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from left

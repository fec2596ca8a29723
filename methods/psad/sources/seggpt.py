"""SegGPT (Wang et al., ICCV 2023) through `transformers`: labelled images are the prompt, nothing is trained.

A label map becomes a picture in colours, one per class. The model paints the same kind of picture for the
query below each prompt; with several prompts its features of the query are averaged in every layer. Colours,
sizes and the way back to classes are those of `SegGptImageProcessor`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray

from harness.artifacts import Op
from harness.data import ImageSet
from harness.data.digest import array_digest
from harness.data.labels import IGNORED, Labels
from harness.errors import WeightsError
from harness.method import Context
from methods.psad.segmentation import shrunk
from methods.psad.sources import seggpt_files
from methods.psad.sources.dense import stored
from methods.psad.sources.source import Given
from methods.psad.sources.specs import SegGptSpec, SupportSpec
from methods.psad.sources.supports import Supports, supports
from methods.shared.backbones.frozen import arithmetic
from methods.shared.pixels import RGB, Geometry, resized

TYPE = "instance"  # of the token that tells semantic from instance segmentation: the default of both codes


class SegGpt(NamedTuple):
    """Preprocessing and model, in evaluation mode on a device."""

    processor: Any
    model: Any
    device: str

    def __call__(self, query: RGB, prompts: Sequence[RGB], masks: Sequence[Labels], n_classes: int) -> Labels:
        """The classes of a query (h, w, 3), uint8 (h, w).

        Args:
            query: the image.
            prompts: labelled images.
            masks: their label maps, values below `n_classes`.
            n_classes: N_C, background counted.
        """
        colours = n_classes - 1  # without the black of the background
        given = {
            "images": [np.array(query)] * len(prompts),  # the store's arrays are read-only
            "prompt_images": [np.array(prompt) for prompt in prompts],
            "prompt_masks": [*masks],
        }
        batch = self.processor(**given, num_labels=colours, return_tensors="pt").to(self.device)
        with torch.inference_mode(), arithmetic(self.device, "float32"):
            found = self.model(**batch, feature_ensemble=len(prompts) > 1, embedding_type=TYPE)
            found.pred_masks = found.pred_masks[:1]  # the query is the same below every prompt
            back = self.processor.post_process_semantic_segmentation(found, [query.shape[:2]], colours)
        return back[0].to(torch.uint8).cpu().numpy()


@lru_cache(maxsize=1)
def load(folder: Path, device: str) -> SegGpt:
    """The model of a folder.

    Raises:
        WeightsError: its files do not fit each other.
    """
    # an optional extra
    from transformers import (  # pyright: ignore[reportMissingImports]
        SegGptForImageSegmentation,
        SegGptImageProcessor,
    )

    try:
        with torch.random.fork_rng(devices=[]):
            model, told = SegGptForImageSegmentation.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
        processor = SegGptImageProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsError(f"seggpt_weights: {folder}: {error}") from error
    if told["missing_keys"]:  # which the library fills with random numbers
        missing = ", ".join(sorted(told["missing_keys"])[:3])
        raise WeightsError(f"seggpt_weights: {folder}: model.safetensors lacks {missing}, …")
    return SegGpt(processor, model.eval().requires_grad_(False).to(device), device)


@final
@dataclass(frozen=True)
class SegGptParts:
    """Asks SegGPT for each image when a map is first needed that nobody has stored.

    Attributes:
        folder: of the weights.
        geometry: size of the pictures it is given, and of the maps.
        support: the labelled images.
        context: device and store.
    """

    folder: Path
    geometry: Geometry
    support: Supports
    context: Context

    @property
    def key(self) -> str:
        """See `PartSource.key`."""
        weights = {asset.name: asset.sha256 for asset in seggpt_files.assets(str(self.folder))}
        device = self.context.device.partition(":")[0]
        own = {**self.geometry._asdict(), "weights": weights, "device": device, "n_classes": self.n_classes}
        return Op("psad_seggpt", own).key(
            *self.support.images.keys(), *map(array_digest, self.support.labels)
        )

    @property
    def n_classes(self) -> int:
        """See `PartSource.n_classes`."""
        return len(self.support.classes)

    def labels(self, images: ImageSet) -> list[Labels]:
        """See `PartSource.labels`."""
        return stored(self.key, images, self.context, self._computed)

    def _computed(self, images: ImageSet) -> list[NDArray[np.uint8]]:
        model, prompts = load(self.folder, self.context.device), self._pixels(self.support.images)
        masks = [_painted(shrunk(labels, self.geometry)) for labels in self.support.labels]
        return [model(query, prompts, masks, self.n_classes) for query in self._pixels(images)]

    def _pixels(self, images: ImageSet) -> Sequence[RGB]:
        return resized(images, self.geometry, self.context.artifacts)


def _painted(labels: Labels) -> Labels:
    """What counts nowhere is background: a prompt has no other colour for it."""
    return np.where(labels == IGNORED, 0, labels).astype(np.uint8)


def source(given: Given, support: SupportSpec, spec: SegGptSpec) -> tuple[SegGptParts, tuple[str, ...]]:
    """SegGPT prompted with the labelled images, and the names of its classes.

    Raises:
        ConfigError, WeightsError, DataError, NeedNotMet: see `supports`, and where there are no weights.
    """
    known = supports(given, support)
    folder = seggpt_files.folder_of(spec.seggpt_weights)
    return SegGptParts(folder, given.encoder.geometry, known, given.context), known.classes

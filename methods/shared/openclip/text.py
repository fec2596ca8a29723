"""Texts for open_clip models, and what every patch of an image has in common with them."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.artifacts import ArtifactStore, Op
from harness.data import ImageSet
from methods.shared.openclip.features import chunk_size, dense_tokens, reading_op
from methods.shared.openclip.spec import ClipSpec
from methods.shared.pixels import batches

Array = NDArray[np.floating[Any]]
PROMPTS_AT_ONCE = 128


@cache
def imagenet_templates() -> tuple[str, ...]:
    """OpenAI's 80 templates for ImageNet, with `{}` where the name goes ("a bad photo of a {}.")."""
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    return tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)


def text_embeddings(
    classes: Sequence[Sequence[str]],
    templates: Sequence[str],
    spec: ClipSpec,
    store: ArtifactStore,
    device: str,
) -> NDArray[np.float32]:
    """One unit vector per class: every prompt normalised, the mean over synonyms × templates, normalised.

    Args:
        classes: the synonyms of each class.
        templates: with `{}` where a synonym goes.
        spec: the model; only what decides its text tower enters the keys.
        store: keeps one array per class, which categories and prompt lists share.
        device: torch device name.

    Returns:
        float32 (n_classes, d).

    Raises:
        ConfigError, WeightsError: see `methods.shared.openclip.features.readings`.
    """
    file = spec.file
    params = {"model": file.backbone, "weights": file.sha256, "device": device.partition(":")[0]}
    ensembles = [tuple(t.format(name) for name in names for t in templates) for names in classes]

    def compute(missing: list[int]) -> list[Array]:
        return [_ensemble(ensembles[i], spec, device) for i in missing]

    return np.array(store.get_many(Op("clip_text", params), ensembles, compute), np.float32)


def text_similarities(
    images: ImageSet,
    classes: Sequence[Sequence[str]],
    templates: Sequence[str],
    spec: ClipSpec,
    store: ArtifactStore,
    device: str,
    grid: int,
    pool: Literal["normalised", "raw"] = "normalised",
) -> list[Array]:
    """NACLIP's patches against texts, on a finer grid; all that the tokens are needed for afterwards.

    Tokens are brought to the grid (bilinear, corners aligned) before they are normalised. Averaging is
    linear: the mean of a region's rows is the product of its mean token with the texts.

    Args:
        images: n images.
        classes: the synonyms of each class.
        templates: with `{}` where a synonym goes.
        spec: the model.
        store: keeps one array per image and list of prompts.
        device: torch device name.
        grid: side of the result, 64 in CLIP-LAD.
        pool: "normalised" gives cosines; "raw" products of tokens as they are, whose mean over a
            region is that of raw tokens.

    Returns:
        For each image (grid * grid, n_classes), row by row; float16 unless the precision is float32.

    Raises:
        ConfigError, DataError, WeightsError: see `methods.shared.openclip.features.readings`.
    """
    texts = text_embeddings(classes, templates, spec, store, device)
    dense = reading_op("dense", spec, device)
    prompts = {"classes": [list(names) for names in classes], "templates": list(templates)}
    op = Op("clip_similarity", {**dense.params, **prompts, "grid": grid, "pool": pool})

    def part_of(part: ImageSet) -> list[Array]:
        def compute(missing: list[int]) -> list[Array]:
            tokens = dense_tokens(part.subset(missing), spec, store, device)
            return [_similarity(each, texts, grid, pool, device) for each in tokens]

        return store.get_many(op, part.keys(), compute, batch=len(part))

    return [each for part in batches(images, chunk_size(spec)) for each in part_of(part)]


def _ensemble(prompts: Sequence[str], spec: ClipSpec, device: str) -> NDArray[np.float32]:
    from methods.shared.openclip.model import model_of

    model = model_of(spec, device)
    parts = [prompts[i : i + PROMPTS_AT_ONCE] for i in range(0, len(prompts), PROMPTS_AT_ONCE)]
    mean = np.concatenate([model.texts(part) for part in parts]).mean(axis=0)
    return mean / np.linalg.norm(mean)


def _similarity(tokens: Array, texts: NDArray[np.float32], grid: int, pool: str, device: str) -> Array:
    import torch

    from methods.shared.openclip.tokens import on_grid, unit

    with torch.inference_mode():
        dense = on_grid(tokens, grid, device)
        dense = unit(dense) if pool == "normalised" else dense
        found = dense @ torch.from_numpy(texts).to(device).T
        return found.cpu().numpy().astype(tokens.dtype)

"""What CLIP-LAD's stored arrays save: 15 trials (1, 2, 4 shots × 5 seeds) of one category.

    python -m benchmarks.clip_lad_reuse                             2 CPU minutes
    python -m benchmarks.clip_lad_reuse --model ViT-L-14 --size 448 --images 100   hours; nearer to LOCO

The peer is the same code in the same process with a store of its own per trial: what a trial that
shares nothing has to do, each image once. The network has random weights; ViT-S-16 on 224 pixels has
about the same proportion as ViT-L-14 on 448 between a pass and the distances to one support image (1 %).
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file

from harness.artifacts import ArtifactStore
from harness.data import FitData, ImageSet
from harness.datasets.demo.scenes.drawing import scene
from harness.method import Context
from methods.clip_lad import ClipLad

CATEGORY = "pushpins"
SUPPORTS, VALIDATION, SEEDS, SHOTS = 20, 6, 5, (1, 2, 4)
PROMPTS = """
coarse: {pushpin: [pushpin], background: [plastic box]}
fine: {pushpin: [pushpin], background: [plastic box]}
templates: ["{}", "a photo of a {}."]
"""


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of all threads, which do not depend on what else runs, and what came out."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def drawn(split: str, number: int) -> ImageSet:
    """Demo scenes in memory."""
    return ImageSet.of_arrays([scene(CATEGORY, 0, split, i, size=224).image for i in range(number)])


def trials(train: ImageSet, validation: ImageSet) -> Iterator[FitData]:
    """Nested supports, as the harness draws them."""
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(len(train)).tolist()
        for k in SHOTS:
            yield FitData(train.subset(order[:k]), validation, category=CATEGORY)


def untrained(model: str, folder: Path) -> Path:
    """A file of randomly initialised weights."""
    path = folder / "weights.safetensors"
    save_file(open_clip.create_model(model, load_weights=False).state_dict(), path)
    return path


def sweep(
    roots: list[Path], every: list[FitData], test: ImageSet, params: dict[str, Any]
) -> tuple[int, np.ndarray]:
    """One trial per root and support set; how many images went through the network, and the scores."""
    passes, scores = 0, []
    for root, data in zip(roots, every, strict=True):
        method = ClipLad(Context(artifacts=ArtifactStore(root)), **params)
        scores.append(method.fit(data).score(test).image)
        passes += method.context.artifacts.counters["backbone_passes"]
    return passes, np.array(scores)


def main() -> None:
    """Run the sweep with one store, with 15, and once more with another reading of Eq. 2."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=30, help="test images")
    parser.add_argument("--model", default="ViT-S-16", help="of open_clip")
    parser.add_argument("--size", type=int, default=224, help="side of the images in pixels")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train, validation, test = (
        drawn(split, number)
        for split, number in (("train", SUPPORTS), ("validation", VALIDATION), ("test", arguments.images))
    )
    every = list(trials(train, validation))
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "prompts.yaml").write_text(PROMPTS)
        params: dict[str, Any] = {
            "model": arguments.model,
            "weights": str(untrained(arguments.model, folder)),
            "image_size": arguments.size,
            "prompts": str(folder / "prompts.yaml"),
        }
        sweep([folder / "first"], every[:1], test.subset([0]), params)  # imports and the model
        one, own = [folder / "one"] * len(every), [folder / f"own{i}" for i in range(len(every))]
        some, (few, ours) = timed(lambda: sweep(one, every, test, params))
        much, (many, peers) = timed(lambda: sweep(own, every, test, params))
        little, (none, _) = timed(lambda: sweep(one, every, test, params | {"hist_score": "cosine"}))
    unique = len(test) + len(validation) + len({key for data in every for key in data.train.keys()})  # noqa: SIM118
    print(f"{len(every)} trials, {unique} different images: ", end="")
    print(f"{few} passes in {some:.1f} CPU s with one store, ", end="")
    print(f"{many} in {much:.1f} CPU s with one per trial, {much / some:.1f} times; ", end="")
    print(f"largest difference of a score {np.abs(ours - peers).max():.1g}")
    print(f"the same sweep with another hist_score: {none} passes in {little:.1f} CPU s")


if __name__ == "__main__":
    main()

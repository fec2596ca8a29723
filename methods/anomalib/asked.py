"""What can be said of the hyper-parameters before anything runs, and the files that they come to."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.data.images import image_files_below
from harness.errors import DataError, WeightsError
from harness.method import Asset, Size, Task
from harness.params import Problem, validate
from methods.anomalib.catalogue import CATALOGUE, TV, Entry
from methods.anomalib.sources import HARNESS, model_of, signature, unusable
from methods.shared.backbones import names
from methods.shared.openclip.spec import find_clip
from methods.shared.pixels import Geometry
from methods.shared.weights import DEMO, Weights, find

Params = Mapping[str, Any]
Problems = list[tuple[str, str]]


def problems(params: Params) -> Problems:
    """What is wrong with complete hyper-parameters; for `Card.problems`."""
    if lacking := unusable():
        return [("model", lacking)]
    entry = CATALOGUE[params["model"]]
    if entry.never:
        return []  # said where the trial is skipped
    found = _arguments(params, entry)
    return found or [*_networks(params, entry), *_length(params, entry), *_input(params, entry)]


def _arguments(params: Params, entry: Entry) -> Problems:
    model, given = params["model"], params["init_args"]
    ours = dict.fromkeys(HARNESS, "belongs to the harness, which scores before anomalib rescales")
    ours |= {entry.images: "is `images:` here, beside init_args"} if entry.images else {}
    taken = [(f"init_args.{key}", text) for key, text in ours.items() if key in given]
    try:
        validate(model_of(model), {k: v for k, v in given.items() if k not in ours})
    except Problem as error:
        taken += [(f"init_args.{key}", text) for key, text in error.lines]
    return taken


def arguments(params: Params) -> dict[str, Any]:
    """The arguments of the model with its own defaults; None for those that are no plain values."""
    own = {key: default for key, (_, default) in signature(params["model"]).items()}
    return own | dict(params["init_args"])


def _networks(params: Params, entry: Entry) -> Iterator[tuple[str, str]]:
    """Backbones and layers that there are not, and weights that nobody would load."""
    args, weights = arguments(params), params["weights"]
    wanted = entry.backbones(args)
    if weights not in (None, DEMO) and not (wanted or entry.clip or entry.file):
        yield "weights", f"{params['model']} loads no weights with these arguments"
    if weights is not None and any(name.startswith(TV) for name in wanted):
        yield "weights", f"{params['model']} takes those of torchvision and no others"
    for name in wanted if weights != DEMO else ():
        yield from _unknown(name, params["init_args"])


def _unknown(name: str, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A network that is in no library, or layers that it lacks; anomalib's own choice is not asked about."""
    keys = [k for k in ("backbone", "encoder_name", "teacher_backbone") if k in given]
    layers = [x for x in given.get("layers") or () if isinstance(x, str)]
    known = names.facts(name) if keys or layers else None
    if known and known["error"]:
        yield f"init_args.{keys[0] if keys else 'backbone'}", known["error"]
    elif known:
        unknown = [layer for layer in layers if layer not in known["layers"]]
        yield from (("init_args.layers", names.no_layer(name, x, known["layers"])) for x in unknown)


def _length(params: Params, entry: Entry) -> Iterator[tuple[str, str]]:
    given = [key for key in ("max_steps", "max_epochs") if params[key] is not None]
    if entry.kind == "trains" and not given:
        yield "max_steps", f"{params['model']} trains for as long as it is told: give max_steps or max_epochs"
    if entry.kind != "trains":
        text = f"{params['model']} looks at every image as often as it needs, and does not train"
        yield from ((key, text) for key in given)
    if params["batch_size"] not in (None, 1) and entry.batch == 1:
        yield "batch_size", f"{params['model']} takes one image at a time"
    if params["images"] is not None and not entry.images:
        yield "images", f"{params['model']} takes no further images"


def _input(params: Params, entry: Entry) -> Iterator[tuple[str, str]]:
    size, crop = params["image_size"], params["crop"]
    if entry.fixed and size not in (None, entry.fixed):
        yield (
            "image_size",
            f"{params['model']} looks at {entry.fixed} x {entry.fixed} pixels and at no others",
        )
    if size is not None and size < entry.smallest:
        yield (
            "image_size",
            f"{params['model']} cuts {entry.smallest} x {entry.smallest} pixels out of the centre",
        )
    if crop is None:
        return
    if crop_argument(params["model"]) is None:
        yield "crop", f"{params['model']} cuts nothing out"
    elif size is None or crop > size:
        yield "crop", f"{crop} of what? give an image_size that is no smaller"


def crop_argument(model: str) -> str | None:
    """What the model calls the side, or sides, of the centre that it cuts out of its input."""
    return next((k for k in signature(model, "configure_pre_processor") if k.endswith("crop_size")), None)


def unmet(params: Params, task: Task) -> str | None:
    """Why it cannot run: what is missing and where it would have to be; for `Card.unmet`."""
    if lacking := unusable():
        return lacking
    entry = CATALOGUE[params["model"]]
    if entry.never:
        return f"{params['model']} cannot be run here: {entry.never}"
    least = entry.least(arguments(params))
    if task.n_train < least and entry.kind != "is shown":
        return f"{params['model']} needs at least {least} training images, and here are {task.n_train}"
    if entry.needs_images and params["images"] is None:
        return f"{params['model']} needs {entry.needs_images}: give their folder as `images:`"
    try:
        files(params)
    except WeightsError as error:
        return f"{params['model']}: {error}"
    return None


def files(params: Params) -> tuple[Weights, ...]:
    """The files of weights that a model loads, in its order.

    Raises:
        ConfigError: there is no such network.
        WeightsError: a file is neither here nor to be had.
    """
    entry, args, weights = CATALOGUE[params["model"]], arguments(params), params["weights"]
    if weights == DEMO and (entry.clip or entry.file):
        raise WeightsError("no demo weights fit it, as anomalib fixes its size")
    found = [find(name, None if name.startswith(TV) else weights) for name in entry.backbones(args)]
    found += [find_clip(*entry.clip, weights)] if entry.clip else []
    found += [_of_hub(*entry.hub)] if entry.hub else []
    return (*found, *([_own(entry.file(args), weights)] if entry.file else []))


def _of_hub(repository: str, file: str, revision: str) -> Weights:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, file, revision=revision)
    if isinstance(found, str):
        return Weights(repository, Path(found))
    raise WeightsError(
        f"{file} of {repository} is not in the local cache; where the hub can be reached: hf download "
        f"{repository} {file} --revision {revision}"
    )


def _own(place: tuple[str, str], weights: str | None) -> Weights:
    """A file that anomalib publishes: where its cache has it, or where `weights` says that it lies."""
    where, source = place
    path = cache() / where if weights is None else Path(weights).expanduser()
    if path.is_file():
        return Weights(path.stem, path.absolute())
    raise WeightsError(f"no file {path}; it is published at {source}: put it there, or give `weights: PATH`")


def cache() -> Path:
    """Where anomalib looks for what it has downloaded."""
    return Path(import_module("platformdirs").user_cache_path("anomalib"))  # which comes with anomalib


def assets(params: Params, category: str) -> tuple[Asset, ...]:
    """Weights, and the folder of further images; for `Card.assets`.

    Raises:
        ConfigError, WeightsError: see `files`.
        DataError: no images below the folder.
    """
    del category  # the same for all
    found = [Asset(f.backbone, f.sha256, str(f.path), f.marks) for f in files(params)]
    folder = params["images"]
    return (*found, *([Asset("images", _listed(folder), folder)] if folder else []))


@lru_cache(maxsize=4)
def _listed(folder: str) -> str:
    """Hash of the names and sizes of the images below a folder; their content would take an hour to read."""
    root = Path(folder).expanduser()
    paths = image_files_below(root) if root.is_dir() else ()
    lines = [f"{p.relative_to(root).as_posix()} {p.stat().st_size}" for p in paths]
    if not lines:
        raise DataError(f"images: {folder} is no folder with images below it")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def sizes(params: Params, native: tuple[int, int]) -> Sequence[Size]:
    """At which size it asks for images, where that is known before anomalib is; for `Card.sizes`."""
    del native
    side = params["image_size"] or CATALOGUE[params["model"]].fixed
    return (Geometry.square(side),) if side else ()

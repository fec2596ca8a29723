"""Views of a trial's test images that a sweep was asked to keep: `<run>/views/<trial_id>.npz`.

A JSON index of all images and one array per view; heat maps as float16, divided by their largest magnitude.
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.results.kept import read_kept
from harness.views import Bars, Heat, Parts, Reference, View

KIND = "views"
Entry = dict[str, Any]


def pack(ids: Sequence[str], views: Sequence[tuple[View, ...]]) -> bytes:
    """The content of a views file.

    Args:
        ids: image ids.
        views: what is shown of each.
    """
    arrays: dict[str, NDArray[Any]] = {}
    index = {
        image: [_entry(view, f"{i}/{j}", arrays) for j, view in enumerate(shown)]
        for i, (image, shown) in enumerate(zip(ids, views, strict=True))
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, index=np.array(json.dumps(index)), **arrays)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def read_views(run: Path, trial_id: str) -> dict[str, tuple[View, ...]] | None:
    """Image id -> its views; None if they were not kept.

    Raises:
        DataError: the file is damaged.
    """
    return read_kept(run, KIND, trial_id, _unpack)


def _unpack(file: Mapping[str, NDArray[Any]]) -> dict[str, tuple[View, ...]]:
    index = json.loads(str(file["index"]))
    return {
        image: tuple(_view(entry, file, f"{i}/{j}") for j, entry in enumerate(entries))
        for i, (image, entries) in enumerate(index.items())
    }


def _entry(view: View, key: str, arrays: dict[str, NDArray[Any]]) -> Entry:
    """What the index says of a view; its array goes under `key`."""
    entry: Entry = {"kind": type(view).__name__, "title": view.title}
    match view:
        case Heat():
            scale = float(np.abs(view.values).max(initial=0.0)) or 1.0
            arrays[key] = (view.values / scale).astype(np.float16)
            return entry | {"scale": scale}
        case Parts():
            arrays[key] = view.labels.astype(np.min_scalar_type(len(view.names)))
            return entry | {"names": view.names}
        case Bars():
            arrays[key] = np.stack([np.asarray(values, np.float32) for values in view.series.values()])
            return entry | {"names": view.names, "series": list(view.series)}
        case Reference():
            return entry | {"image": view.image}


def _view(entry: Entry, arrays: Mapping[str, NDArray[Any]], key: str) -> View:
    title = entry["title"]
    match entry["kind"]:
        case "Heat":
            return Heat(title, arrays[key].astype(np.float32) * np.float32(entry["scale"]))
        case "Parts":
            return Parts(title, arrays[key], tuple(entry["names"]))
        case "Bars":
            return Bars(title, tuple(entry["names"]), dict(zip(entry["series"], arrays[key], strict=True)))
        case _:
            return Reference(title, entry["image"])

"""What a vision transformer of open_clip can be asked for, told while planning by files alone."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.errors import ConfigError
from methods.shared.openclip.spec import blocks_of, grid_of
from methods.shared.weights import DEMO, demo


def problems(
    params: Mapping[str, Any], stages: Sequence[str] = (), scales: str = ""
) -> list[tuple[str, str]]:
    """Sizes that are no multiple of the patch, blocks and windows that there are not; for `Card.problems`.

    Args:
        params: complete hyper-parameters, `model`, `weights` and `image_size` among them.
        stages: hyper-parameters that number blocks, None for the model's own.
        scales: the hyper-parameter that gives sides of windows in patches; "" for none.
    """
    vision = _vision(params["model"], params["weights"] == DEMO)
    if vision is None:  # said, if it is wrong, where the weights are looked for
        return []
    try:
        grid = grid_of(params["image_size"], vision["patch_size"], params["model"])
    except ConfigError as error:
        return [("image_size", str(error))]
    found = [(key, text) for key in stages if (text := _no_blocks(params, key, vision["layers"]))]
    if scales and max(params[scales]) > grid:
        found.append((scales, f"{list(params[scales])}: the image has {grid} patches along a side"))
    return found


def _no_blocks(params: Mapping[str, Any], key: str, depth: int) -> str:
    given = params[key]
    try:
        blocks_of(
            given and sorted(set(given)), depth, params["model"]
        )  # order and repetition are the method's
    except ConfigError as error:
        return str(error)
    return ""


@lru_cache(maxsize=64)
def _vision(model: str, demonstrated: bool) -> Mapping[str, Any] | None:
    """The image tower's configuration; None where it cannot be told without importing torch."""
    if demonstrated:
        file, key = demo(model, "image_text").path.with_name("open_clip_config.json"), "model_cfg"
    else:
        package = find_spec("open_clip")  # finds the folder and imports nothing
        places = package.submodule_search_locations if package else None
        file, key = Path((places or [""])[0], "model_configs", f"{model}.json"), ""
    try:
        config = json.loads(file.read_bytes())
        vision = (config[key] if key else config)["vision_cfg"]
        return vision if isinstance(vision["layers"], int) and isinstance(vision["patch_size"], int) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None

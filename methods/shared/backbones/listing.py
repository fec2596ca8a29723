"""What timm and torchvision have under a name; run by `names` in a process of its own, for it imports torch.

Models are built on the device "meta": their modules exist, their numbers do not, and the largest takes
less than a second.
"""

import json
import sys
from typing import Any

import torch

from harness.errors import ConfigError
from methods.shared.layers import patch_of
from methods.shared.weights import TORCHVISION, timm_config, torchvision_weights


def facts(backbone: str) -> dict[str, Any]:
    """Names of a backbone's modules, keys of its weights, side of its patches; or why there is none."""
    try:
        with torch.device("meta"):
            model = _built(backbone)
    except ConfigError as error:
        return {"error": str(error), "layers": [], "keys": [], "patch": None}
    layers = [name for name, _ in model.named_modules() if name]
    return {"error": "", "layers": layers, "keys": list(model.state_dict()), "patch": patch_of(model)}


def _built(backbone: str) -> torch.nn.Module:
    if backbone.startswith(TORCHVISION):
        from torchvision.models import get_model

        torchvision_weights(backbone)
        return get_model(backbone.removeprefix(TORCHVISION).partition(".")[0], weights=None)
    import timm

    timm_config(backbone)
    return timm.create_model(backbone, pretrained=False)


def main() -> None:
    """Print the facts of every backbone on the command line as one line of JSON."""
    print(json.dumps({backbone: facts(backbone) for backbone in sys.argv[1:]}))

"""The contestants. One line per method; its module is imported only when the method is used."""

from typing import Any

from harness.registry import Registry

METHODS: Registry[Any] = Registry(
    "method",
    {
        "clip": "methods.clip:Clip",
        "clip_lad": "methods.clip_lad:ClipLad",
        "efficientad": "methods.efficientad:EfficientAD",
        "efficientad_dfsc": "methods.efficientad:EfficientADDFSC",
        "mean_image": "methods.mean_image:MeanImage",
        "patchcore": "methods.patchcore:PatchCore",
        "psad": "methods.psad:PSAD",
        "winclip": "methods.winclip:WinClip",
    },
    group="ladder.methods",
    of=type,
)

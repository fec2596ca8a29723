"""The contestants. One line per method; its module is imported only when the method is used."""

from harness.registry import Registry

METHODS = Registry(
    "method",
    {
        "mean_image": "methods.mean_image:MeanImage",
        "patchcore": "methods.patchcore:PatchCore",
    },
    group="ladder.methods",
)

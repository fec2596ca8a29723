"""The contestants. One line per method; its module is imported only when the method is used."""

from typing import Any

from harness.registry import Registry

METHODS: Registry[Any] = Registry(
    "method",
    {
        "anomalib": "methods.anomalib:Anomalib",
        "anomaly_dino": "methods.anomaly_dino:AnomalyDINO",
        "ast": "methods.ast:AST",
        "clip": "methods.clip:Clip",
        "clip_lad": "methods.clip_lad:ClipLad",
        "comad": "methods.comad:ComAD",
        "comad_patchcore": "methods.comad:ComADPatchCore",
        "draem": "methods.draem:DRAEM",
        "efficientad": "methods.efficientad:EfficientAD",
        "efficientad_dfsc": "methods.efficientad:EfficientADDFSC",
        "f_anogan": "methods.f_anogan:FAnoGAN",
        "gcad": "methods.gcad:GCAD",
        "mean_image": "methods.mean_image:MeanImage",
        "padim": "methods.padim:PaDiM",
        "patchcore": "methods.patchcore:PatchCore",
        "promptad": "methods.promptad:PromptAD",
        "psad": "methods.psad:PSAD",
        "puad": "methods.efficientad:PUAD",
        "puad_dfsc": "methods.efficientad:PUADDFSC",
        "rd4ad": "methods.rd4ad:RD4AD",
        "sinbad": "methods.sinbad:SINBAD",
        "spade": "methods.spade:SPADE",
        "st": "methods.st:ST",
        "stfpm": "methods.stfpm:STFPM",
        "subspace_ad": "methods.subspace_ad:SubspaceAD",
        "winclip": "methods.winclip:WinClip",
    },
    group="ladder.methods",
    of=type,
)

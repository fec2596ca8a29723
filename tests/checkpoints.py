"""Randomly initialised checkpoints for tests that need a backbone but not a good one."""

from functools import cache
from pathlib import Path


@cache
def checkpoint(backbone: str, folder: Path) -> Path:
    """A .safetensors file with the key names of a timm model."""
    import timm
    import torch
    from safetensors.torch import save_file

    path = folder / f"{backbone}.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(timm.create_model(backbone).state_dict(), path)
    return path

"""From a trained network to the file that ships, and its line in the manifest."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from harness.data.digest import file_digest
from methods.shared.weights import DEMO_FOLDER
from training.journal import say, seconds

COUNTER = "num_batches_tracked"
ENTRIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "backbone": ("backbones", "*", {"file": "backbone.safetensors", "architecture": "resnet10t"}),
    "image_text": (
        "image_text",
        "*",
        {"file": "image_text/open_clip_model.safetensors", "architecture": "demo-ViT-8"},
    ),
    "vit": (
        "backbones",
        "vit_*",
        {
            "file": "vit.safetensors",
            "architecture": "vit_small_patch8_224",
            "options": {"img_size": 112, "embed_dim": 64, "num_heads": 4, "mlp_ratio": 2},
        },
    ),
    "teacher": ("teachers", "*", {"file": "teacher.safetensors", "architecture": "pdn_small"}),
}


def ship(name: str, state: Mapping[str, Tensor], folder: Path | None) -> Path:
    """Write the file (matrices as float16, vectors as float32) and its entry in `manifest.json`.

    Args:
        name: "backbone", "vit", "image_text" or "teacher".
        state: key -> tensor.
        folder: None for the folder of the demo weights.
    """
    folder = folder or DEMO_FOLDER
    kind, key, entry = ENTRIES[name]
    path = folder / entry["file"]
    path.parent.mkdir(parents=True, exist_ok=True)
    small = {k: _stored(v) for k, v in state.items() if not k.endswith(COUNTER)}
    save_file(small, path)
    _register(folder / "manifest.json", kind, key, {**entry, "sha256": file_digest(path)})
    say(f"{path}: {path.stat().st_size:,} bytes after {seconds():.0f} s")
    return path


def _stored(value: Tensor) -> Tensor:
    kept = torch.float16 if value.ndim > 1 else torch.float32
    return value.detach().to(kept).contiguous().clone()


def _register(manifest: Path, kind: str, key: str, entry: Mapping[str, Any]) -> None:
    content = json.loads(manifest.read_text()) if manifest.is_file() else {}
    content.setdefault(kind, {})[key] = dict(entry)
    manifest.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")

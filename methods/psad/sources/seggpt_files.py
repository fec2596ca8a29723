"""Where SegGPT's weights lie; found without transformers and without torch."""

from importlib.util import find_spec
from pathlib import Path

from harness.errors import WeightsError
from harness.method import Asset
from methods.shared.weights import Weights, reachable

FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
PACKAGE = "transformers"
HOW = "give `seggpt_weights`: a folder with it, or a name that the hub has"


def lacking(name: str) -> str | None:
    """Why SegGPT cannot run here, or None."""
    if find_spec(PACKAGE) is None:
        return f'segmentation: seggpt needs {PACKAGE} (pip install "ladder-bench[seggpt]")'
    try:
        folder_of(name)
    except WeightsError as error:
        return str(error)
    return None


def folder_of(name: str) -> Path:
    """The folder with configuration, preprocessing and weights: a local one, or the hub's snapshot.

    Raises:
        WeightsError: there is none, or a file is missing in it.
    """
    local = Path(name).expanduser()
    return _whole(local) if local.is_dir() else _snapshot(name)


def _whole(folder: Path) -> Path:
    missing = [file for file in FILES if not (folder / file).is_file()]
    if missing:
        raise WeightsError(f"seggpt_weights: {folder} lacks {', '.join(missing)}")
    return folder.absolute()


def _snapshot(name: str) -> Path:
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = [try_to_load_from_cache(name, file) for file in FILES]
        if all(isinstance(path, str) for path in found):
            return Path(str(found[0])).parent
        if constants.HF_HUB_OFFLINE or not reachable(constants.ENDPOINT):
            raise WeightsError(
                f"the weights of SegGPT ({name}) are not in the local cache and {constants.ENDPOINT} cannot "
                f"be reached; {HOW}"
            )
        fetched = [Path(hf_hub_download(name, file)) for file in FILES]
        return fetched[0].parent
    except HFValidationError as error:
        raise WeightsError(f"seggpt_weights: {name} is no folder and no name on the hub; {HOW}") from error
    except OSError as error:  # every error of the hub and of the network below it
        raise WeightsError(f"the weights of SegGPT ({name}) cannot be had from the hub; {HOW}") from error


def assets(name: str) -> tuple[Asset, ...]:
    """Its files, as they are named there.

    Raises:
        WeightsError: see `folder_of`.
    """
    folder = folder_of(name)
    files = (Weights(file, folder / file) for file in FILES)
    return tuple(Asset(f"seggpt/{file.backbone}", file.sha256, str(folder)) for file in files)

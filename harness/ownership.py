"""Whether the four top-level packages that run are ours.

Their names are plain words, and other projects use them: PyPI's `sweeps` has a package `sweeps` too, and
installing it into the environment of an installed Ladder overwrites files without a word.
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path

import harness
from harness.errors import ConfigError

PACKAGES = ("harness", "methods", "sweeps", "reports")
OURS = "ladder-bench"


def check_ownership() -> None:
    """Refuse to run a mixture of Ladder and something else of the same name.

    Cheap where all is well: nothing is imported, and of the installed distributions only our own is read.

    Raises:
        ConfigError: names the package, where it comes from, and the distribution that brought it.
    """
    # resolved: an editable install may come through a link
    home = Path(harness.__file__).resolve().parent.parent
    foreign = [name for name in PACKAGES if _origin(name) != home / name / "__init__.py"]
    overwritten = [name for name in PACKAGES if name not in foreign and _overwritten(home / name)]
    if foreign or overwritten:
        raise ConfigError([_sentence(name, home) for name in (*foreign, *overwritten)])


def _origin(name: str) -> Path | None:
    """The `__init__.py` that `import name` would run; None if there is none."""
    spec = find_spec(name)
    # a folder without __init__.py has no origin; Python prefers any real package to it
    return Path(spec.origin).resolve() if spec and spec.origin else None


def _overwritten(package: Path) -> bool:
    """Whether an installed package's `__init__.py` is another file than the one that was installed."""
    try:
        ours = distribution(OURS)
    except PackageNotFoundError:
        return False
    for file in ours.files or ():
        if file.parts == (package.name, "__init__.py") and file.hash and _same(ours, file, package):
            # RECORD holds what pip wrote: urlsafe base64 without padding, algorithm in front
            content = hashlib.new(file.hash.mode, (package / "__init__.py").read_bytes()).digest()
            return urlsafe_b64encode(content).decode().rstrip("=") != file.hash.value
    return False


def _same(ours: Distribution, file: object, package: Path) -> bool:
    """Whether our distribution is the one that runs; not if it runs from a checkout beside it."""
    return Path(str(ours.locate_file(str(file)))).resolve() == (package / "__init__.py").resolve()


def _sentence(name: str, home: Path) -> str:
    found = _origin(name)
    # reads the metadata of everything installed: slow, and only done when something is wrong
    owners = _intruders(packages_distributions().get(name, ()))
    culprit = f" by the installed distribution {' and '.join(owners)}" if owners else ""
    remedy = "install Ladder into an environment of its own"
    if found == home / name / "__init__.py":
        return f"the package {name!r} of Ladder in {home} was overwritten{culprit}; {remedy}"
    where = f"comes from {found.parent}" if found else "is missing"
    remedy = remedy if owners else "start from another folder"
    brought = f" (brought{culprit})" if culprit else ""
    return f"the package {name!r} {where}{brought}, not from Ladder in {home}; {remedy}"


def _intruders(owners: Iterable[str]) -> list[str]:
    # distribution names come in either spelling
    return sorted({owner for owner in owners if owner.lower().replace("_", "-") != OURS})

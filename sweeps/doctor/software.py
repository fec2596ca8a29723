"""Python and the packages that Ladder asks for, against what is installed."""

import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from harness import __version__
from harness.errors import HarnessError
from harness.ownership import check_ownership
from sweeps.doctor.finding import Finding, green, red

DISTRIBUTION = "ladder-bench"
PYTHON = (3, 11)


def software() -> Iterator[Finding]:
    """Python, Ladder itself and every package that it requires here."""
    yield _python()
    yield _ladder()
    for requirement in _required():
        yield _package(requirement)


def _python() -> Finding:
    found = platform.python_version()
    if sys.version_info < PYTHON:
        wanted = ".".join(map(str, PYTHON))
        return red("software", "python", f"Python {found}", f"make the environment with Python ≥ {wanted}")
    return green("software", "python", f"Python {found}", version=found)


def _ladder() -> Finding:
    try:
        check_ownership()
    except HarnessError as error:
        return red("software", "ladder", str(error), "give Ladder an environment of its own")
    return green("software", "ladder", f"Ladder {__version__}", version=__version__)


def _required() -> list[Requirement]:
    """What the installed distribution asks for on this platform; nothing where it is not installed."""
    try:
        lines = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return []
    found = [Requirement(line) for line in lines]
    return [r for r in found if r.marker is None or r.marker.evaluate({"extra": ""})]


def _package(requirement: Requirement) -> Finding:
    name, mend = requirement.name, f"python -m pip install '{requirement.name}{requirement.specifier}'"
    try:
        found = version(name)
    except PackageNotFoundError:
        return red("software", name, f"{name} is not installed", mend)
    if not requirement.specifier.contains(found, prereleases=True):
        said = f"{name} {found}, but Ladder asks for {requirement.specifier}"
        return red("software", name, said, mend, version=found)
    twice = _versions_on_path(name)
    if len(twice) > 1:
        said = f"{name} is installed {len(twice)} times: {', '.join(twice)}"
        again = f"python -m pip uninstall -y {name} until it is gone, then {mend}"
        return red("software", name, said, again, version=found)
    return green("software", name, f"{name} {found}", version=found)


def _versions_on_path(name: str) -> list[str]:
    """Versions of a distribution that lie on the path, in the order in which Python would find them."""
    from importlib.metadata import distributions

    return list(dict.fromkeys(d.version for d in distributions(name=name)))

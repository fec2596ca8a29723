"""The combinations of hyper-parameters of one entry of a sweep file: counted, checked, completed."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any, NamedTuple

from harness.params import Problem, resolve

Problems = list[tuple[str, str]]  # (key path, sentence)


class Parts(NamedTuple):
    """What an entry says of hyper-parameters: fixed ones, those of the product, those that go together."""

    params: Mapping[str, Any]
    grid: Mapping[str, Sequence[Any]]
    zip: Mapping[str, Sequence[Any]]

    @property
    def axes(self) -> dict[str, Sequence[Any]]:
        """The hyper-parameters that vary, with their values."""
        return {**self.grid, **self.zip}

    @property
    def size(self) -> int:
        """How many combinations there are; nothing is built for it."""
        rows = min((len(values) for values in self.zip.values()), default=1)
        return rows * prod(len(values) for values in self.grid.values())

    def place(self, name: str) -> str:
        """The key under which a hyper-parameter is given."""
        where = "grid" if name in self.grid else "zip" if name in self.zip else "params"
        return f"{where}.{name}"


def refused(owner: type, parts: Parts) -> Problems:
    """What is wrong with any value; values are looked at one by one, for no field's depends on another's."""
    found: Problems = []
    for given in (_first(parts), *(given for _, given in _varied(parts))):
        try:
            resolve(owner, given)
        except Problem as error:
            found += [(parts.place(key), text) for key, text in error.lines]
    return list(dict.fromkeys(found))


def completed(owner: type, parts: Parts) -> Iterator[dict[str, Any]]:
    """Every combination with the defaults filled in: the product of `grid`, times the rows of `zip`.

    Raises:
        Problem: see `refused`.
    """
    whole = resolve(owner, _first(parts))
    values: dict[str, list[Any]] = {name: [] for name in parts.axes}
    for name, given in _varied(parts):
        values[name].append(resolve(owner, given)[name])
    rows = list(zip(*(values[name] for name in parts.zip), strict=True)) or [()]
    for chosen in product(*(values[name] for name in parts.grid)):
        for row in rows:
            yield whole | dict(zip(parts.grid, chosen, strict=True)) | dict(zip(parts.zip, row, strict=True))


def _first(parts: Parts) -> dict[str, Any]:
    return {**parts.params, **{name: values[0] for name, values in parts.axes.items()}}


def _varied(parts: Parts) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each value of each axis, the others at their first."""
    first = _first(parts)
    for name, values in parts.axes.items():
        yield from ((name, first | {name: value}) for value in values)

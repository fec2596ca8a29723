"""Explicit tables of names, imported only when a name is used."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from harness.errors import ConfigError, nearest


class Registry:
    """A table `name -> "module:attribute"` that answers unknown names with the nearest known one.

    Args:
        kind: what the names are, in the singular ("method"); used in messages.
        table: the entries that ship with the project.
        group: entry-point group through which installed packages may add entries.

    Raises:
        ConfigError: an external entry takes a name that is already in the table.
    """

    def __init__(self, kind: str, table: Mapping[str, str], group: str | None = None):
        self.kind = kind
        self._table = dict(table) | self._external(group, table)

    def _external(self, group: str | None, table: Mapping[str, str]) -> dict[str, str]:
        found = {e.name: e.value for e in entry_points(group=group)} if group else {}
        taken = sorted(set(found) & set(table))
        if taken:
            raise ConfigError(f"installed packages redefine the {self.kind}s {taken}; rename theirs")
        return found

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._table)

    def __contains__(self, name: object) -> bool:
        return name in self._table

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def unknown(self, name: str) -> str:
        """The sentence for a name that is not in the table."""
        allowed = ", ".join(self.names())
        return f"unknown {self.kind} {name!r}{nearest(name, self._table)}; known: {allowed}"

    def load(self, name: str) -> Any:
        """The object registered under `name`.

        Raises:
            ConfigError: unknown name, or an installed package whose module cannot be imported.
        """
        if name not in self._table:
            raise ConfigError(self.unknown(name))
        module, _, attribute = self._table[name].partition(":")
        try:
            return getattr(import_module(module), attribute)
        except Exception as error:  # code of an installed package may fail in any way
            words = f"{type(error).__name__}: {error}"
            raise ConfigError(f"{self.kind} {name!r} cannot be imported from {module}: {words}") from error

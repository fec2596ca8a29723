"""Explicit tables of names, imported only when a name is used."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from harness.errors import ConfigError, nearest

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """A table `name -> "module:attribute"` that answers unknown names with the nearest known one.

    Entries of installed packages are looked up when first asked for, so that a package which is wrong is an
    error in words at the command that needs it, and not at every import.

    Args:
        kind: what the names are, in the singular ("method"); used in messages.
        table: the entries that ship with the project.
        group: entry-point group through which installed packages may add entries.
        of: class of which every entry is an instance.
    """

    def __init__(
        self,
        kind: str,
        table: Mapping[str, str],
        group: str | None = None,
        of: Any = object,
    ):
        self.kind, self._table, self._group, self._of = kind, dict(table), group, of

    @property
    def own(self) -> list[str]:
        """Names that ship with the project, in the order of the table."""
        return list(self._table)

    @cached_property
    def external(self) -> Mapping[str, EntryPoint]:
        """Entries of installed packages, by name.

        Raises:
            ConfigError: one takes a name of ours, or two the same.
        """
        found: dict[str, EntryPoint] = {}
        for entry in sorted(entry_points(group=self._group), key=str) if self._group else ():
            taken = entry.name in self._table or found.get(entry.name, entry).value != entry.value
            if taken:
                other = "Ladder" if entry.name in self._table else _package(found[entry.name])
                raise ConfigError(
                    f"{self._group}: the package {_package(entry)} registers the {self.kind} {entry.name!r}, "
                    f"which {other} has already; rename it or uninstall the package"
                )
            found[entry.name] = entry
        return found

    def names(self) -> list[str]:
        """All names: our own in the order of the table, then those of packages, sorted."""
        return [*self._table, *sorted(self.external)]

    def __contains__(self, name: object) -> bool:
        return name in self._table or name in self.external

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def unknown(self, name: str) -> str:
        """The sentence for a name that is not in the table."""
        names = self.names()
        return f"unknown {self.kind} {name[:80]!r}{nearest(name, names)}; known: {', '.join(names)}"

    def load(self, name: str) -> Entry:
        """What is registered under `name`.

        Raises:
            ConfigError: unknown name, or an installed package's entry that cannot be imported or is not what
                it should be.
        """
        if name in self._table:
            module, _, attribute = self._table[name].partition(":")
            return getattr(import_module(module), attribute)
        if name not in self.external:
            raise ConfigError(self.unknown(name))
        return self._foreign(name, self.external[name])

    def _foreign(self, name: str, entry: EntryPoint) -> Entry:
        where = f"{self.kind} {name!r} of the package {_package(entry)}: {entry.value}"
        try:
            found = entry.load()
        except Exception as error:  # the code of others may raise anything while it is imported
            kind = type(error).__name__
            raise ConfigError(
                f"{where} cannot be imported ({kind}: {' '.join(str(error).split())})"
            ) from error
        if not isinstance(found, self._of):
            raise ConfigError(f"{where} is a {type(found).__name__}, not a {_dotted(self._of)}")
        return found


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.module.partition(".")[0]


def _dotted(kind: Any) -> str:
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")

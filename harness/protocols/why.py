"""From one protocol to another, one factor at a time: the protocols between them, and each factor alone.

After factor i all that the first i factors name is as in the second protocol, the rest as in the first; the
last step is the second protocol itself. The order matters, so each factor is also changed alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from harness.protocols.filling import ALL, Part, same, under, words
from harness.protocols.preset import KEYS, Preset, preset

# factor -> the key of a sweep file that it changes; `params` are the hyper-parameters that protocols fix
FACTORS = {
    "categories": "categories",
    "shots": "shots",
    "draw": "support",
    "seeds": "seeds",
    "validation": "validation",
    "input": "input",
    "aggregation": "number",
    "params": "params",
}
REST = "rest"


@final
@dataclass(frozen=True)
class Factor:
    """Something that changes from one step to the next.

    Attributes:
        name: for tables.
        keys: of a sweep file, that it changes; `params` among them.
        method: whose hyper-parameters it changes besides; "" for none.
        change: hyper-parameter -> (before, after).
    """

    name: str
    keys: tuple[str, ...] = ()
    method: str = ""
    change: Mapping[str, Sequence[Any]] | None = None


def steps(raw: Mapping[str, Any]) -> list[Part]:
    """The parts of a sweep file with `why`: the path between two protocols, then each factor alone.

    Args:
        raw: valid; keys other than `why` that it gives hold in every step.
    """
    why = raw["why"]
    first, last = preset(why["from"]), preset(why["to"])
    plain = {key: value for key, value in raw.items() if key not in ALL}
    plain.setdefault("metrics", union(first, last))
    factors = _factors(why, plain, first, last)
    between = _Between(plain, first, last, factors)
    path = [between.after(i) for i in range(len(factors) + 1)]
    alone = [between.alone(i) for i in range(1, len(factors))] if why.get("alone", True) else []
    return [*path, *alone]


def union(*found: Preset) -> list[str]:
    """The metrics of several protocols."""
    return list(dict.fromkeys(m for one in found for m in one.keys["metrics"]))


def _factors(
    why: Mapping[str, Any], plain: Mapping[str, Any], first: Preset, last: Preset
) -> tuple[Factor, ...]:
    """Those that are named, and one for what differs besides."""
    named = [_factor(given) for given in why["factors"]]
    known = {key for factor in named for key in factor.keys}
    left = tuple(
        key for key in (*KEYS[1:-1], "params") if key not in known and _differs(key, plain, first, last)
    )
    return (*named, *([Factor(f"{REST} ({', '.join(left)})", left)] if left else []))


def _factor(given: Any) -> Factor:
    if isinstance(given, str):
        return Factor(given, (FACTORS[given],))
    return Factor(given["name"], (), given["method"], given["change"])


def _differs(key: str, plain: Mapping[str, Any], first: Preset, last: Preset) -> bool:
    if key == "params":
        return first.params != last.params and any(
            first.fixed(entry["name"]) != last.fixed(entry["name"]) for entry in plain["methods"]
        )
    return plain.get(key) is None and not same(key, first.keys.get(key), last.keys.get(key))


@final
@dataclass(frozen=True)
class _Between:
    """What lies between two protocols."""

    plain: Mapping[str, Any]
    first: Preset
    last: Preset
    factors: tuple[Factor, ...]

    def after(self, i: int) -> Part:
        """The i-th step of the path; 0 is the first protocol."""
        done = self.factors[:i]
        if not done:
            return replace(self._part(done), step={"kind": "path", **self._told(None)})
        name = " + ".join(factor.name for factor in done)
        label = f"{self.first.name} → {self.last.name}: {name}"
        part = (
            self._part(done)
            if i == len(self.factors)
            else replace(self._part(done), label=label, protocol="")
        )
        return replace(part, step={"kind": "path", **self._told(done[-1])})

    def alone(self, i: int) -> Part:
        """The first protocol with one factor of the second."""
        factor = self.factors[i]
        label = f"{self.first.name} → {self.last.name}: {factor.name} alone"
        return replace(
            self._part((factor,)), label=label, protocol="", step={"kind": "alone", **self._told(factor)}
        )

    def _part(self, done: Sequence[Factor]) -> Part:
        moved = {key for factor in done for key in factor.keys}
        whole = len(done) == len(self.factors)
        base, other = (self.last, self.last) if whole else (self.first, self.last)
        keys = {k: (other if k in moved else base).keys.get(k) for k in {**base.keys, **other.keys}}
        keys = {key: value for key, value in keys.items() if value is not None}
        mixed = replace(base, keys=keys, params=(other if "params" in moved else base).params)
        return under({**self.plain, "methods": list(self._entries(done))}, mixed)

    def _entries(self, done: Sequence[Factor]) -> Iterator[dict[str, Any]]:
        for entry in self.plain["methods"]:
            mine = [f for f in self.factors if f.change and f.method == entry["name"]]
            values = {name: pair[f in done] for f in mine for name, pair in (f.change or {}).items()}
            yield {**entry, "params": {**(entry.get("params") or {}), **values}}

    def _told(self, factor: Factor | None) -> dict[str, Any]:
        touched = {
            entry["name"]: sorted({*self.first.fixed(entry["name"]), *self.last.fixed(entry["name"])})
            for entry in self.plain["methods"]
        }
        for one in self.factors:
            if one.change and one.method in touched:
                touched[one.method] = sorted({*touched[one.method], *one.change})
        told = {"from": self.first.name, "to": self.last.name, "touched": touched}
        return told if factor is None else {**told, "factor": factor.name, "what": self._what(factor)}

    def _what(self, factor: Factor) -> str:
        """`objects → subcategories`; what both have in common is said to be."""
        if factor.change:
            return ", ".join(f"{k} {_said(a)} → {_said(b)}" for k, (a, b) in factor.change.items())
        pairs = [(key, *self._values(key)) for key in factor.keys]
        return ", ".join(f"{a} → {b}" if a != b else f"{a} in both" for _, a, b in pairs)

    def _values(self, key: str) -> tuple[str, str]:
        if key == "params":
            return f"{self.first.name}'s", f"{self.last.name}'s"
        if self.plain.get(key) is not None:
            given = words(key, self.plain[key])
            return given, given
        return words(key, self.first.keys.get(key)), words(key, self.last.keys.get(key))


def _said(value: Any) -> str:
    """A hyper-parameter in a table; of a file its name."""
    if isinstance(value, list):
        return " + ".join(map(str, value))
    return "none" if value is None else str(value).rpartition("/")[2]

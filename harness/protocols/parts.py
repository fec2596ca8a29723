"""The parts of a sweep file: one for each protocol that it names, and what a run records of them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from harness.protocols.filling import Part, labelled, under
from harness.protocols.preset import preset
from harness.protocols.why import steps, union


def several(raw: Mapping[str, Any]) -> bool:
    """Whether a sweep file names more than one protocol."""
    return bool(raw.get("protocols") or raw.get("why"))


def parts_of(raw: Mapping[str, Any]) -> list[Part]:
    """A valid sweep file as files that name no protocol but one; the file itself where it names none."""
    if raw.get("why"):
        return steps(raw)
    if raw.get("protocols"):
        found = [preset(name) for name in dict.fromkeys(raw["protocols"])]
        metrics = raw.get("metrics") or union(*found)
        return [under({**raw, "metrics": metrics}, one) for one in found]
    if raw.get("protocol"):
        return [under(raw, preset(raw["protocol"]))]
    return [Part("", dict(raw))]


def records(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a run keeps of the protocols that it was measured under, in order; plain data."""
    return [_record(part) for part in parts_of(raw) if part.label]


def _record(part: Part) -> dict[str, Any]:
    found = preset(part.protocol) if part.protocol else None
    word = not any(text.startswith(("categories ", "dataset ")) for text in part.changed)
    names: Sequence[str] = found.names.get(part.raw["dataset"]["name"], ()) if found and word else ()
    return {
        "label": part.label,
        "protocol": part.protocol,
        "title": found.title if found else "",
        "sources": list(found.sources) if found else [],
        "changed": list(part.changed),
        "number": part.raw["number"],
        "names": list(names),
        "step": dict(part.step),
    }


def label_of(record: Mapping[str, Any], here: Collection[str]) -> str:
    """What tables call a protocol where the data set has these categories: it may lack some that it means."""
    there, n = len({*record["names"]} & {*here}), len(record["names"])
    return record["label"] if there == n else _partly(record, there)


def _partly(record: Mapping[str, Any], there: int) -> str:
    few = f"{there} of its {len(record['names'])} categories"
    return labelled(record["protocol"], (*record["changed"], few))


def as_planned(found: Sequence[Mapping[str, Any]], labels: Collection[str]) -> list[dict[str, Any]]:
    """Records under the labels that planned trials carry, see `label_of`."""
    known = [{_partly(r, n) for n in range(len(r["names"]))} & {*labels} for r in found]
    return [{**r, "label": next(iter(partly), r["label"])} for r, partly in zip(found, known, strict=True)]


def told(record: Mapping[str, Any]) -> str:
    """One line on a protocol and its source."""
    sources = "; ".join(record["sources"])
    return f"protocol {record['label']}" + (f" ({record['title']}; {sources})" if sources else "")

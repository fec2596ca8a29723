"""`benchmarks/RESULTS.md`: the latest figures of every device, each under a heading of its own."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

BEGINNING = """# What was measured where

Written by `python -m benchmarks.gpu --write`, a section a device, the latest run of each.
"""
NO_CARD = """
**No card has been measured yet.** On one: `python -m benchmarks.gpu --write`, 10 minutes.
"""


def updated(text: str, found: Mapping[str, Any]) -> str:
    """The file with the section of the device that `found` speaks of written anew, the others kept.

    Args:
        text: the file so far; empty if there is none.
        found: device, tiny, torch, cores, parts, as `benchmarks.gpu` writes them.
    """
    sections = {part.partition("\n")[0]: part for part in re.split(r"^(?=## )", text, flags=re.M)[1:]}
    heading = f"## {found['device']}{', tiny sizes' if found['tiny'] else ''}"
    sections[heading] = "\n".join([heading, "", *_section(found), ""])
    bare = all("tiny" in each for each in sections)
    body = [each.rstrip("\n") + "\n" for each in sections.values()]
    return "\n".join([BEGINNING + (NO_CARD if bare else ""), *body])


def _section(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"{datetime.now(UTC):%Y-%m-%d}, torch {found['torch']}, {found['cores']} cores."
    if found["tiny"]:
        yield "Tiny sizes, on a machine that did other things: the seconds say that every part runs."
        yield from ("", "| part | figures | seconds | ended |", "|---|---|---|---|")
        for name, part in found["parts"].items():
            yield f"| {name} | {len(part['rows'])} | {part['seconds']:.0f} | {part['ended']} |"
        total = sum(part["seconds"] for part in found["parts"].values())
        yield f"| together | {sum(len(p['rows']) for p in found['parts'].values())} | {total:.0f} | |"
        return
    yield from tables(found)


def tables(found: Mapping[str, Any]) -> Iterator[str]:
    """Lines of Markdown: a table of figures and aims per part."""
    for name, part in found["parts"].items():
        yield from ("", f"### {name} ({part['ended']}, {part['seconds']:.0f} s)", "")
        yield from ("| what | figure | aim |", "|---|---|---|")
        yield from (f"| {r['what']} | {r['value']:.4g} {r['unit']} | {r['aim']} |" for r in part["rows"])

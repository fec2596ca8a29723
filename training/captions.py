"""What can be said of a whole demo scene: from "a breakfast box" to what lies in it and how many.

A statement is a set of facts and a text. It is true of a scene whose facts include its own.
"""

import re
from dataclasses import dataclass

NUMBERS = ("no", "one", "two", "three", "four", "five")
CLAMPS = {"yellow": "two", "blue": "three", "red": "five"}
PINS = {
    "1_additional_pushpin": "sixteen",
    "2_additional_pushpins": "seventeen",
    "missing_pushpin": "fourteen",
}


@dataclass(frozen=True)
class Statement:
    """A text that is true of every scene with these facts."""

    facts: frozenset[str]
    text: str


def statements(category: str, subtype: str, defect: str) -> list[Statement]:
    """True statements about a scene, from the most general to the most special one."""
    return _TELLERS[category](subtype, defect)


def counted(number: int, thing: str) -> str:
    """A number and a noun: "two nuts"."""
    return f"{NUMBERS[number]} {thing}" + ("" if number == 1 else "s")


def _said(category: str, *told: tuple[str, str]) -> list[Statement]:
    """Statements that each add a fact to those before them."""
    facts, result = {category}, []
    for fact, text in told:
        facts = facts | ({fact} if fact else set())
        result.append(Statement(frozenset(facts), text))
    return result


def _breakfast_box(subtype: str, defect: str) -> list[Statement]:
    del subtype
    found = re.match(r"(\d)_nectarines?_(\d)_tangerines?", defect)
    nectarines, tangerines = (int(found[1]), int(found[2])) if found else (1, 2)
    fruit = f"{counted(nectarines, 'nectarine')} and {counted(tangerines, 'tangerine')}"
    dry = {
        "missing_almonds": "cereals and banana chips",
        "missing_bananas": "cereals and almonds",
        "missing_toppings": "cereals only",
        "missing_cereals": "banana chips and almonds only",
        "missing_cereals_and_toppings": "an empty compartment",
    }.get(defect, "cereals, banana chips and almonds")
    return _said(
        "breakfast_box",
        ("", "a breakfast box"),
        (fruit, f"a breakfast box with {fruit}"),
        (dry, f"a breakfast box with {fruit}, {dry}"),
    )


def _juice_bottle(subtype: str, defect: str) -> list[Statement]:
    if defect == "empty_bottle":
        return _said("juice_bottle", ("", "a juice bottle"), ("empty", "an empty juice bottle"))
    if defect == "wrong_juice_type":
        return _said("juice_bottle", ("", "a juice bottle"))
    labels = {
        "missing_top_label": "without a picture of fruit",
        "missing_bottom_label": "without a text label",
        "missing_fruit_icon": "with an empty label",
    }.get(defect, "with a label")
    return _said(
        "juice_bottle",
        ("", "a juice bottle"),
        (subtype, f"a bottle of {subtype} juice"),
        (labels, f"a bottle of {subtype} juice {labels}"),
    )


def _pushpins(subtype: str, defect: str) -> list[Statement]:
    del subtype
    number = PINS.get(defect, "fifteen")
    return _said(
        "pushpins",
        ("", "a plastic box with pushpins"),
        (number, f"a plastic box with {number} yellow pushpins"),
    )


def _screw_bag(subtype: str, defect: str) -> list[Statement]:
    del subtype
    numbers = {"long_screw": 1, "short_screw": 1, "nut": 2, "washer": 2}
    found = re.fullmatch(r"(\d)_(additional|missing)_(\w+?)s?", defect)
    if found and found[3] in numbers:
        numbers[found[3]] += int(found[1]) * (1 if found[2] == "additional" else -1)
    texts = [counted(n, part.replace("_", " ")) for part, n in numbers.items()]
    small, screws = f"{texts[2]} and {texts[3]}", f"{texts[0]} and {texts[1]}"
    return _said(
        "screw_bag",
        ("", "a plastic bag with screws, nuts and washers"),
        (small, f"a plastic bag with {small}"),
        (screws, f"a plastic bag with {small}, {screws}"),
    )


def _splicing_connectors(subtype: str, defect: str) -> list[Statement]:
    told = [("", "splicing connectors on a grid")]
    if defect == "missing_cable":
        told += [("two without cable", "two splicing connectors without a cable")]
    elif defect == "missing_connector_and_cable":
        told += [("one without cable", "one splicing connector without a cable")]
    elif defect == "missing_connector":
        told += [(subtype, f"a splicing connector with a {subtype} cable")]
    elif defect == "extra_cable":
        told += [("two cables", "two splicing connectors joined by two cables")]
    elif defect not in ("cable_color", "unknown_cable_color") and not defect.startswith("wrong_connector"):
        joined = f"two splicing connectors joined by a {subtype} cable"
        told += [
            (subtype, f"splicing connectors with a {subtype} cable"),
            ("joined", f"{joined}, {CLAMPS[subtype]} levers on each side"),
        ]
    return _said("splicing_connectors", *told)


_TELLERS = {
    "breakfast_box": _breakfast_box,
    "juice_bottle": _juice_bottle,
    "pushpins": _pushpins,
    "screw_bag": _screw_bag,
    "splicing_connectors": _splicing_connectors,
}

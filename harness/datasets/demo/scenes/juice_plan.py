"""What is decided about a juice bottle before anything is drawn, and how each defect changes it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from harness.datasets.demo.paint.material import srgb
from harness.datasets.demo.paint.raster import Array, Pose
from harness.datasets.demo.things import glass
from harness.datasets.demo.things.glass import Bottle
from harness.datasets.demo.things.labels import TEXT, Label, rip, sign

SUBTYPES = ("cherry", "orange", "banana")
_COLOURS = {"cherry": "#8f3026", "orange": "#dca838", "banana": "#e0d8bc"}
TOP, BOTTOM = (0.215, 0.205), (0.205, 0.085)  # half sizes of the labels
TOP_AT, BOTTOM_AT, LEVEL = 0.80, 1.22, (0.235, 0.310)


@dataclass(frozen=True)
class Plan:
    """A bottle, its juice and its labels."""

    bottle: Bottle
    juice: str  # product type of the juice
    rgb: Array
    icon: str
    icon_pose: Pose
    top: Label | None
    bottom: Label | None
    text: str
    icon_keep: Callable[[Array, Array], Array] | None = None


def normal(rng: np.random.Generator, subtype: str) -> Plan:
    """A bottle without a defect."""
    pose = Pose(
        0.5 + rng.normal(0, 0.025), 0.08 + rng.normal(0, 0.010), rng.normal(0, 0.008), rng.normal(1.0, 0.012)
    )
    bottle = Bottle(pose, rng.uniform(*LEVEL))
    top = _stick(rng, pose, TOP_AT, TOP)
    return Plan(
        bottle=bottle,
        juice=subtype,
        rgb=srgb(_COLOURS[subtype]) * rng.normal(1.0, 0.05) * (1.0 + rng.normal(0, 0.025, 3)),
        icon=subtype,
        icon_pose=_icon_at(rng, top, 0.0, 0.0),
        top=top,
        bottom=_stick(rng, pose, BOTTOM_AT, BOTTOM),
        text=TEXT,
    )


def _stick(rng: np.random.Generator, bottle: Pose, height: float, half: tuple[float, float]) -> Label:
    x, y = bottle.world(rng.normal(0, 0.011), height + float(np.clip(rng.normal(0, 0.02), -0.035, 0.035)))
    return Label(Pose(x, y, bottle.angle + rng.normal(0, 0.024), bottle.scale), half)


def _icon_at(rng: np.random.Generator, label: Label, u: float, v: float) -> Pose:
    x, y = label.pose.world(u + rng.normal(0, 0.008), v + rng.normal(0, 0.008))
    return Pose(x, y, label.pose.angle, label.pose.scale * rng.normal(1.0, 0.01))


def _shift(label: Label, dx: float, dy: float, turn: float = 0.0) -> Label:
    pose = label.pose
    return replace(label, pose=Pose(pose.x + dx, pose.y + dy, pose.angle + turn, pose.scale))


def _spoil_bottle(plan: Plan, name: str, rng: np.random.Generator) -> Plan:
    """Wrong juice, wrong level."""
    if name == "empty_bottle":
        return replace(plan, bottle=replace(plan.bottle, level=glass.FLOOR))
    if name == "wrong_fill_level_too_much":
        return replace(plan, bottle=replace(plan.bottle, level=rng.uniform(0.05, 0.20)))
    if name == "wrong_fill_level_not_enough":
        return replace(plan, bottle=replace(plan.bottle, level=rng.uniform(0.37, 0.75)))
    if name == "wrong_juice_type":
        other = [s for s in SUBTYPES if s != plan.juice]
        return replace(plan, icon=other[int(rng.integers(2))])
    odd = ("#3f6b2c", "#2c4a78", "#5e5347", "#7a3f7d")
    return replace(plan, rgb=srgb(odd[int(rng.integers(4))]))


def _spoil_label(plan: Plan, name: str, rng: np.random.Generator) -> Plan:
    """Missing, misplaced, swapped, turned or torn labels."""
    top, bottom = plan.top, plan.bottom
    assert top and bottom
    if name == "missing_top_label":
        return replace(plan, top=None)
    if name == "missing_bottom_label":
        return replace(plan, bottom=None)
    if name == "misplaced_label_top":
        return _move_top(plan, rng.normal(0, 0.02), rng.choice([-0.13, 0.11]) + rng.normal(0, 0.012))
    if name == "misplaced_label_bottom":
        dy = float(rng.choice([0.085, -0.09])) + rng.normal(0, 0.008)
        return replace(plan, bottom=_shift(bottom, rng.normal(0, 0.02), dy))
    if name == "swapped_labels":
        moved = _move_top(plan, 0.0, (BOTTOM_AT - 0.06 - TOP_AT) * plan.bottle.pose.scale)
        return replace(
            moved, bottom=_shift(bottom, 0.0, (TOP_AT - 0.04 - BOTTOM_AT) * plan.bottle.pose.scale)
        )
    if name == "rotated_label":
        turn = sign(rng) * rng.uniform(0.16, 0.42)
        if rng.random() < 0.5:
            return replace(plan, bottom=_shift(bottom, 0.0, 0.0, turn))
        return replace(
            plan, top=_shift(top, 0, 0, turn), icon_pose=replace(plan.icon_pose, angle=top.pose.angle + turn)
        )
    return replace(plan, top=replace(top, torn=rip(rng, top.half)))


def _move_top(plan: Plan, dx: float, dy: float) -> Plan:
    assert plan.top
    icon = replace(plan.icon_pose, x=plan.icon_pose.x + dx, y=plan.icon_pose.y + dy)
    return replace(plan, top=_shift(plan.top, dx, dy), icon_pose=icon)


def _spoil_print(plan: Plan, name: str, rng: np.random.Generator) -> Plan:
    """Wrong icons and texts."""
    assert plan.top
    if name == "misplaced_fruit_icon":
        u, v = sign(rng) * rng.uniform(0.06, 0.10), sign(rng) * rng.uniform(0.055, 0.095)
        return replace(plan, icon_pose=_icon_at(rng, plan.top, u, v))
    if name == "missing_fruit_icon":
        return replace(plan, icon="")
    if name == "unknown_fruit_icon":
        return replace(plan, icon=("grapes", "apple", "blueberry")[int(rng.integers(3))])
    if name == "label_text_incomplete":
        keep = int(rng.integers(4, 8))
        text = TEXT[:keep].ljust(len(TEXT)) if rng.random() < 0.5 else TEXT[-keep:].rjust(len(TEXT))
        return replace(plan, text=text)
    angle = rng.uniform(0, 2 * np.pi)
    c, s, off = np.cos(angle), np.sin(angle), rng.uniform(-0.01, 0.02)
    return replace(plan, icon_keep=lambda u, v: c * u + s * v - off)


# By name; a defect that is not here is painted on the finished bottle.
SPOIL: dict[str, Callable[[Plan, str, np.random.Generator], Plan]] = {
    **dict.fromkeys(
        (
            "empty_bottle",
            "wrong_fill_level_too_much",
            "wrong_fill_level_not_enough",
            "wrong_juice_type",
            "juice_color",
        ),
        _spoil_bottle,
    ),
    **dict.fromkeys(
        (
            "missing_top_label",
            "missing_bottom_label",
            "misplaced_label_top",
            "misplaced_label_bottom",
            "swapped_labels",
            "rotated_label",
            "damaged_label",
        ),
        _spoil_label,
    ),
    **dict.fromkeys(
        (
            "misplaced_fruit_icon",
            "missing_fruit_icon",
            "unknown_fruit_icon",
            "label_text_incomplete",
            "incomplete_fruit_icon",
        ),
        _spoil_print,
    ),
}

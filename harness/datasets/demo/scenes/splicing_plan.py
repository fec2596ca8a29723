"""What is decided about two connectors and their cable before anything is drawn; how defects change it."""

from dataclasses import dataclass, replace

import numpy as np

from harness.datasets.demo.paint.material import srgb
from harness.datasets.demo.paint.raster import Pose, smoothstep
from harness.datasets.demo.things.cables import Cable, Connector, route

SUBTYPES = ("red", "blue", "yellow")
CLAMPS = {"yellow": 2, "blue": 3, "red": 5}
COLOURS = {"yellow": "#dcbc1c", "blue": "#2456a8", "red": "#b4231c"}
LEFT, RIGHT, SCALE = 0.29, 1.31, 1.22
CABLE = 3  # the part of the first of SUBTYPES


@dataclass(frozen=True)
class Plan:
    """Connectors, cables and where they are joined."""

    left: Connector | None
    right: Connector | None
    cables: tuple[Cable, ...]
    ends: tuple[int, int]
    hit: int = 0  # which connector is damaged: 0 left, 1 right
    spot: float = 0.5  # where along the cable something happens


def _connectors(rng: np.random.Generator, clamps: int, gap: float) -> tuple[Connector, Connector]:
    y, tilt = 0.5 + rng.normal(0, 0.035), rng.normal(0, 0.02)
    shrink = (RIGHT - LEFT) * (1.0 - gap) / 2
    scale = SCALE * rng.normal(1.0, 0.01)
    left = Pose(
        LEFT + shrink + rng.normal(0, 0.012), y + rng.normal(0, 0.012), tilt + rng.normal(0, 0.025), scale
    )
    right = Pose(
        RIGHT - shrink + rng.normal(0, 0.012),
        y + rng.normal(0, 0.012),
        np.pi + tilt + rng.normal(0, 0.025),
        scale,
    )
    return Connector(left, clamps), Connector(right, clamps, mirror=True)


def _cable(
    rng: np.random.Generator,
    plan: tuple[Connector, Connector],
    ends: tuple[int, int],
    colour: str,
    tight: bool,
) -> Cable:
    rgb = srgb(COLOURS[colour]) * rng.normal(1.0, 0.05)
    slack = 0.03 if tight else 0.30
    path = route(rng, plan[0].mouth(ends[0], -0.035), plan[1].mouth(ends[1], -0.035), slack)
    return Cable(path, (float(rgb[0]), float(rgb[1]), float(rgb[2])), CABLE + SUBTYPES.index(colour))


def normal(rng: np.random.Generator, subtype: str, wanted: frozenset[str]) -> Plan:
    """The plan of an image as far as it goes along with the product; wrong cables are chosen here too."""
    clamps = CLAMPS[subtype]
    tight = any(name.startswith("cable_too_short") for name in wanted)
    pair = _connectors(rng, clamps, 0.62 if tight else 1.0)
    first = int(rng.integers(clamps))
    others = [i for i in range(clamps) if i != first]
    other = others[int(rng.integers(len(others)))]
    ends = (first, other) if "wrong_cable_location" in wanted else (first, first)
    colour = subtype
    if "cable_color" in wanted:
        colour = [s for s in SUBTYPES if s != subtype][int(rng.integers(2))]
    cables = [_cable(rng, pair, ends, colour, tight)]
    if "extra_cable" in wanted:
        cables.append(_cable(rng, pair, (other, other), subtype, tight))
    return Plan(*pair, tuple(cables), ends, int(rng.integers(2)), rng.uniform(0.3, 0.7))


def _change(plan: Plan, which: int, connector: Connector | None) -> Plan:
    return replace(plan, right=connector) if which else replace(plan, left=connector)


def spoil(plan: Plan, name: str, rng: np.random.Generator) -> Plan:
    """Apply one defect to the plan."""
    hit = (plan.left, plan.right)[plan.hit]
    assert hit is not None
    if name.startswith("wrong_connector_type"):
        return _wrong_type(plan, hit, int(name[-1]))
    if name == "missing_connector":
        return _change(plan, plan.hit, None)
    if name == "missing_connector_and_cable":
        return replace(_change(plan, plan.hit, None), cables=())
    if name == "missing_cable":
        return replace(plan, cables=())
    if name in ("cable_cut", "broken_cable", "cable_not_plugged", "unknown_cable_color"):
        return replace(plan, cables=(_spoil_cable(plan, name, rng), *plan.cables[1:]))
    return _change(plan, plan.hit, _spoil_connector(hit, name, rng))


def _wrong_type(plan: Plan, hit: Connector, clamps: int) -> Plan:
    """Exchange one connector for a smaller one, plugged to the clamp nearest to the cable's end."""
    end = plan.ends[plan.hit]
    small = replace(hit, clamps=clamps)
    shift = hit.clamp(end) - small.clamp(min(end, clamps - 1))
    x, y = hit.pose.world(0.0, float(shift))
    return _change(plan, plan.hit, replace(small, pose=replace(hit.pose, x=x, y=y)))


def _spoil_cable(plan: Plan, name: str, rng: np.random.Generator) -> Cable:
    cable, s = plan.cables[0], plan.spot
    if name == "cable_cut":
        return replace(cable, cut=(s - 0.04, s + rng.uniform(0.02, 0.08)))
    if name == "broken_cable":
        return replace(cable, frayed=(s - 0.05, s + rng.uniform(0.03, 0.06)))
    if name == "unknown_cable_color":
        tones = ("#2c7a36", "#1c1c1e", "#d8d6cf", "#6b3f8a")
        rgb = srgb(tones[int(rng.integers(len(tones)))])
        return replace(cable, rgb=(float(rgb[0]), float(rgb[1]), float(rgb[2])))
    bend = smoothstep(0.45, 1.0, np.linspace(0, 1, len(cable.path)))
    bend = bend[:, None] * np.array([-0.13, rng.choice([-1.0, 1.0]) * rng.uniform(0.04, 0.12)])
    path = cable.path + bend if plan.hit else cable.path + bend[::-1] * np.array([-1.0, 1.0])
    return replace(cable, path=path)


def _spoil_connector(hit: Connector, name: str, rng: np.random.Generator) -> Connector:
    if name == "flipped_connector":
        return replace(hit, flipped=True)
    if name == "open_lever":
        return replace(hit, opened=int(rng.integers(hit.clamps)))
    if name == "color":
        tones = ("#3a6fb0", "#7a2020", "#4a8a3a", "#5a5046")
        rgb = srgb(tones[int(rng.integers(len(tones)))])
        return replace(hit, lever=(float(rgb[0]), float(rgb[1]), float(rgb[2])))
    angle = np.pi + rng.uniform(0.5, 0.9) * rng.choice([-1.0, 1.0])
    c, s = float(np.cos(angle)), float(np.sin(angle))
    a, b = hit.half()
    return replace(hit, bite=(c, s, abs(c) * a + abs(s) * b - rng.uniform(0.055, 0.09)))

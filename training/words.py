"""The words of the demo image–text model: names of parts, of groups of parts, and templates.

The first name of every part is its name in the data set.
"""

from dataclasses import dataclass

import numpy as np
from open_clip import OPENAI_IMAGENET_TEMPLATES

Generator = np.random.Generator
Names = tuple[str, ...]

NAMES: dict[str, tuple[Names, ...]] = {
    "breakfast_box": (
        ("background", "dark background", "black background", "table", "tablecloth"),
        ("white plastic box", "white box", "box", "plastic container", "lunch box", "tray", "container"),
        ("tangerine", "orange", "mandarin", "orange fruit", "tangerines"),
        ("red nectarine", "nectarine", "peach", "red fruit", "nectarines"),
        ("granola cereal", "cereals", "cereal", "granola", "oatmeal", "muesli", "oats"),
        ("dried banana slice", "banana chips", "banana chip", "banana slices", "dried banana slices"),
        ("almond", "almonds", "brown almonds"),
    ),
    "juice_bottle": (
        ("background", "black background", "dark background"),
        ("glass bottle", "glass", "empty glass bottle", "transparent glass", "bottle neck"),
        ("red cherry juice", "cherry juice", "red liquid", "red juice"),
        ("orange juice", "yellow liquid", "orange liquid", "yellow juice"),
        ("white banana juice", "banana juice", "milky liquid", "white liquid", "white juice"),
        ("yellow paper label", "paper label", "label", "tag", "sticker"),
        ("text label", "label with text", "printed label", "lettering"),
        ("picture of cherries", "cherries", "cherry", "cherry icon"),
        ("picture of an orange fruit", "picture of an orange", "orange icon", "orange fruit"),
        ("picture of bananas", "bananas", "banana", "banana icon"),
    ),
    "pushpins": (
        ("background", "table", "dark background"),
        ("clear plastic box", "plastic box", "compartment", "plastic container", "empty compartment"),
        ("plastic divider wall", "divider", "separator", "box wall", "wall"),
        ("yellow pushpin", "pushpin", "push pin", "pin", "thumbtack", "drawing pin", "pushpins"),
        ("metal needle", "needle", "steel needle", "metal tip"),
    ),
    "screw_bag": (
        ("background", "table", "dark background"),
        ("plastic bag", "zip-lock bag", "transparent bag", "bag", "empty plastic bag"),
        ("long screw", "long bolt", "long metal screw"),
        ("short screw", "short bolt", "short metal screw"),
        ("hexagonal nut", "hex nut", "hexagon nut", "nut", "metal nut", "nuts"),
        ("ring washer", "washer", "ring gasket", "flat washer", "metal ring", "washers"),
    ),
    "splicing_connectors": (
        ("background", "grid", "grey background", "table"),
        ("clear plastic splicing connector", "splicing connector", "splice connector", "connector", "clamp"),
        ("orange lever", "lever", "orange clamp lever"),
        ("red cable", "red wire"),
        ("blue cable", "blue wire"),
        ("yellow cable", "yellow wire"),
    ),
}

GROUPS: dict[str, tuple[tuple[tuple[int, ...], Names], ...]] = {
    "breakfast_box": (
        ((2, 3), ("fruit", "fruits", "round fruit")),
        ((5, 6), ("toppings", "nuts and banana chips", "banana chips and almonds")),
        ((2, 3, 4, 5, 6), ("food", "breakfast")),
        ((4, 5, 6), ("cereals and toppings", "dry food")),
    ),
    "juice_bottle": (
        ((2, 3, 4), ("liquid", "liquid in bottle", "juice", "beverage")),
        ((5, 6), ("label", "tag", "sticker", "labels")),
        ((5, 6, 7, 8, 9), ("label", "tag", "bottle label")),
        ((7, 8, 9), ("fruit", "picture of fruit", "fruit icon", "fruit picture")),
        ((1, 2, 3, 4, 5, 6, 7, 8, 9), ("bottle", "juice bottle", "bottle of juice")),
    ),
    "pushpins": (
        ((3, 4), ("pushpin", "pin", "push pin", "yellow pushpin", "drawing pin", "thumbtack")),
        ((1, 2), ("plastic box", "container", "box", "empty plastic box")),
        ((0, 1, 2), ("background", "plastic box")),
    ),
    "screw_bag": (
        ((2, 3), ("screw", "bolt", "metal screw", "metal bolt", "hex screw", "hexagon bolt", "screws")),
        ((2, 3, 4, 5), ("metal part", "metal parts", "hardware", "metal fastener", "fastener")),
        ((0, 1), ("background", "plastic bag")),
        ((4, 5), ("metal ring", "nuts and washers")),
    ),
    "splicing_connectors": (
        ((3, 4, 5), ("cable", "wire", "electric cable", "coloured cable")),
        ((1, 2), ("splicing connector", "splice connector", "connector", "plug", "clamp")),
        ((1, 2, 3, 4, 5), ("connectors and cable", "electric parts")),
    ),
}

TEMPLATES = (
    "{}", "a {}", "a photo of {}", "a photo of a {}", "a photo of a {}.", "a picture of a {}",
    "a close-up of a {}", "a cropped photo of the {}", "the {}", "a photo of the {} for visual inspection",
    "a part of a {}", "a photo of one {}", "an image of a {}",
)  # fmt: skip


@dataclass(frozen=True)
class Prompt:
    """A text and the parts that it names.

    Attributes:
        text: with its template.
        parts: indices in the category's part names.
    """

    text: str
    parts: frozenset[int]


def worded(rng: Generator, names: Names) -> str:
    """One of the names in a random template: the first one and the plainest templates more often."""
    name = names[0] if rng.random() < 0.3 else names[rng.integers(len(names))]
    if rng.random() < 0.5:
        return TEMPLATES[rng.integers(len(TEMPLATES))].format(name)
    return OPENAI_IMAGENET_TEMPLATES[rng.integers(len(OPENAI_IMAGENET_TEMPLATES))](name)


def prompts(rng: Generator, category: str) -> list[Prompt]:
    """Prompts that together name every part of a category once, some of them in groups."""
    groups = GROUPS[category]
    chosen: list[tuple[frozenset[int], Names]] = []
    for i in rng.permutation(len(groups)):
        parts, names = frozenset(groups[i][0]), groups[i][1]
        if rng.random() < 0.3 and not any(parts & other for other, _ in chosen):
            chosen.append((parts, names))
    named = {part for parts, _ in chosen for part in parts}
    chosen += [(frozenset([p]), names) for p, names in enumerate(NAMES[category]) if p not in named]
    return [Prompt(worded(rng, names), parts) for parts, names in chosen]


def strangers(rng: Generator, category: str, number: int) -> list[str]:
    """Names of things that never occur in a category."""
    own = {word for names in NAMES[category] for name in names for word in name.split()}
    own |= {word for _, names in GROUPS[category] for name in names for word in name.split()}
    others = [names for other in NAMES if other != category for names in NAMES[other][1:]]
    foreign = [names for names in others if not any(own & set(name.split()) for name in names)]
    return [worded(rng, foreign[rng.integers(len(foreign))]) for _ in range(number)]


def all_texts() -> list[str]:
    """Every name, and every template around the word "a"."""
    single = [name for names in NAMES.values() for synonyms in names for name in synonyms]
    grouped = [name for groups in GROUPS.values() for _, names in groups for name in names]
    templates = [t.format("a") for t in TEMPLATES] + [str(t("a")) for t in OPENAI_IMAGENET_TEMPLATES]
    return single + grouped + templates

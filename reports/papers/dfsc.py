"""The four tables of EfficientAD-DFSC (Lee and Kim)."""

from typing import Any

from reports.papers.ledger import MEAN
from reports.papers.spec import Contestant, Line, PaperTable, contestants

_LABELS = {
    "breakfast_box": "Breakfast Box",
    "screw_bag": "Screw Bag",
    "splicing_connectors": "Splicing Connectors",
    "pushpins": "Pushpins",
    "juice_bottle": "Juice Bottle",
}
_LOCALISED = ("breakfast_box", "screw_bag", "pushpins", "splicing_connectors", "juice_bottle")
_PROTOCOL = (
    "All training images; validation images set the quantiles of the maps; good against logical and good "
    "against structural test images apart; mean over five categories; repeats are not stated."
)
_WHOLE: dict[str, tuple[Any, ...]] = {
    "quantile": (0.999,),
    "in_relu": (True,),
    "sigmoid": (True,),
    "ema": ("eval_copy",),
}
MARGIN = 0.4  # the declared one of Table 4; the paper names none
_ORACLE = (
    "The published “Ours” of Table 1 is not one configuration: its (logical + structural) / 2 is that of "
    "margin 1.0 in Table 3 for breakfast box, of margin 0.4 for pushpins and splicing connectors, and of no "
    "margin for screw bag and juice bottle. Margins chosen per category on test AUROC are an oracle; ours is "
    "called so, beside every fixed margin."
)
_NAMES = {
    "f-AnoGAN": "f-AnoGAN",
    "SPADE": "SPADE",
    "ST": "S-T",
    "PatchCore": "PatchCore",
    "AST": "AST",
    "GCAD": "GCAD",
    "EfficientAD-S": "EAD-S",
    "EfficientAD-M": "EAD-M",
    "EfficientAD-DFSC": "Ours",
}


def _contestants(*names: str, **settings: tuple[Any, ...]) -> tuple[Contestant, ...]:
    paper = {"image_size": 256, "steps": 70_000}
    return contestants(
        names,
        Contestant("EfficientAD-S", "efficientad", {"size": ("S",)}, paper),
        Contestant("EfficientAD-M", "efficientad", {"size": ("M",)}, paper),
        Contestant("EfficientAD-DFSC", "efficientad_dfsc", settings, paper, oracle="margin"),
    )


def _columns(*names: str) -> tuple[Line, ...]:
    return tuple(Line(_NAMES[name], {"method": name}) for name in names)


def _subset(subset: str) -> tuple[Line, ...]:
    group = subset.capitalize()
    lines = [Line(label, {"category": c, "subset": subset}, group=group) for c, label in _LABELS.items()]
    return (*lines, Line("Average", {"subset": subset}, group=group))


def _ablation(label: str, in_relu: int, sigmoid: int, dfsc: int, momentum: int) -> Line:
    return Line(
        label,
        {"param": f"in_relu={in_relu};sigmoid={sigmoid};dfsc={dfsc};momentum={momentum}"},
        {
            "in_relu": (bool(in_relu),),
            "sigmoid": (bool(sigmoid),),
            "margin": (MARGIN if dfsc else 0.0,),
            "ema": ("eval_copy" if momentum else "off",),
        },
    )


DFSC1 = PaperTable(
    key="dfsc1",
    source="dfsc",
    table="table1",
    title="EfficientAD-DFSC, Table 1: AUROC on MVTec LOCO AD",
    protocol=_PROTOCOL,
    stub="Category",
    rows=(
        *_subset("logical"),
        *_subset("structural"),
        Line("Average (total)", {"subset": MEAN}, group="Total"),
    ),
    columns=_columns(*_NAMES),
    contestants=_contestants(*_NAMES, **_WHOLE),
    own="EfficientAD-DFSC",
    config="configs/dfsc_margin.yaml",
    notes=(
        _ORACLE,
        "Printed averages that the printed cells do not give: PatchCore logical 74.0 (73.9 recomputed), "
        "EAD-S structural 94.2 (94.1).",
    ),
)

_TABLE2 = ("PatchCore", "GCAD", "EfficientAD-S", "EfficientAD-M", "EfficientAD-DFSC")
DFSC2 = PaperTable(
    key="dfsc2",
    source="dfsc",
    table="table2",
    title="EfficientAD-DFSC, Table 2: area under the sPRO curve up to a false-positive rate of 5 %",
    protocol=f"{_PROTOCOL} Maps at the native size of the images; mean of the logical and the "
    "structural value.",
    stub="Category",
    rows=(*(Line(_LABELS[c], {"category": c}) for c in _LOCALISED), Line("Average")),
    columns=_columns(*_TABLE2),
    contestants=_contestants(*_TABLE2, **_WHOLE),
    own="EfficientAD-DFSC",
    metric="auspro",
    limit=0.05,
    config="configs/dfsc_margin.yaml",
    notes=("The paper's text also speaks of a limit of 30 %; this table is 5 %.",),
)

DFSC3 = PaperTable(
    key="dfsc3",
    source="dfsc",
    table="table3",
    title="EfficientAD-DFSC, Table 3: AUROC by margin, mean of logical and structural",
    protocol=_PROTOCOL,
    stub="Category",
    rows=tuple(Line(_LABELS[c], {"category": c}) for c in _LOCALISED),
    columns=tuple(
        Line(f"m = {m}", {"param": f"margin={m}"}, {"margin": (m,)}) for m in (0.0, 0.2, 0.4, 1.0, 2.0)
    ),
    contestants=_contestants("EfficientAD-DFSC", **_WHOLE),
    own="EfficientAD-DFSC",
    fixed={"method": "EfficientAD-DFSC"},
    config="configs/dfsc_margin.yaml",
)

DFSC4 = PaperTable(
    key="dfsc4",
    source="dfsc",
    table="table4",
    title="EfficientAD-DFSC, Table 4: ablation, average AUROC",
    protocol=f"{_PROTOCOL} Mean of logical and structural.",
    stub="Approaches",
    rows=(
        _ablation("none (EfficientAD-S)", 0, 0, 0, 0),
        _ablation("IN+ReLU", 1, 0, 0, 0),
        _ablation("IN+ReLU, Sigmoid", 1, 1, 0, 0),
        _ablation("IN+ReLU, Sigmoid, DFSC", 1, 1, 1, 0),
        _ablation("IN+ReLU, Sigmoid, DFSC, Momentum", 1, 1, 1, 1),
    ),
    columns=(Line("AUROC"),),
    contestants=_contestants("EfficientAD-DFSC", quantile=(0.999,)),
    own="EfficientAD-DFSC",
    fixed={"method": "EfficientAD-DFSC"},
    config="configs/dfsc_ablation.yaml",
    notes=(
        f"The paper does not name the margin of its rows with DFSC; ours have the declared one, "
        f"{MARGIN}. The last "
        "published row is the average of Table 1, whose margins differ by category.",
    ),
)

"""The three tables of CLIP-LAD (under review)."""

from reports.papers.ledger import MEAN
from reports.papers.spec import NINE, Contestant, Line, PaperTable, contestants

_LABELS = dict(
    zip(
        NINE,
        (
            "Breakfast Box",
            "Juice Bottle (Banana)",
            "Juice Bottle (Cherry)",
            "Juice Bottle (Orange)",
            "Pushpins",
            "Screw Bag",
            "Connectors (Red cable)",
            "Connectors (Blue cable)",
            "Connectors (Yellow cable)",
        ),
        strict=True,
    )
)
_LEARNING = ("PromptAD", "RD4AD", "EfficientAD", "STFPM")
_TRAINING_FREE = ("CLIP", "PatchCore", "ComAD", "WinCLIP", "SINBAD", "CLIP-LAD")
_METHODS = (*_LEARNING, *_TRAINING_FREE)
_SHOTS = (1, 2, 4)
_PROTOCOL = "k random normal images of one sub-type; its validation images set the scale of the scores"
_SUBTYPES = "Which test image is of which sub-type is not published; ours is an assignment of its own."
_KINDS = f"Learning-based: {', '.join(_LEARNING)}. Training-free: {', '.join(_TRAINING_FREE)}."
_STATED = {"image_size": 448, "model": "ViT-L-14", "pretrained": "datacomp_xl_s13b_b90k"}
_OWN = Contestant("CLIP-LAD", "clip_lad", paper=_STATED)
_METHOD_ROWS = tuple(
    Line(method, {"method": method}, group=group)
    for group, methods in (("Learning-based", _LEARNING), ("Training-free", _TRAINING_FREE))
    for method in methods
)


def _setup(shots: int) -> tuple[Line, ...]:
    setting = f"{shots}-shot"
    lines = [Line(_LABELS[c], {"category": c, "setting": setting}, group=setting) for c in NINE]
    return (*lines, Line("Average", {"setting": setting}, group=setting))


CLIP_LAD1 = PaperTable(
    key="clip_lad1",
    source="clip-lad",
    table="table1",
    title="CLIP-LAD, Table 1: AUROC on few-shot MVTec LOCO AD, pooled (micro)",
    protocol=f"{_PROTOCOL}; good against all anomalous test images of the sub-type pooled; mean over nine "
    "categories per seed; five seeds, mean ± std, ddof not stated.",
    stub="Category",
    rows=tuple(line for k in _SHOTS for line in _setup(k)),
    columns=tuple(Line(method, {"method": method}) for method in _METHODS),
    contestants=contestants(_METHODS, _OWN),
    own="CLIP-LAD",
    fixed={"subset": "all"},
    categories=NINE,
    shots={f"{k}-shot": (k,) for k in _SHOTS},
    config="configs/clip_lad_table1.yaml",
    notes=(_KINDS, _SUBTYPES),
)

CLIP_LAD2 = PaperTable(
    key="clip_lad2",
    source="clip-lad",
    table="table2",
    title="CLIP-LAD, Table 2: logical and structural anomalies apart, averaged over 1, 2 and 4 shots",
    protocol=f"{_PROTOCOL}; good against logical and good against structural test images apart; mean "
    "over nine "
    "categories and three numbers of shots per seed; five seeds.",
    stub="Method",
    rows=_METHOD_ROWS,
    columns=(
        Line("Structural", {"subset": "structural"}),
        Line("Logical", {"subset": "logical"}),
        Line("Average", {"subset": MEAN}),
    ),
    contestants=contestants(_METHODS, _OWN),
    own="CLIP-LAD",
    fixed={"setting": "avg(1,2,4-shot)"},
    categories=NINE,
    shots={"avg(1,2,4-shot)": _SHOTS},
    config="configs/clip_lad_table1.yaml",
    notes=("The paper prints RD4AD as “RD44D” here.", _SUBTYPES),
)

CLIP_LAD3 = PaperTable(
    key="clip_lad3",
    source="clip-lad",
    table="table3",
    title="CLIP-LAD, Table 3: several sub-types at once, one training image of each",
    protocol="Three training images, one per sub-type; the validation images of the whole category; "
    "good against "
    "all anomalous test images of the whole category pooled; mean of two categories per seed.",
    stub="Method",
    rows=_METHOD_ROWS,
    columns=(
        Line("Juice Bottle", {"category": "juice_bottle"}),
        Line("Connectors", {"category": "splicing_connectors"}),
        Line("Average"),
    ),
    contestants=contestants(_METHODS, _OWN),
    own="CLIP-LAD",
    fixed={"setting": "multi-class", "subset": "all"},
    categories=("juice_bottle", "splicing_connectors"),
    shots={"multi-class": (1,)},
    draw="per_subtype",
    config="configs/clip_lad_table3.yaml",
    notes=(
        "Which of 71.0 and 73.3 belongs to which column of PatchCore cannot be read in the paper.",
        "The caption speaks of one image per sub-type and of an average over 1, 2 and 4 shots; ours "
        "is one image "
        "per sub-type. The subset is not stated and taken as pooled.",
    ),
)

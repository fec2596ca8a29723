"""The four tables of PSAD (Kim et al., 2024)."""

from reports.papers.ledger import MEAN
from reports.papers.spec import LOCO, Contestant, Line, PaperTable, contestants

_LABELS = dict(
    zip(LOCO, ("Breakfast Box", "Juice Bottle", "Pushpins", "Screw Bag", "Splicing Connectors"), strict=True)
)
_PROTOCOL = (
    "All training images, no validation images; good against logical (LA) and good against structural (SA) "
    "test images apart; mean over five categories, total = (LA + SA) / 2; repeats are not stated."
)
_OWN = ("own", None)  # None of trials from before there was a choice
_FULL = {
    "banks": ("hcp",),
    "as_scale": ("max",),
    "train_fraction": (1.0,),
    "losses": ("sup+H+hist",),
    "segmentation": _OWN,
}
_STATED = {"backbone": "wide_resnet101_2", "image_size": 512, "warm_up_epochs": 50, "epochs": 50}
_METHODS = ("PatchCore", "RD4AD", "DRAEM", "ST", "AST", "GCAD", "SINBAD", "ComAD", "SLSG", "PSAD")
_DRAEM = Contestant(
    "DRAEM",
    "draem",
    paper={"image_size": 256, "width": 128, "discriminator_width": 64, "epochs": 700, "steps": None},
)
_COMAD = Contestant("ComAD", "comad_patchcore")  # its row is ComAD + PatchCore, which `comad` is not
_LABELLED = (
    "The paper's part labels and second segmentation stage are not published; 98.1 / 91.6 depend on both."
)
_OTHERS = (
    "RePRI of ours reads ImageNet features, the paper's those of a segmentation network. Label maps "
    "of SCOPS, Part-Assembly and VAT come in as a folder (`segmentation: folder`, `labels: scops`). K-means "
    "is ours, a stand-in for unsupervised ones; the paper has no such row."
)
_SIDES = (Line("LA", {"subset": "logical"}), Line("SA", {"subset": "structural"}))


def _subset(label: str, subset: str) -> tuple[Line, ...]:
    lines = [Line(_LABELS[c], {"category": c, "subset": subset}, group=label) for c in LOCO]
    return (*lines, Line(f"Average ({label})", {"subset": subset}, group=label))


def _own(**settings: tuple[object, ...]) -> tuple[Contestant, ...]:
    return (Contestant("PSAD", "psad", settings, paper=_STATED),)


def _without(*names: str) -> dict[str, tuple[object, ...]]:
    return {name: values for name, values in _FULL.items() if name not in names}


def _ours(label: str, losses: str, param: str) -> Line:
    return Line(label, {"param": f"segmentation=ours:{param}"}, {"segmentation": _OWN, "losses": (losses,)})


def _source(label: str, source: str) -> Line:
    return Line(label, {"param": f"segmentation={label}"}, {"segmentation": (source,)})


def _maps_of(label: str, *tools: str) -> Line:
    """A system whose label maps come in through a folder, under its name as `labels`."""
    where = {"segmentation": ("folder",), "labels": tools}
    return Line(label, {"param": f"segmentation={label}"}, where)


def _banks(label: str, banks: str, scaled: int, *as_scale: str) -> Line:
    return Line(label, {"param": f"banks={banks};AS={scaled}"}, {"banks": (banks,), "as_scale": as_scale})


PSAD1 = PaperTable(
    key="psad1",
    source="psad",
    table="table1",
    title="PSAD, Table 1: AUROC on MVTec LOCO AD",
    protocol=_PROTOCOL,
    stub="Category",
    rows=(
        *_subset("LA", "logical"),
        *_subset("SA", "structural"),
        Line("Average", {"subset": MEAN}, group="Total"),
    ),
    columns=tuple(Line(method, {"method": method}) for method in _METHODS),
    contestants=contestants(_METHODS, _DRAEM, _COMAD, *_own(**_FULL)),
    own="PSAD",
    config="configs/psad_table1.yaml",
    notes=(
        "Printed averages that the printed cells do not give: PatchCore LA 74.0 (73.9 recomputed), "
        "SLSG total "
        "90.3 (90.5).",
        _LABELLED,
    ),
)

PSAD2 = PaperTable(
    key="psad2",
    source="psad",
    table="table2",
    title="PSAD, Table 2: average AUROC with different segmentation models",
    protocol=_PROTOCOL,
    stub="Model",
    rows=(
        _maps_of("SCOPS", "scops", "SCOPS"),
        _maps_of("Part-Assembly", "part-assembly", "part_assembly", "Part-Assembly"),
        _source("SegGPT", "seggpt"),
        _maps_of("VAT", "vat", "VAT"),
        _source("RePRI", "repri"),
        Line("K-means co-parts", {"param": "segmentation=kmeans"}, {"segmentation": ("kmeans",)}),
        _ours("Ours (L_sup)", "sup", "L_sup"),
        _ours("Ours (L_sup + L_H)", "sup+H", "L_sup+L_H"),
        _ours("Ours (L_sup + L_H + L_hist)", "sup+H+hist", "L_sup+L_H+L_hist"),
    ),
    columns=_SIDES,
    contestants=_own(**_without("losses", "segmentation")),
    own="PSAD",
    fixed={"method": "PSAD"},
    config="configs/psad_table2.yaml",
    also_apart=frozenset({"labels"}),
    aside=frozenset({"labels_dir", "segments_dir"}),
    notes=(_LABELLED, _OTHERS),
)

PSAD3 = PaperTable(
    key="psad3",
    source="psad",
    table="table3",
    title="PSAD, Table 3: average AUROC with different memory banks; AS is adaptive scaling",
    protocol=_PROTOCOL,
    stub="Banks",
    rows=(
        _banks("hist", "h", 0, "none", "max"),  # one bank: scaling cannot change its AUROC
        _banks("comp", "c", 0, "none", "max"),
        _banks("patch", "p", 0, "none", "max"),
        _banks("hist + comp + patch", "hcp", 0, "none"),
        _banks("hist + comp + patch, AS", "hcp", 1, "max"),
    ),
    columns=_SIDES,
    contestants=_own(**_without("banks", "as_scale")),
    own="PSAD",
    fixed={"method": "PSAD"},
    config="configs/psad_banks.yaml",
    notes=(_LABELLED,),
)

PSAD4 = PaperTable(
    key="psad4",
    source="psad",
    table="table4",
    title="PSAD, Table 4: AUROC of LA with fewer training images, banks hist + comp",
    protocol=_PROTOCOL,
    stub="",
    rows=(Line("Average AUROC (LA)", {"subset": "logical"}),),
    columns=tuple(
        Line(label, {"param": f"banks=hc;train_fraction={label}"}, {"train_fraction": (fraction,)})
        for label, fraction in (("100%", 1.0), ("50%", 0.5), ("25%", 0.25), ("12.5%", 0.125))
    ),
    contestants=_own(**(_without("train_fraction") | {"banks": ("hc",)})),
    own="PSAD",
    fixed={"method": "PSAD"},
    config="configs/psad_fraction.yaml",
    notes=(_LABELLED,),
)

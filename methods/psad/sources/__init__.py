"""Where PSAD's part labels come from (Table 2): one table, one file per source.

A source is `source(given, *specs) -> (PartSource, class names)`; its specs say which hyper-parameters it
reads.
Nothing here imports torch: planning asks what a source needs, and which parameters it does not read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

from harness.data.labels import check_label_file
from harness.data.segments import Segments, find_segments
from harness.errors import DataError
from harness.method import Asset, Task
from methods.psad import labelling
from methods.psad.sources import seggpt_files, specs

if TYPE_CHECKING:
    from methods.psad.sources.source import Given, PartSource

Segmentation = Literal["own", "folder", "repri", "seggpt", "kmeans"]
STAND_IN = "stand-in parts"  # what tables say of parts that no label stands behind
SHOWN = 3  # problems in a message


@final
@dataclass(frozen=True)
class Source:
    """An entry of the table.

    Attributes:
        module: where its function `source` is.
        specs: the hyper-parameters that it reads, in the order in which the function takes them.
    """

    module: str
    specs: tuple[type, ...]

    @property
    def params(self) -> frozenset[str]:
        """Names of those."""
        return frozenset(f.name for spec in self.specs for f in fields(spec))

    @property
    def labelled(self) -> bool:
        """Whether it learns from labelled images."""
        return specs.SupportSpec in self.specs

    def made(self, given: "Given", method: Any) -> tuple["PartSource", tuple[str, ...]]:
        """The source for the hyper-parameters of a method, and the names of its classes.

        Raises:
            HarnessError: see the function `source` of its module.
        """
        read = (spec(**{f.name: getattr(method, f.name) for f in fields(spec)}) for spec in self.specs)
        return import_module(self.module).source(given, *read)


SOURCES: Mapping[str, Source] = {
    "own": Source("methods.psad.sources.own", (specs.SupportSpec, specs.OwnSpec)),
    "folder": Source("methods.psad.sources.folder", (specs.FolderSpec,)),
    "repri": Source("methods.psad.sources.repri", (specs.SupportSpec, specs.RepriSpec)),
    "seggpt": Source("methods.psad.sources.seggpt", (specs.SupportSpec, specs.SegGptSpec)),
    "kmeans": Source("methods.psad.sources.coparts", (specs.CoPartsSpec,)),
}


def unused(params: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Hyper-parameters of other sources that were given a value; for `Card.problems`.

    They would change no number, and yet be part of a trial's identity.
    """
    chosen = params["segmentation"]
    others = {name for source in SOURCES.values() for name in source.params} - SOURCES[chosen].params
    given = [name for name in defaults if name in others and params[name] != defaults[name]]
    return [
        (name, f"is a parameter of segmentation: {_readers(name)}, and not used by {chosen}; leave it out")
        for name in given
    ]


def _readers(name: str) -> str:
    return " and ".join(known for known, source in SOURCES.items() if name in source.params)


def unmet(params: Mapping[str, Any], task: Task) -> str | None:
    """Why there are no part labels for a task, or None.

    Raises:
        ConfigError: `hist_classes` does not fit them.
        DataError: there are some, and they cannot be used; the files that are wrong are named.
    """
    chosen = params["segmentation"]
    if chosen == "folder":
        return _no_segments(params["segments_dir"], task)
    reason = labelling.unmet(params, task) if SOURCES[chosen].labelled else None
    return reason or (seggpt_files.lacking(params["seggpt_weights"]) if chosen == "seggpt" else None)


def _no_segments(root: str | None, task: Task) -> str | None:
    if root is None:
        return "segmentation: folder needs `segments_dir`, a folder of label maps of all images"
    found = _segments(root, task.category)
    if found is None:
        return f"needs label maps of {task.category}, and {root} has none"
    _check(found, task)
    return None


def _segments(root: str, category: str) -> Segments | None:
    return find_segments(Path(root).expanduser(), category)


def _check(found: Segments, task: Task) -> None:
    """Read the maps of the training images; a test image whose map is missing fails the trial."""
    problems = []
    for sample in task.train:
        try:
            check_label_file(found.of(sample.id), found.classes, sample.path)
        except DataError as error:
            problems.append(str(error))
    if problems:
        more = f"\nand {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise DataError("\n".join(problems[:SHOWN]) + more)


def assets(params: Mapping[str, Any], category: str) -> Sequence[Asset]:
    """The files whose content decides the numbers: of the frozen networks, and of the source.

    Raises:
        ConfigError, WeightsError: see `methods.shared.weights.find`.
        DataError: see `harness.data.labels.find_labels` and `harness.data.segments.find_segments`.
    """
    chosen = params["segmentation"]
    encoders = labelling.encoders(params, category)
    if chosen == "kmeans":
        return [replace(asset, marks=(*asset.marks, STAND_IN)) for asset in encoders]
    if chosen == "folder":
        return [*encoders, *_maps(params["segments_dir"], category)]
    found = [*encoders, *labelling.labels(params, category)]
    return [*found, *seggpt_files.assets(params["seggpt_weights"])] if chosen == "seggpt" else found


def _maps(root: str | None, category: str) -> list[Asset]:
    found = _segments(root, category) if root else None
    if found is None:
        return []
    return [Asset(f"label maps of {category}", found.sha256, str(found.folder), found.marks)]

"""What a data set is: a record of facts and three functions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, final

from harness.confined import spelt
from harness.data.rule import PLAIN, PixelRule
from harness.data.samples import Split
from harness.datasets.drawn import sketch_state
from harness.datasets.easel import Sketcher
from harness.datasets.hints import hint
from harness.errors import DataError, nearest

TRAIN, TEST = "train/good", "test/good"  # by which most data sets know a category folder
SHOWN = 20  # problems in one message; `harness.data check` lists all


@final
@dataclass(frozen=True)
class Inspection:
    """One category as it was found.

    Attributes:
        split: what could be read.
        problems: what makes it unusable, one sentence each, naming the path; empty if it is usable.
        notes: what is unusual but accepted (other counts than the archive's, unlisted files, ...).
    """

    split: Split
    problems: Sequence[str] = ()
    notes: Sequence[str] = ()


@final
@dataclass(frozen=True)
class Names:
    """The categories below a root.

    Attributes:
        whole: category folders.
        every: what `categories: all` stands for.
        known: all names that can be read, sub-types ("juice_bottle/cherry") included.
    """

    whole: tuple[str, ...]
    every: tuple[str, ...]
    known: tuple[str, ...]


@final
@dataclass(frozen=True)
class CommonOptions:
    """What a sweep file may say about any data set, under `dataset:` beside `name` and `root`.

    Attributes:
        marks: what tables have to say of the numbers.
        pixels: how files are read that are not plain 8-bit images: `bits` that are in use of 16, `range` of
            other numbers, `mask_exif` (own, image, ignore), `mask_threshold`, `mask_channel`,
            `mask_invert`, `max_megapixels`.
        allow_duplicates: accept test images that are training images as well; every table then says so.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    marks: tuple[str, ...] = ()
    pixels: PixelRule = PLAIN
    allow_duplicates: bool = False


@final
@dataclass(frozen=True)
class DataSet:
    """A data set: where it comes from and how it is read.

    Attributes:
        name: key of the table and of the sweep file.
        title, summary, licence, citation, url: for people; licence and citation go into NOTICES.md.
        inspector: (root, category, options) -> what is there; never raises for what it finds in files.
        lister: (root, options) -> names of categories.
        Options: frozen dataclass of what a sweep file may set under `dataset:` beside `name` and `root`;
            every field has a default and unknown keys are refused.
        doc: text with an example of the layout, one file a line from `ROOT/` on; `__doc__` of the module.
        archive, sha256: file name and checksum of the official archive.
        archives: the same where there are several: file name -> checksum.
        counts: category -> split -> images in the official archive; empty where there is none.
        defects: which defects are logical and which structural, and who says so; for people.
        totals: split, or "all" -> images of all categories together, where those of each are not published.
        recognise: root -> whether the folder looks like this data set; for `check` without a name.
        sketcher: draws a tiny copy of its layout (`harness.data sketch`); None where there is none.
        looked_for: paths below the root by which it is known, for the message about a root without them.
        refused_draws: draw rule -> why supports of this data set cannot be drawn by it.
    """

    name: str
    title: str
    summary: str
    licence: str
    citation: str
    inspector: Callable[[Path, str, Any], Inspection]
    lister: Callable[[Path, Any], Names]
    Options: type[Any] = CommonOptions
    doc: str | None = None
    url: str = ""
    archive: str = ""
    sha256: str = ""
    archives: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)
    defects: str = ""
    recognise: Callable[[Path], bool] = lambda root: False
    sketcher: Sketcher | None = None
    looked_for: tuple[str, ...] = (f"CATEGORY/{TRAIN}", f"CATEGORY/{TEST}")
    refused_draws: Mapping[str, str] = field(default_factory=dict)

    @property
    def layout(self) -> list[str]:
        """The files of its example, each with what it is."""
        lines = (line.strip() for line in (self.doc or "").splitlines())
        return [line for line in lines if line.startswith("ROOT/")]

    def names(self, root: str | Path, options: Any = None) -> Names:
        """The categories below `root`, as folders, as `all` and as everything that can be read.

        Raises:
            DataError: `root` is no folder, cannot be read, or holds no category.
        """
        root = Path(root)
        try:
            if not root.is_dir():
                raise DataError(f"{root}: no such folder (root of the data set {self.name})")
        except OSError as error:
            raise DataError(f"{root}: cannot be read as a folder ({error.strerror})") from error
        options = options or self.Options()
        try:
            names = self.lister(root, options)
        except OSError as error:
            raise DataError(f"{error.filename or root}: cannot be read ({error.strerror})") from error
        if not names.whole:
            raise DataError(f"{root}: no category of {self.name} in this folder{self._hint(root, options)}")
        return names

    def _hint(self, root: Path, options: Any) -> str:
        own = [
            f"CATEGORY/{getattr(options, key)}" for key in ("train", "normal") if getattr(options, key, "")
        ]
        return hint(root, own or self.looked_for, lambda folder: self.lister(folder, options).whole)

    def categories(self, root: str | Path, options: Any = None) -> list[str]:
        """What `categories: all` stands for.

        Raises:
            DataError: see `names`.
        """
        return list(self.names(root, options).every)

    def known_categories(self, root: str | Path, options: Any = None) -> list[str]:
        """Every name that `read` accepts.

        Raises:
            DataError: see `names`.
        """
        return list(self.names(root, options).known)

    def inspect(self, root: str | Path, category: str, options: Any = None) -> Inspection:
        """One category with everything that is wrong with it.

        Raises:
            DataError: no such category.
        """
        known = self.known_categories(root, options)
        if category not in known:
            raise DataError(
                f"{root}: {self.name} has no category {category!r}{nearest(category, known)}; "
                f"known here: {', '.join(known)}"
            )
        found = self.inspector(Path(root), category, options or self.Options())
        drawn, unfinished = sketch_state(Path(root))
        split = replace(found.split, marks=tuple(dict.fromkeys((*drawn, *found.split.marks))))
        return replace(found, split=split, problems=(*unfinished, *found.problems, *unwritable(split)))

    def read(self, root: str | Path, category: str, options: Any = None) -> Split:
        """One category, checked; no pixel of an image is decoded.

        Raises:
            DataError: everything that is wrong with it at once, each with its path.
        """
        found = self.inspect(root, category, options)
        if found.problems:
            raise DataError(
                listing(f"{self.name} {spelt(category)} at {root}", found.problems), found.problems
            )
        return found.split

    def problems(self, root: str | Path, options: Any = None) -> list[str]:
        """Everything that is wrong with the data set below `root`, one sentence each."""
        try:
            names = self.names(root, options)
        except DataError as error:
            return [str(error)]
        found = [self.inspect(root, category, options).problems for category in names.known]
        return list(dict.fromkeys(problem for problems in found for problem in problems))


def unwritable(split: Split) -> list[str]:
    """Names that cannot be written down: results are tables of UTF-8 text, as file names need not be."""
    samples = (*split.train, *split.validation, *split.test)
    names = {split.category: split.category} | {s.id: str(s.path) for s in samples}
    found = [spelt(path) for name, path in names.items() if not _is_text(name)]
    return [f"{path}: the name is not UTF-8; rename it" for path in found]


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def listing(place: str, problems: Sequence[str]) -> str:
    """One message of many problems, cut where it gets too long to read."""
    lines = [f"{place}: {len(problems)} problem{'s' if len(problems) > 1 else ''}"]
    lines += [f"  {problem}" for problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"  and {len(problems) - SHOWN} more; `python -m harness.data check ROOT` lists all")
    return "\n".join(lines)

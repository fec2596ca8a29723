"""Prompts: one YAML file per category (the format is in README.md)."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, final

from pydantic import Field

from harness.errors import DataError, nearest
from methods.clip_lad.segmentation import Classes
from methods.shared.openclip import prompt_files
from methods.shared.openclip.prompt_files import SUFFIX, categories_in, file_of
from methods.shared.openclip.text import imagenet_templates
from methods.shared.weights import DEMO

SHIPPED = Path(__file__).parent / "prompts"
Names = dict[str, Annotated[tuple[str, ...], Field(min_length=1)]]
Clusters = Annotated[int, Field(ge=1, le=254)]


@final
@dataclass(frozen=True)
class Prompts:
    """What is said of one category.

    Attributes:
        coarse, fine: class -> its synonyms; regions are matched with the coarse ones, patches (or
            regions) with the fine ones.
        background: names of the classes, of both levels, that are background.
        n_clusters: N_c.
        coarse_threshold: similarity that a region must exceed to be foreground; one number, or class ->
            number (0 for the others).
        fine_level: whether each patch or each region gets its own fine class.
        templates: "openai" for OpenAI's 80 ImageNet templates, or texts with {} for the word.
    """

    coarse: Names
    fine: Names
    background: tuple[str, ...] = ("background",)
    n_clusters: Clusters = 10
    coarse_threshold: float | dict[str, float] = 0.0
    fine_level: Literal["patch", "region"] = "patch"
    templates: Literal["openai"] | Annotated[tuple[str, ...], Field(min_length=1)] = "openai"

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the fine classes that are no background: the bins of the histogram."""
        return tuple(name for name in self.fine if name not in self.background)

    @property
    def coarse_parts(self) -> tuple[str, ...]:
        """Names of the coarse classes that are no background."""
        return tuple(name for name in self.coarse if name not in self.background)

    @property
    def words(self) -> tuple[tuple[str, ...], ...]:
        """The synonyms of every class, coarse ones first."""
        return tuple(tuple(words) for words in (*self.coarse.values(), *self.fine.values()))

    @property
    def texts(self) -> tuple[str, ...]:
        """The templates themselves."""
        return imagenet_templates() if self.templates == "openai" else tuple(self.templates)

    @property
    def sha256(self) -> str:
        """Of the content, not of its comments or layout."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()

    def changed(
        self,
        n_clusters: int | None = None,
        coarse_threshold: float | None = None,
        fine_level: Literal["patch", "region"] | None = None,
    ) -> "Prompts":
        """The same with other settings; None leaves one as it is."""
        return replace(
            self,
            n_clusters=self.n_clusters if n_clusters is None else n_clusters,
            coarse_threshold=self.coarse_threshold if coarse_threshold is None else coarse_threshold,
            fine_level=fine_level or self.fine_level,
        )

    def classes(self, level: Literal["coarse", "fine"]) -> Classes:
        """What the segmentation has to know of a level's classes."""
        names = self.coarse if level == "coarse" else self.fine
        given = self.coarse_threshold
        thresholds = given if isinstance(given, dict) else dict.fromkeys(names, given)
        return Classes(
            tuple(name in self.background for name in names), tuple(thresholds.get(n, 0.0) for n in names)
        )


def find(prompts: str | None, weights: str | None, category: str) -> Path | None:
    """The prompt file of a category (`file_of`), or None if those that ship have none.

    Args:
        prompts: a file, a folder of files, or None for those that ship (for demo weights: those in
            their vocabulary).
        weights: of the image–text model.
        category: its name.

    Raises:
        DataError: `prompts` is given and has nothing for the category.
    """
    given = Path(prompts).expanduser() if prompts else None
    found = file_of(given or shipped(weights), category)
    if given is not None and found is None:
        raise DataError(missing(category, given))
    return found


def shipped(weights: str | None) -> Path:
    """The folder of the prompts that ship: those in the demo model's vocabulary, or those of LOCO."""
    return SHIPPED / DEMO if weights == DEMO else SHIPPED


def missing(category: str, folder: Path = SHIPPED) -> str:
    """What to say where a category has no prompts."""
    if not folder.is_dir():
        hint = nearest(
            folder.name, [p.name for p in folder.parent.glob("*")] if folder.parent.is_dir() else []
        )
        return f"prompts: no file or folder {folder}{hint}"
    own = [name for name in categories_in(folder) if not name.startswith(f"{DEMO}/")]
    return (
        f"CLIP-LAD has no prompts for {category!r}{nearest(category, own)}; {folder} has: "
        f"{', '.join(own) or 'none'}. Write {category}{SUFFIX} with the keys `coarse` and `fine` "
        f"(class: [word, synonym]) and `background` (names of the classes that are background), and give "
        f"its path, or its folder's, as `prompts`; {SHIPPED / 'pushpins.yaml'} is an example"
    )


def read(path: Path) -> Prompts:
    """A prompt file, checked.

    Raises:
        DataError: it cannot be read, or everything that is wrong in it.
    """
    prompts = prompt_files.read(path, Prompts)
    if problems := _contradictions(prompts):
        raise prompt_files.refused(path, problems)
    return prompts


def _contradictions(prompts: Prompts) -> list[str]:
    """What types cannot say."""
    known = [*prompts.coarse, *prompts.fine]
    given = prompts.coarse_threshold
    named = {"background": prompts.background, "coarse_threshold": given if isinstance(given, dict) else ()}
    unknown = [
        f"{key}: no class is called {name!r}{nearest(name, known)}"
        for key, names in named.items()
        for name in names
        if name not in (known if key == "background" else prompts.coarse)
    ]
    levels = [("coarse", prompts.coarse), ("fine", prompts.fine)]
    empty = [
        f"{key}: at least one class must not be background"
        for key, names in levels
        if not set(names) - set(prompts.background)
    ]
    texts = () if prompts.templates == "openai" else prompts.templates
    blank = [f"templates: {text!r} has no {{}} for the word" for text in texts if "{}" not in text]
    return unknown + empty + blank

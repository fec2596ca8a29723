"""Every table of the three papers, by its name on the command line."""

from collections.abc import Mapping, Sequence

from harness.errors import ConfigError, nearest
from reports.frame.load import Frame
from reports.frame.protocols import one_of
from reports.papers.clip_lad import CLIP_LAD1, CLIP_LAD2, CLIP_LAD3
from reports.papers.dfsc import DFSC1, DFSC2, DFSC3, DFSC4
from reports.papers.layout import has_own, paper_table
from reports.papers.psad import PSAD1, PSAD2, PSAD3, PSAD4
from reports.papers.spec import PaperTable
from reports.tables.table import Table

_ALL = (PSAD1, PSAD2, PSAD3, PSAD4, DFSC1, DFSC2, DFSC3, DFSC4, CLIP_LAD1, CLIP_LAD2, CLIP_LAD3)
PAPERS: Mapping[str, PaperTable] = {spec.key: spec for spec in _ALL}


AUTO, NONE, EVERY = "auto", "none", "papers"


def chosen(frame: Frame, words: str) -> list[str]:
    """Names of tables from a word of the command line.

    Args:
        frame: of which AUTO takes the tables with trials of the method that the paper is about.
        words: AUTO, NONE, EVERY, or names with commas between.

    Raises:
        ConfigError: a table that no paper has.
    """
    if words == AUTO:  # looked at where it is asked for: a third of a small report
        return [key for key, spec in PAPERS.items() if has_own(frame, spec)]
    fixed = {NONE: [], EVERY: list(PAPERS)}
    if words in fixed:
        return fixed[words]
    names = [word.strip() for word in words.split(",")]
    for name in names:
        if name not in PAPERS:
            known = ", ".join((AUTO, *fixed, *PAPERS))
            raise ConfigError(f"--tables: unknown {name!r}{nearest(name, PAPERS)}; known: {known}")
    return names


def paper_tables(frame: Frame, keys: Sequence[str]) -> tuple[Table, ...]:
    """Tables of papers, with ours wherever there is a trial for them."""
    # protocols are called as the tables begin: clip_lad1
    return tuple(paper_table(one_of(frame, key.rstrip("0123456789")), PAPERS[key]) for key in keys)

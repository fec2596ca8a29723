"""What a page begins with: the first leaderboard, and what its best method catches and misses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from reports.frame.load import Frame
from reports.frame.protocols import asked
from reports.leaderboard import Board, boards
from reports.leaderboard.printed import Printed
from reports.page.boards import choices, first_board
from reports.pages.subpage import page_files
from reports.pictures.gallery import Gallery
from reports.pictures.strip import Shot, strip


@final
@dataclass(frozen=True)
class Headline:
    """The top of a page.

    Attributes:
        board: the leaderboard that is shown without a script.
        metric: its metric, as printed.
        at: axis -> value of it.
        choices: axis -> value -> as printed: what can be switched to.
        pages, categories: files of the pages of methods and of categories, by key and by title.
        shots: of its best method; none where no maps were kept.
        marks: mark -> the letter that stands at every method that carries it.
    """

    board: Printed
    metric: str
    at: Mapping[str, str]
    choices: Mapping[str, Mapping[str, str]]
    pages: Mapping[str, str]
    categories: Mapping[str, str]
    shots: tuple[Shot, ...]

    @property
    def marks(self) -> dict[str, str]:
        found = sorted({m for line in self.board.lines for m in line.marks})
        return {mark: chr(ord("a") + i % 26) for i, mark in enumerate(found)}


def headline(frame: Frame, pictures: Gallery) -> Headline | None:
    """The top of the page of a frame; None where nothing has been measured."""
    board = first_board(frame)
    if board is None:
        return None
    first, said = boards(frame)[0], choices(frame)
    at = {axis: str(getattr(first, axis)) for axis in said}
    best = first.ranked[0].variant if first.ranked else ""
    beside = page_files(frame)
    shots = strip(pictures, _names(frame, first), best)
    return Headline(board, first.title, at, said, beside["methods"], beside["categories"], shots)


def _names(frame: Frame, board: Board) -> set[str]:
    """What the frame calls the data set of a board: it may name it with the protocols that share a trial."""
    t = frame.trials
    return {board.dataset, *t.loc[(t["images"] == board.dataset) & asked(t, board.protocol), "dataset"]}

"""What a method catches and what it misses: the two pictures of a gallery that show it best."""

from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import final

from harness.data.samples import GOOD
from reports.pictures.gallery import Gallery, Picture, Row

CAUGHT, MISSED = "Caught", "Missed"


@final
@dataclass(frozen=True)
class Shot:
    """An anomalous image, what was to be found in it, and what the method saw.

    Attributes:
        kind: `CAUGHT` or `MISSED`.
        anchor: of its row among the pictures.
        row: the image.
        truth: with what was to be found, or the image alone.
        seen: with the anomaly map.
    """

    kind: str
    anchor: str
    row: Row
    truth: Picture
    seen: Picture


def strip(gallery: Gallery, datasets: Set[str], variant: str) -> tuple[Shot, ...]:
    """The anomalous image that a method puts above most good ones, and the one above fewest.

    Args:
        gallery: of a report; its images were chosen by the best method of each category.
        datasets: of the images, as the frame names them.
        variant: the method, as tables name it.
    """
    shots = list(_shots(gallery, datasets, variant))
    if len(shots) < 2:
        return ()
    best, worst = max(shots, key=lambda s: s[0])[1], min(shots, key=lambda s: s[0])[1]
    return (_named(CAUGHT, *best), _named(MISSED, *worst)) if best[1] is not worst[1] else ()


def _named(kind: str, anchor: str, row: Row, seen: Picture) -> Shot:
    image, truth = row.cells[:2]
    return Shot(kind, anchor, row, truth if truth.uri else image, seen)


def _shots(
    gallery: Gallery, datasets: Set[str], variant: str
) -> Iterator[tuple[float, tuple[str, Row, Picture]]]:
    for panel in gallery.panels:
        column = next((i for i, (name, _) in enumerate(panel.columns) if name == variant), None)
        if panel.dataset not in datasets or column is None:
            continue
        for number, row in enumerate(panel.rows):
            seen = row.cells[column]
            if row.label != GOOD and seen.share is not None:
                yield seen.share, (f"{panel.key}-{number + 1}", row, seen)

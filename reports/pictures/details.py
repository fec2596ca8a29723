"""What a method shows of an image besides its anomaly map, as small pictures and bars for a page."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from harness.data import Sample, decode
from harness.views import Bars, Heat, Parts, Reference, View
from reports.frame.naming import words
from reports.pictures.thumbnails import Pixels, data_uri, part_colour, thumbnail, with_heat, with_parts
from reports.tables.table import significant

SHOWN = 4  # views of an image at most


@final
@dataclass(frozen=True)
class Detail:
    """One view.

    Attributes:
        title: what it shows.
        uri: a picture as data URI; "" for none.
        legend: (name, colour as #rrggbb) of the parts in it.
        bars: (name of a bar, its value per series as (words, percent of the largest)).
        series: names of the series.
    """

    title: str
    uri: str = ""
    legend: tuple[tuple[str, str], ...] = ()
    bars: tuple[tuple[str, tuple[tuple[str, float], ...]], ...] = ()
    series: tuple[str, ...] = ()


def details(views: Iterable[View], picture: Pixels, samples: Mapping[str, Sample]) -> tuple[Detail, ...]:
    """The first views of an image.

    Args:
        views: of a method.
        picture: the image as it is shown.
        samples: all images of the category, by id.
    """
    made = (_detail(view, picture, samples) for view in views)
    return tuple(one for one in made if one is not None)[:SHOWN]


def _detail(view: View, picture: Pixels, samples: Mapping[str, Sample]) -> Detail | None:
    match view:
        case Heat():
            values = np.asarray(view.values, np.float32)
            limits = float(values.min()), float(values.max())
            return Detail(view.title, data_uri(with_heat(picture, values, limits)))
        case Parts():
            return _parts(view, picture)
        case Bars():
            return _bars(view)
        case Reference():
            sample = samples.get(view.image)
            title = f"{view.title}: {view.image}"
            return (
                None
                if sample is None
                else Detail(title, data_uri(thumbnail(decode(sample.path, sample.rule))))
            )


def _parts(view: Parts, picture: Pixels) -> Detail:
    labels = np.asarray(view.labels, np.uint8)
    seen = [int(label) for label in np.unique(labels) if label]
    legend = tuple((words(view.names[i]), "#{:02x}{:02x}{:02x}".format(*part_colour(i))) for i in seen)
    return Detail(view.title, data_uri(with_parts(picture, labels)), legend)


def _bars(view: Bars) -> Detail:
    table = np.stack([np.asarray(values, np.float64) for values in view.series.values()], axis=1)
    largest = max(float(np.abs(table).max(initial=0.0)), 1e-30)
    bars = tuple(
        (words(name), tuple((significant(float(v), 2), round(100 * abs(float(v)) / largest, 1)) for v in row))
        for name, row in zip(view.names, table, strict=True)
    )
    return Detail(view.title, bars=bars, series=tuple(view.series))

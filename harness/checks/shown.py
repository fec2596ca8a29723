"""Checks of the two optional methods: `explain` and `segment`."""

import numpy as np

from harness.checks.plates import plates
from harness.checks.subject import Subject, require
from harness.views import Bars, Heat, Parts, Reference, View

LOOKED_AT = 4  # test images


def views_well_formed(subject: Subject) -> None:
    """`explain`, if there is one: a tuple of well-formed views per image, titles all different."""
    if not hasattr(subject.cls, "explain"):
        return
    shown = subject.method.explain(subject.plates.test.subset(range(LOOKED_AT)))
    require(len(shown) == LOOKED_AT, f"explain gives {len(shown)} tuples for {LOOKED_AT} images")
    for views in shown:
        require(isinstance(views, tuple), f"explain gives {type(views).__name__}, not a tuple, per image")
        titles = [view.title for view in views]
        require(all(titles) and len(set(titles)) == len(titles), f"titles of views: {titles}")
        for view in views:
            _well_formed(view)


def _well_formed(view: View) -> None:
    match view:
        case Heat():
            require(view.values.ndim == 2, f"{view.title!r} has shape {view.values.shape}")
            require(bool(np.isfinite(view.values).all()), f"{view.title!r} is not finite")
        case Parts():
            _labels(view.title, view.labels[None], view.names)
        case Bars():
            for name, values in view.series.items():
                require(
                    np.shape(values) == (len(view.names),), f"{view.title!r}: {name!r} has a wrong length"
                )
                require(bool(np.isfinite(values).all()), f"{view.title!r}: {name!r} is not finite")
        case Reference():
            # a test image as reference would show what no method may use
            known = plates().train.ids + plates().validation.ids
            require(view.image in known, f"{view.title!r}: {view.image!r} is no image that fit has seen")
        case _:
            require(False, f"explain gives a {type(view).__name__}, which is no view")


def segments_well_formed(subject: Subject) -> None:
    """`segment`, if there is one: uint8 labels (n, h, w), each with a name."""
    if not hasattr(subject.cls, "segment"):
        return
    found = subject.method.segment(subject.plates.test.subset(range(LOOKED_AT)))
    require(len(found.labels) == LOOKED_AT, f"segment gives {len(found.labels)} images for {LOOKED_AT}")
    require(found.labels.dtype == np.uint8, f"labels are {found.labels.dtype}, not uint8")
    _labels("segment", found.labels, found.names)


def _labels(title: str, labels: np.ndarray, names: tuple[str, ...]) -> None:
    require(labels.ndim == 3, f"{title!r}: labels of one image have {labels.ndim - 1} axes")
    require(np.issubdtype(labels.dtype, np.integer), f"{title!r}: labels are {labels.dtype}")
    low, high = int(labels.min()), int(labels.max())
    require(low >= 0 and high < len(names), f"{title!r}: labels {low}…{high} for {len(names)} names")

"""How a method saw one test image: found or made again, and drawn."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from harness.data import Sample, Split, decode
from harness.errors import DataError, nearest
from harness.inspection.record import Record
from harness.results import read_run
from harness.results.maps import read_maps
from harness.results.plain import title
from harness.results.views import read_views
from harness.source import recorded_split
from harness.views import Heat, View

Explain = Callable[[Mapping[str, Any], Mapping[str, Any], Split, Sample], tuple[View, ...]]


def picture(run: Path, record: Record, wanted: str, out: Path | None, explain: Explain) -> Path:
    """Draw a test image with everything that the method has to show of it.

    Args:
        run: a run directory.
        record: the trial.
        wanted: id of the image, or the end of it.
        out: the file; by default named after trial and image, in the working directory.
        explain: (configuration, trial, category, image) -> views, for what the sweep has not kept.

    Returns:
        The file.

    Raises:
        DataError: no such image, or several, or the data set is not there any more.
    """
    from harness.inspection.drawing import draw  # matplotlib takes a second to import

    trial = record.trial
    config = read_run(run, scores=False).config
    split = recorded_split(config, trial["category"], trial["fingerprint"])
    sample = _sample(split, wanted)
    views = _kept(run, trial["trial_id"], sample) or explain(config, trial, split, sample)
    out = out or Path(f"{trial['trial_id']}_{sample.id.replace('/', '_')}").with_suffix(".png")
    samples = {s.id: s for s in (*split.train, *split.validation, *split.test)}
    others = {name: partial(decode, s.path, s.rule) for name, s in samples.items()}
    caption = f"{title(trial)} · {sample.id}"
    draw(decode(sample.path, sample.rule), caption, views, lambda image: others[image](), out)
    return out


def _kept(run: Path, trial_id: str, sample: Sample) -> tuple[View, ...]:
    views, maps = read_views(run, trial_id) or {}, read_maps(run, trial_id)
    if sample.id in views or maps is None:
        return views.get(sample.id, ())
    return (Heat("anomaly map", maps.maps[maps.ids.index(sample.id)]),)


def _sample(split: Split, wanted: str) -> Sample:
    found = [s for s in split.test if s.id == wanted or s.id.endswith(f"/{wanted}")]
    if len(found) != 1:
        known = [s.id for s in split.test]
        what = f"{len(found)} test images end in" if found else "no test image"
        raise DataError(
            f"{split.category}: {what} {wanted!r}{nearest(wanted, known)}; there are {len(known)}"
        )
    return found[0]

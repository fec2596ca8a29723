"""VID-AD: ten scenarios under five conditions, fifty one-class tasks; logical anomalies only, no masks.

ROOT/Balls/train/good/000.jpg
ROOT/Balls/test/good/000.jpg
ROOT/Balls/test/logical_anomalies/Single-Aspect-A/000.jpg
ROOT/Balls/test/logical_anomalies/Dual-Aspects/000.jpg
ROOT/Balls_Cable_BG/train/good/000.jpg: the same scenario before another background, dark, or out of focus

Images are frames of videos, so that neighbours are near-duplicates: supports are drawn at random only. Some
scenarios lack Single-Aspect-B.
"""

from harness.data.samples import LOGICAL
from harness.datasets.easel import Easel
from harness.datasets.folders import Layout
from harness.datasets.reader import LayoutReader
from harness.datasets.record import DataSet

SCENARIOS = (
    "Balls",
    "Blocks",
    "Cookies",
    "Dishes",
    "Fruits",
    "Ropes",
    "Stationery",
    "Sticks",
    "Tapes",
    "Tools",
)
CONDITIONS = ("", "_Cable_BG", "_Mesh_BG", "_Blurry_CD", "_Low-light_CD")
TASKS = tuple(scenario + condition for scenario in SCENARIOS for condition in CONDITIONS)
ASPECTS = ("Single-Aspect-A", "Single-Aspect-B", "Dual-Aspects")
LAYOUT = Layout(validation=(), abnormal=("test/logical_anomalies/*",), masks=None, label=LOGICAL)
FRAMES = (
    "images are frames of videos, so that k neighbours show k times nearly the same; draw at random "
    "(nested, vand2025, shuffle, sample), or name the images (manifest)"
)

_READER = LayoutReader("vid_ad", LAYOUT, {task: {} for task in TASKS}, closed=True)


def _sketch(easel: Easel) -> None:
    for task in easel.categories(TASKS):
        easel.good(f"{task}/{{split}}/good/{{i:03d}}.jpg", task)
        for aspect in ASPECTS:
            for i in range(easel.test):
                easel.picture(f"{task}/test/logical_anomalies/{aspect}/{i:03d}.jpg", task, LOGICAL)


VID_AD = DataSet(
    name="vid_ad",
    title="VID-AD",
    summary="Fifty one-class tasks, ten scenarios under five conditions of capture; logical anomalies only, "
    "no masks; supports are drawn at random, because neighbouring frames are near-duplicates.",
    defects="all are logical: violations of one of two constraints per scenario, or of both",
    licence="MIT",
    # the README's citation is a blank; authors as on arXiv
    citation="Nakata, Zou, Sakai, Maeda, Gu, Wei, Gao, Zhang: VID-AD: A Dataset for Image-Level Logical "
    "Anomaly Detection under Vision-Induced Distraction. arXiv:2603.13964, 2026.",
    url="https://github.com/nkthiroto/VID-AD",
    counts={task: {} for task in TASKS},
    totals={"all": 10_395},
    inspector=_READER.inspect,
    lister=_READER.names,
    doc=__doc__,
    recognise=_READER.recognises,
    sketcher=_sketch,
    refused_draws={"first_k": FRAMES, "block": FRAMES},
)

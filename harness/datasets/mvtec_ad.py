"""MVTec AD: fifteen categories, one folder per defect, plain binary masks.

ROOT/bottle/train/good/000.png
ROOT/bottle/test/good/000.png
ROOT/bottle/test/broken_large/000.png
ROOT/bottle/ground_truth/broken_large/000_mask.png
"""

from harness.datasets.easel import Easel
from harness.datasets.expected import by_category
from harness.datasets.folders import Layout
from harness.datasets.reader import LayoutReader
from harness.datasets.record import DataSet

# counted in the distributed archive: 5,354 images
_COUNTS = {
    "bottle": (209, 20, 63),
    "cable": (224, 58, 92),
    "capsule": (219, 23, 109),
    "carpet": (280, 28, 89),
    "grid": (264, 21, 57),
    "hazelnut": (391, 40, 70),
    "leather": (245, 32, 92),
    "metal_nut": (220, 22, 93),
    "pill": (267, 26, 141),
    "screw": (320, 41, 119),
    "tile": (230, 33, 84),
    "toothbrush": (60, 12, 30),
    "transistor": (213, 60, 40),
    "wood": (247, 19, 60),
    "zipper": (240, 32, 119),
}
COUNTS = by_category(_COUNTS)


_READER = LayoutReader("mvtec_ad", Layout(validation=()), COUNTS)


def _sketch(easel: Easel) -> None:
    for category in easel.categories(COUNTS):
        easel.good(f"{category}/{{split}}/good/{{i:03d}}.png", category)
        for i in range(easel.test):
            for defect in ("broken_large", "contamination"):
                image, mask = f"test/{defect}/{i:03d}.png", f"ground_truth/{defect}/{i:03d}_mask.png"
                easel.masked(f"{category}/{image}", f"{category}/{mask}", category, defect)


MVTEC_AD = DataSet(
    name="mvtec_ad",
    title="MVTec AD",
    summary="Fifteen categories of objects and textures, structural anomalies in the main.",
    licence="CC BY-NC-SA 4.0",
    citation="Bergmann, Fauser, Sattlegger, Steger: MVTec AD – A Comprehensive Real-World Dataset for "
    "Unsupervised Anomaly Detection. CVPR 2019.",
    url="https://www.mvtec.com/company/research/datasets/mvtec-ad",
    archive="mvtec_anomaly_detection.tar.xz",
    sha256="cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d",
    counts=COUNTS,
    inspector=_READER.inspect,
    lister=_READER.names,
    doc=__doc__,
    recognise=_READER.recognises,
    sketcher=_sketch,
)

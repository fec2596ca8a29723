"""The demo data set: five procedural categories in MVTec LOCO's layout, with exact part and defect masks.

>>> from harness.datasets.demo import generate, scene
>>> scene("screw_bag", 0, "weights", 3, 256, "1_missing_washer").parts.shape
(256, 358)
"""

from harness.datasets.demo.catalog import Scene
from harness.datasets.demo.layout import generate
from harness.datasets.demo.preview import preview
from harness.datasets.demo.scenes.drawing import CATEGORIES, PART_NAMES, scene

__all__ = ["CATEGORIES", "PART_NAMES", "Scene", "generate", "preview", "scene"]

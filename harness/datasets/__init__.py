"""The data sets: one table, one file per data set, read on demand.

A data set is a `harness.datasets.record.DataSet`; packages may add theirs through the entry-point group
`ladder.datasets`.
"""

from harness.datasets.record import DataSet
from harness.registry import Registry

DATASETS: Registry[DataSet] = Registry(
    "dataset",
    {
        "demo": "harness.datasets.demo_data:DEMO",
        "folder": "harness.datasets.folder:FOLDER",
        "mvtec_ad": "harness.datasets.mvtec_ad:MVTEC_AD",
        "mvtec_ad2": "harness.datasets.mvtec_ad2:MVTEC_AD2",
        "mvtec_loco": "harness.datasets.mvtec_loco:MVTEC_LOCO",
    },
    group="ladder.datasets",
    of=DataSet,
)

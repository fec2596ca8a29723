"""The data sets: one table, one file per data set, read on demand.

A data set is a `harness.datasets.record.DataSet`; packages may add theirs through the entry-point group
`ladder.datasets`.
"""

from harness.datasets.record import DataSet
from harness.registry import Registry

DATASETS: Registry[DataSet] = Registry(
    "dataset",
    {
        "autovi": "harness.datasets.autovi:AUTOVI",
        "btad": "harness.datasets.btad:BTAD",
        "cad_sd": "harness.datasets.cad_sd:CAD_SD",
        "demo": "harness.datasets.demo_data:DEMO",
        "folder": "harness.datasets.folder:FOLDER",
        "mpdd": "harness.datasets.mpdd:MPDD",
        "mvtec_ad": "harness.datasets.mvtec_ad:MVTEC_AD",
        "mvtec_ad2": "harness.datasets.mvtec_ad2:MVTEC_AD2",
        "mvtec_loco": "harness.datasets.mvtec_loco:MVTEC_LOCO",
        "real_iad": "harness.datasets.real_iad:REAL_IAD",
        "vid_ad": "harness.datasets.vid_ad:VID_AD",
        "visa": "harness.datasets.visa:VISA",
    },
    group="ladder.datasets",
    of=DataSet,
)

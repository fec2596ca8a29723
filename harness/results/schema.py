"""Columns of the three result tables; the contract that other programs read.

Metric values are fractions in [0, 1], times seconds, memory MiB, timestamps UTC. Columns may be added;
none changes its meaning without a new SCHEMA_VERSION.
"""

import pyarrow as pa

SCHEMA_VERSION = 1

_STRINGS = pa.list_(pa.string())
_TIME = pa.timestamp("us", tz="UTC")
_MOMENTS = pa.struct(
    [("images", pa.int64()), ("pixels", pa.int64())]
    + [(n, pa.float64()) for n in ("mean", "std", "low", "high")]
)

TRIALS = pa.schema(
    [
        pa.field("trial_id", pa.string(), nullable=False),
        ("sweep", pa.string()),
        ("method", pa.string()),
        ("method_version", pa.int32()),
        ("params", pa.string()),  # JSON, complete
        ("dataset", pa.string()),
        ("category", pa.string()),
        ("fingerprint", pa.string()),
        ("shots", pa.int32()),  # null = all training images, 0 = the method ignores them
        ("split_seed", pa.int32()),  # null = cannot change the numbers
        ("run_seed", pa.int32()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("error_type", pa.string()),
        ("traceback", pa.string()),
        ("support", _STRINGS),
        ("n_train", pa.int32()),
        ("n_validation", pa.int32()),
        ("n_test", pa.int32()),
        ("fit_seconds", pa.float64()),
        ("score_seconds", pa.float64()),
        ("validation_seconds", pa.float64()),  # scoring validation images, for metrics that fix a threshold
        ("metric_seconds", pa.float64()),
        ("total_seconds", pa.float64()),
        ("ms_per_image", pa.float64()),
        ("peak_rss_mib", pa.float64()),
        ("peak_gpu_mib", pa.float64()),
        ("device", pa.string()),
        ("gpu_name", pa.string()),
        ("precision_used", pa.string()),  # what `precision: auto` came to; null where a method does not say
        ("gpu_share", pa.float64()),
        ("cpus", pa.float64()),
        ("host", pa.string()),
        ("attempt", pa.int32()),
        ("unit", pa.string()),
        ("together", pa.int32()),  # trials trained as one, each with its share of the seconds; null = alone
        ("together_error", pa.string()),  # why that broke off; what it left undone was trained alone
        ("notes", _STRINGS),  # what happened on the way and is no failure: a damaged checkpoint set aside
        ("weights", pa.list_(pa.struct([("name", pa.string()), ("sha256", pa.string())]))),
        ("kept", pa.list_(pa.struct([("name", pa.string()), ("sha256", pa.string())]))),  # files, by kind
        ("validation_maps", _MOMENTS),  # of all pixels; null where no metric fixes a threshold on them
        ("marks", _STRINGS),
        ("protocols", _STRINGS),  # under which it was asked for when it ran; those of today are in the plan
        ("artifact_hits", pa.int64()),
        ("artifact_computes", pa.int64()),
        ("artifacts", pa.string()),  # JSON: "<op>.hits" / "<op>.computes" -> count
        ("versions", pa.string()),  # JSON
        ("git_commit", pa.string()),
        ("git_dirty", pa.bool_()),
        ("started_at", _TIME),
        ("finished_at", _TIME),
    ]
)

METRICS = pa.schema(
    [
        pa.field("trial_id", pa.string(), nullable=False),
        ("subset", pa.string()),  # all, logical, structural, mean, a defect type, or "condition:<name>"
        ("metric", pa.string()),
        ("fpr_limit", pa.float64()),  # null where the metric has none
        ("value", pa.float64()),  # null where undefined
        ("n_normal", pa.int32()),
        ("n_anomalous", pa.int32()),
        ("metric_version", pa.int32()),
        (
            "map_rule",
            pa.string(),
        ),  # how maps reached the size at which they were scored; null for image metrics
        ("threshold", pa.float64()),  # above which a pixel was flagged; null where a metric fixes none
        ("ci_low", pa.float64()),  # 95 % interval over test images; null unless asked for and defined
        ("ci_high", pa.float64()),
    ]
)

SCORES = pa.schema(
    [
        pa.field("trial_id", pa.string(), nullable=False),
        ("image", pa.string()),
        ("label", pa.string()),
        ("defect", pa.string()),  # defect types joined by "+", null if none or unknown
        ("subtype", pa.string()),
        ("condition", pa.string()),  # under which it was taken, null where its data set has but one
        ("score", pa.float64()),
        ("parts", pa.map_(pa.string(), pa.float64())),
    ]
)

VITAL = ("trial_id", "method", "status", "metric", "score")  # a file without is not the table it should be

SCHEMAS = {"trials": TRIALS, "metrics": METRICS, "scores": SCORES}

PLAN = pa.schema(
    [TRIALS.field(n) for n in ("trial_id", "method", "params", "dataset", "category", "shots")]
    + [TRIALS.field(n) for n in ("split_seed", "run_seed", "marks", "protocols")]
)

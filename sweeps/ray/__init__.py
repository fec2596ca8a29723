"""Ray Tune as the executor of work units. It is never asked what has been done: the run directory knows.

What Tune runs are *seats*: a supervisor on one node, beside the processes that it watches. A seat is opened
when a unit is to start somewhere, goes on with the next unit that fits it, and closes when there is none.
"""

import os

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing about a lab leaves it
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # `uv run` would resolve the environment again in every worker
    "RAY_AIR_NEW_OUTPUT": "0",  # hundreds of lines for twenty trials, also where verbose is 0
    "RAY_ENABLE_AUTO_CONNECT": "0",  # Tune's thread, interrupted, would start another cluster
    "RAY_NUM_REDIS_GET_RETRIES": "4",  # of 40 s; by default a dead head is tried for 14 minutes
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean the folder that the sweep was started in
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a trial without GPUs sees none
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # five files per seat, and 0.7 MB of driver memory
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # what failed is a row, and summed up at the end
    "TUNE_GLOBAL_CHECKPOINT_S": "100000",  # nobody reads its snapshots
    "TUNE_MAX_PENDING_TRIALS_PG": "1000",  # seats opened together; by default one at a time
    "TUNE_FORCE_TRIAL_CLEANUP_S": "30",  # a supervisor that does not end is killed, not waited for
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it would end the experiment as if all were done
}
for _name, _value in QUIET.items():
    os.environ.setdefault(_name, _value)  # read by Ray while it is imported: before any module of this room

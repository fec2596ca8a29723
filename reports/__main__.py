"""`python -m reports RUN…`"""

import os
import sys

# Before numpy is there: matrices of reports are small, and threads of a BLAS that wait for each other on a
# busy machine took eight times as long over them as one thread does.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from harness.console import leave
from reports.command import main

leave(lambda: main(sys.argv[1:]))

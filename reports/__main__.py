"""`python -m reports RUN…`"""

import sys

from harness.console import leave
from reports.command import main

leave(lambda: main(sys.argv[1:]))

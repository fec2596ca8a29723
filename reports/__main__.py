"""`python -m reports RUN…`"""

import sys

from reports.command import main

sys.exit(main(sys.argv[1:]))

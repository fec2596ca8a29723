"""How the commands that only look at files print: for people on a terminal, for grep elsewhere."""

import os
import sys
from collections.abc import Callable, Iterable
from typing import Never

from rich.console import Console, RenderableType
from rich.text import Text

from harness.errors import HarnessError

WIDTH = 160  # columns of a table where the output is no terminal; lines are not wrapped there


def console() -> Console:
    """The console of standard output."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


def show(parts: Iterable[RenderableType]) -> None:
    """Print tables and lines one below the other."""
    out = console()
    for part in parts:
        # a line that is cut in two is two for grep
        out.print(part, soft_wrap=isinstance(part, Text) and not out.is_terminal)


def leave(main: Callable[[], int]) -> Never:
    """Run a command line and exit with its code: 2 with one message for wrong input, 130 if interrupted."""
    try:
        code = main()
        # here, where a closed pipe is still caught; at exit Python would complain of it
        sys.stdout.flush()
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # `| head` has seen enough
        # for the flush at exit, which would fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)

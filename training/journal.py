"""What the training commands print: one line at a time, with the seconds since the start."""

import time

_START = time.monotonic()


def say(text: str) -> None:
    """Print a line at once, also into a file."""
    print(f"[{seconds():6.0f} s] {text}", flush=True)


def seconds() -> float:
    """Seconds since this process began to train."""
    return time.monotonic() - _START

"""`log.txt` in a run directory: what Ray and the nodes say, which would run through the table of progress."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

FILE = "log.txt"
KEPT = 3  # earlier ones: log.1.txt is that of the start before this one
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
LEVELS = {"ray": logging.WARNING, "sweeps": logging.INFO}


@contextmanager
def logged(run: Path) -> Iterator[None]:
    """Whatever is logged by Ray and by the backends goes to the run's log, and nowhere else.

    The file is made by the first line.
    """
    handler = logging.FileHandler(run / FILE, delay=True, encoding="utf-8")
    handler.setFormatter(logging.Formatter(FORMAT))
    loggers = [logging.getLogger(name) for name in LEVELS]
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(LEVELS[logger.name])
    try:
        yield
    finally:
        for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
        handler.close()


def rotate(run: Path) -> None:
    """Put the log of the last start behind those of earlier ones."""
    names = [run / FILE, *(run / f"log.{n}.txt" for n in range(1, KEPT + 1))]
    for newer, older in reversed(list(pairwise(names))):
        if newer.exists():
            newer.replace(older)

"""What Ray would print into the driver's output goes to the run's log instead."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ray._private import worker

from harness.failures import uncoloured

PRINTER = "print_to_stdstream"  # dumps the state of a lost raylet, 25 lines; no setting of Ray's stops it


@contextmanager
def quiet() -> Iterator[None]:
    """Inside the block, what the control store tells every driver is logged and not printed."""
    before = getattr(worker, PRINTER, None)
    if before is None:  # another version of Ray has no such function: then it prints
        yield
        return
    setattr(worker, PRINTER, _log)
    try:
        yield
    finally:
        setattr(worker, PRINTER, before)


def _log(data: Mapping[str, Any], ignore_prefix: bool = False) -> None:
    del ignore_prefix
    text = uncoloured("\n".join(map(str, data.get("lines") or ())))
    logging.getLogger("ray.nodes").warning("%s: %s", data.get("pid", "?"), text)

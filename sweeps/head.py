"""Whether the head of a cluster still answers.

Ray ends a driver whose control store has been away for a minute from within, without a word and without
Python. So it is looked at from here, and noticed before.
"""

import errno
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from harness.errors import HeadLost

SETTING = "RAY_gcs_rpc_server_reconnect_timeout_s"
RAY_WAITS = 60.0  # seconds, Ray's default of it
PATIENCE = 0.7  # of Ray's: a head that is restarted in time goes unnoticed, and closing takes ten seconds
LAST_MOMENT = 0.85  # of Ray's: whatever hangs until then would be killed without a word
EVERY = 1.0  # seconds
OURS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)  # it was not even asked


@final
class Head:
    """Asks an address, in a thread of its own, whether anybody listens there.

    Args:
        address: "host:port" of the control store.
        waits: seconds after which Ray would end this process.
    """

    def __init__(self, address: str, waits: float):
        self.address, self.waits = address, waits
        self._answered = 0.0
        # since when nobody answers; not since the last answer: this process may have been stopped meanwhile
        self._lacking: float | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._ask, daemon=True).start()

    def check(self) -> None:
        """To be called often by whoever waits for the cluster.

        Raises:
            HeadLost: nobody has listened there for most of the time after which Ray gives up.
        """
        if self._silent() > self.waits * PATIENCE:
            raise HeadLost(self.said())

    def wait(self) -> None:
        """Until it answers: what fails while it does not says nothing of anything else.

        Raises:
            HeadLost: it does not.
        """
        asked = time.monotonic()
        while self._answered < asked:
            self.check()
            time.sleep(EVERY / 10)

    def said(self) -> str:
        """The sentence about its loss."""
        return (
            f"the head of the cluster ({self.address}) has not answered for {self._silent():.0f} s: "
            "its control store, or its node, is gone; what is finished is kept, the same command goes on"
        )

    def end(self) -> None:
        """Ask no more."""
        self._ended.set()

    def _silent(self) -> float:
        since = self._lacking
        return 0.0 if since is None else time.monotonic() - since

    def _ask(self) -> None:
        host, _, port = self.address.rpartition(":")
        while not self._ended.wait(EVERY):
            asked = time.monotonic()
            try:
                with socket.create_connection((host.strip("[]"), int(port)), timeout=self.waits / 10):
                    self._answered, self._lacking = time.monotonic(), None
            except OSError as error:
                if error.errno in OURS:
                    continue
                self._lacking = asked if self._lacking is None else self._lacking
                if self._silent() > self.waits * LAST_MOMENT:
                    print(f"error: {self.said()}", file=sys.stderr, flush=True)
                    os._exit(1)


@contextmanager
def watched(address: str) -> Iterator[Head]:
    """Watch the control store at an address until the block ends."""
    head = Head(address, float(os.environ.get(SETTING) or RAY_WAITS))
    try:
        yield head
    finally:
        head.end()

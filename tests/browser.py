"""A real browser for tests: headless Chromium driven over its debugging pipe, without another package."""

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (p for n in ("chromium", "chromium-browser", "google-chrome", "chrome") if (p := shutil.which(n))), None
)
LIMIT = 60  # seconds that nothing in a page takes
_OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
# Chromium wants its pipe as descriptors 3 and 4.
_START = "import os, sys; r, w, *c = sys.argv[1:]; os.dup2(int(r), 3); os.dup2(int(w), 4); os.execv(c[0], c)"
_KEYS = {"Enter": ("\r", 13), "Tab": ("", 9), "Escape": ("", 27)}


_GONE = -32000  # the protocol's answer where a page went while it was asked


class PageLeft(Exception):
    """The page was left before it could answer."""


class Page:
    """One tab. Every wrong word of its script is an error here."""

    def __init__(self, sent: Any, received: Any):
        self._sent, self._received, self._number = sent, received, 0
        self._session: str | None = None
        self.complaints: list[str] = []
        self.requests: list[str] = []  # addresses that pages asked for
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Network.emulateNetworkConditions",
            offline=True,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the DevTools protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        self._sent.write(json.dumps(message).encode() + b"\0")
        self._sent.flush()
        while (answer := self._next()).get("id") != self._number:
            pass
        if "error" in answer and answer["error"]["code"] == _GONE:
            raise PageLeft(answer["error"]["message"])
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        text = bytearray()
        while (byte := self._received.read(1)) != b"\0":  # buffered
            assert byte, "the browser has gone"
            text += byte
        event = json.loads(text)
        self._note(event)
        return event

    def _note(self, event: dict[str, Any]) -> None:
        """What a page got wrong: an exception, what its policy forbids, a file that is not there."""
        method, params = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        if method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(str(details.get("exception", {}).get("description")))

    def open(
        self, path: Path, address: str = "", width: int = 1300, height: int = 900, dark: bool = False
    ) -> None:
        """Load a file and wait until it is there."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=f"{path.absolute().as_uri()}{address}")
        self.until("document.readyState + location.protocol === 'completefile:'")

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script: str) -> None:
        """Wait for an expression of the page to become true."""
        deadline = time.monotonic() + LIMIT
        while not self._holds(script):
            assert time.monotonic() < deadline, script

    def _holds(self, script: str) -> bool:
        try:
            return self.run(f"Boolean({script})")
        except PageLeft:
            return False

    def text(self, selector: str) -> str:
        """What can be read in the first element of that kind."""
        return self.run(f"document.querySelector({json.dumps(selector)}).innerText")

    def texts(self, selector: str) -> list[str]:
        """What can be read in all elements of that kind that are shown."""
        shown = f"[...document.querySelectorAll({json.dumps(selector)})].filter((e) => e.offsetParent)"
        return self.run(f"{shown}.map((e) => e.innerText.trim())")

    def click(self, selector: str) -> None:
        """Press the mouse on the first element of that kind."""
        script = (
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            " return [r.x + Math.min(r.width, 40) / 2, r.y + r.height / 2]; })()"
        )
        x, y = self.run(script)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def follow(self, selector: str, until: str) -> None:
        """Follow the first link of that kind, until an expression of the page there is true."""
        # a moment later: the page that is left could not answer
        self.run(f"void setTimeout(() => document.querySelector({json.dumps(selector)}).click(), 0)")
        self.until(f"document.readyState === 'complete' && {until}")

    def press(self, key: str) -> None:
        """Press a key."""
        text, code = _KEYS[key]
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more
            )

    def choose(self, selector: str, value: str) -> None:
        """Pick an option, or write into a field."""
        event = (
            "change"
            if self.run(f"document.querySelector({json.dumps(selector)}).tagName") == "SELECT"
            else "input"
        )
        self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            f" e.value = {json.dumps(value)}; e.dispatchEvent(new Event('{event}', {{bubbles: true}})); }})()"
        )

    def picture(self, path: Path, whole: bool = False) -> None:
        """What is seen, as PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A page in a browser of its own."""
    assert CHROMIUM
    reads, writes = os.pipe()
    answers, answered = os.pipe()
    command = [sys.executable, "-c", _START, str(reads), str(answered), CHROMIUM, *_OPTIONS]
    options = [f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
    process = subprocess.Popen([*command, *options], pass_fds=(reads, answered), stderr=subprocess.DEVNULL)
    os.close(reads)
    os.close(answered)
    with os.fdopen(writes, "wb") as sent, os.fdopen(answers, "rb") as received:
        try:
            yield Page(sent, received)
        finally:
            process.terminate()
            process.wait(20)

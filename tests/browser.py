"""Headless Chromium, driven through a pipe by its DevTools protocol: no package, no network."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-pipe",
]
ERRORS = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}


class Browser:
    """One page; ``errors`` collects all that reaches the console."""

    def __init__(self, folder: Path) -> None:
        to_browser, from_browser = os.pipe(), os.pipe()
        # Chromium reads from 3 and writes to 4; the ends must lie above before they move there
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (to_browser[0], from_browser[1])]
        self.process = subprocess.Popen(
            [CHROMIUM, *OPTIONS, f"--user-data-dir={folder}", "about:blank"],
            preexec_fn=lambda: [os.dup2(fd, 3 + k) for k, fd in enumerate(ends)],
            pass_fds=(3, 4),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        for end in (*ends, to_browser[0], from_browser[1]):
            os.close(end)
        self.writing, self.reading = to_browser[1], from_browser[0]
        self.sent, self.buffer, self.session, self.errors = 0, b"", None, []
        pages = self.call("Target.getTargets")["targetInfos"]
        target = next(one["targetId"] for one in pages if one["type"] == "page")
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = session["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *raised: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.writing)
        os.close(self.reading)

    def call(self, method: str, **parameters: object) -> dict:
        """Send a command and wait for its answer."""
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if b"\0" not in self.buffer:
                if select.select([self.reading], [], [], 1.0)[0]:
                    received = os.read(self.reading, 1 << 20)
                    assert received, "Chromium has ended"
                    self.buffer += received
                continue
            message, _, self.buffer = self.buffer.partition(b"\0")
            answer = json.loads(message)
            if answer.get("method") in ERRORS:
                self.errors.append(answer)
            if answer.get("id") == self.sent:
                assert "error" not in answer, (method, answer)
                return answer["result"]
        raise TimeoutError(method)

    def open(self, path: Path, width: int, height: int = 900, dark: bool = False) -> None:
        """Open a file in a window of this width, in light or dark colours."""
        mobile = dict(width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setDeviceMetricsOverride", **mobile)
        self.errors.clear()
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path.resolve().as_uri())
        while self.run("document.readyState") != "complete":
            time.sleep(0.05)

    def run(self, expression: str) -> object:
        """Evaluate JavaScript in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str, shift: bool = False) -> None:
        """Press a key where the focus is."""
        text = dict(text="\r") if key == "Enter" else dict(text=" ") if key == " " else {}
        for kind in ("keyDown", "keyUp"):
            event = dict(type=kind, key=key, code=key, modifiers=8 * shift)
            self.call("Input.dispatchKeyEvent", **event | (text if kind == "keyDown" else {}))

    def drag(self, begin: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the mouse at one place of the window, and release it at another."""
        middle = tuple((a + b) / 2 for a, b in zip(begin, end, strict=True))
        held = dict(button="left", clickCount=1)
        for kind, (x, y) in (
            ("mousePressed", begin),
            ("mouseMoved", middle),
            ("mouseMoved", end),
            ("mouseReleased", end),
        ):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **held)

    def picture(self, path: Path) -> None:
        """Save the whole page as a PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

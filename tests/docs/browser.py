"""A real browser, told what to do by the DevTools protocol: Chromium without a window.

The commands that are used here are of the protocol's stable domains (Runtime, Page, DOM), and of Network what narrows a
connection.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.servers.launching import BOUND, START, eventually

__all__ = ["Browser", "Tab", "chromium"]

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

OPTIONS = (
    "--headless",
    "--no-sandbox",  # root has none, and the pages are our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    # A tab that is not in front does as much as the one that is.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
    "--remote-debugging-port=0",
    "--window-size=900,700",
)


class Tab:
    """A tab of the browser.

    Args:
        session: the connection to it.
    """

    def __init__(self, session: ClientConnection) -> None:
        self._session = session
        self._number = 0

    def command(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol, and return its result."""
        self._number += 1
        self._session.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:  # what else comes are events of the domains that were enabled
            told: dict[str, Any] = json.loads(self._session.recv(timeout=BOUND))
            if told.get("id") == self._number:
                assert "error" not in told, f"{method}: {told['error']}"
                result: dict[str, Any] = told["result"]
                return result

    def run(self, expression: str) -> Any:
        """Return what a JavaScript expression comes to, as JSON would have it; a promise is awaited."""
        told = self.command(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in told, f"{expression}\n{told['exceptionDetails']}"
        return told["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Return what an expression comes to, once that is true."""
        try:
            return eventually(lambda: self.run(expression), expression)
        except AssertionError as error:
            raise AssertionError(f"{error}; the page says:\n{self.text}") from None

    @property
    def text(self) -> str:
        """What there is to read on the page."""
        return str(self.run("document.body?.innerText"))

    def open(self, url: str) -> None:
        """Go to a page, and wait until it is there."""
        self.command("Page.navigate", url=url)
        self.wait_for(f"document.readyState === 'complete' && location.href.startsWith({json.dumps(url)})")

    def fill(self, selector: str, text: str) -> None:
        """Put text into a field, as far as a page can tell by typing it."""
        self.run(
            f"(() => {{ const field = document.querySelector({json.dumps(selector)});"
            f" field.focus(); field.value = {json.dumps(text)};"
            " field.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )

    def shows(self, selector: str) -> bool:
        """Tell whether an element can be seen."""
        return bool(self.run(f"document.querySelector({json.dumps(selector)}).offsetParent !== null"))

    def click(self, selector: str) -> None:
        """Click on an element that can be seen."""
        assert self.shows(selector), f"{selector} can not be seen"
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def choose(self, selector: str, path: Path) -> None:
        """Choose a file of this machine in a field for files."""
        document = self.command("DOM.getDocument")["root"]["nodeId"]
        node = self.command("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        self.command("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def narrow(self, upload: float) -> None:
        """Let no more than so many bytes per second go up."""
        self.command("Network.enable")
        self.command(
            "Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=upload
        )

    def picture(self, path: Path) -> None:
        """Write what the tab looks like to a file, as PNG."""
        path.write_bytes(base64.b64decode(self.command("Page.captureScreenshot", format="png")["data"]))


class Browser:
    """A browser that runs.

    Args:
        port: where it listens for its orders.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._orders = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=BOUND, trust_env=False)

    @contextmanager
    def tab(self, url: str = "about:blank") -> Iterator[Tab]:
        """Open a tab at a page, and close it in the end."""
        told = self._orders.put("/json/new?about:blank").raise_for_status().json()
        try:
            # The socket is made here so that no proxy comes between.
            with (
                socket.create_connection(("127.0.0.1", self._port), BOUND) as connection,
                connect(told["webSocketDebuggerUrl"], sock=connection, open_timeout=BOUND, max_size=None) as session,
            ):
                tab = Tab(session)
                tab.open(url)
                yield tab
        finally:
            self._orders.get(f"/json/close/{told['id']}")

    def close(self) -> None:
        self._orders.close()


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Run a browser; skip the test where there is none.

    Args:
        folder: an empty folder, for its profile.
    """
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("chromium is not installed")
    profile = folder / "profile"
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [program, *OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "HOME": str(folder)},
            start_new_session=True,
        )
    try:

        def port() -> str:
            assert process.poll() is None, (folder / "output").read_text(errors="replace")
            written = profile / "DevToolsActivePort"
            return written.read_text().partition("\n")[0] if written.exists() else ""

        browser = Browser(int(eventually(port, "the browser listens", START)))
        try:
            yield browser
        finally:
            browser.close()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

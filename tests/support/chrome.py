"""Chrome's own network panel, without a window: what *Import HAR file* makes of a file.

The panel is a page of the browser's (``devtools://``), so its modules can be imported in it, and its importer be called
as the button calls it. The page is driven over the DevTools protocol, one question at a time.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import trio
from trio_websocket import open_websocket_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trio_websocket import WebSocketConnection

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT = 90  # seconds
_PANEL = "devtools://devtools/bundled/devtools_app.html"
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--remote-debugging-port=0", "about:blank"),
)
# The modules' names are Chrome's own, of its version 150 and later.
_IMPORT = """
(async () => {
  const { NetworkPanel } = await import('devtools://devtools/bundled/panels/network/network.js');
  const { NetworkLog } = await import('devtools://devtools/bundled/models/logs/logs.js');
  const view = NetworkPanel.NetworkPanel.instance().networkLogView;
  await view.onLoadFromFile(new File([%s], 'captures.har'));
  const found = [];
  for (const request of NetworkLog.NetworkLog.instance().requests()) {
    const content = await request.requestContentData();
    found.push({
      method: request.requestMethod, url: request.url(), status: request.statusCode, reason: request.statusText,
      began: request.issueTime(), seconds: request.duration, sent: (await request.requestFormData()) || '',
      requestHeaders: request.requestHeaders().map((h) => [h.name, h.value]),
      responseHeaders: request.responseHeaders.map((h) => [h.name, h.value]),
      text: 'error' in content ? null : content.isTextContent ? content.text : null,
      base64: 'error' in content || !content.createdFromBase64 ? null : content.base64,
    });
  }
  return found;
})()
"""


@dataclass(frozen=True, slots=True)
class Panel:
    """An open network panel."""

    connection: WebSocketConnection
    numbers: count[int]

    async def import_har(self, text: str) -> list[dict[str, object]]:
        """Return what the panel shows of a file: one object a request."""
        result = await self.evaluate(_IMPORT % json.dumps(text))
        assert isinstance(result, list)
        return result

    async def evaluate(self, expression: str) -> object:
        """Return the value of a JavaScript expression in the page."""
        answer = await self._ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def open(self) -> None:
        """Turn the page into the panel, and wait for its modules."""
        await self._ask("Page.navigate", url=_PANEL)
        while not await self.evaluate(f"location.href === '{_PANEL}' && document.readyState === 'complete'"):  # noqa: ASYNC110
            await trio.sleep(0.05)

    async def _ask(self, method: str, **parameters: object) -> dict[str, dict[str, object]]:
        number = next(self.numbers)
        await self.connection.send_message(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(await self.connection.get_message())
            if answer.get("id") == number:
                assert "result" in answer, answer
                result: dict[str, dict[str, object]] = answer["result"]
                return result


def program() -> str | None:
    """The browser of this machine, None when it has none."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


@asynccontextmanager
async def network_panel(profile: Path) -> AsyncIterator[Panel]:
    """Start a browser with a profile of its own, and open its network panel."""
    browser = program()
    assert browser is not None
    command = [browser, f"--user-data-dir={profile}", *_FLAGS]
    process = await trio.lowlevel.open_process(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "HOME": str(profile)}
    )
    try:
        with trio.fail_after(TIMEOUT):
            place = profile / "DevToolsActivePort"
            while not place.exists() or len(lines := place.read_text().split()) < 2:
                assert process.poll() is None, f"{browser} ended with {process.returncode}"
                await trio.sleep(0.05)
            async with _page(lines[0], lines[1]) as panel:
                await panel.open()
                yield panel
    finally:
        process.terminate()
        with trio.CancelScope(shield=True):
            await process.wait()


@asynccontextmanager
async def _page(port: str, path: str) -> AsyncIterator[Panel]:
    """Connect to the first page: found over the browser's own connection."""
    numbers = count(1)
    address = f"ws://127.0.0.1:{port}"
    async with open_websocket_url(address + path) as connection:
        targets = await Panel(connection, numbers)._ask("Target.getTargets")
    pages = [target for target in targets["targetInfos"] if target["type"] == "page"]  # type: ignore[index]
    page = f"{address}/devtools/page/{pages[0]['targetId']}"  # type: ignore[index]
    async with open_websocket_url(page, max_message_size=1 << 26) as connection:
        yield Panel(connection, numbers)

"""A request as the mock received it: the bytes, and the few questions that tests and scripts ask of it.

Apart from the server because scripts take it and tests keep it after the server is gone.
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

import trio

from claudeproxy.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from claudeproxy.model import RawHeaders


class Outcome(StrEnum):
    """What became of the answer."""

    PENDING = "pending"
    ANSWERED = "answered"  # every byte of the answer was written
    BROKEN_OFF = "broken_off"  # the script wanted it so: cut, or no answer
    CLIENT_GONE = "client_gone"  # the client closed (or reset) before the answer was out


@dataclass(kw_only=True, eq=False)
class ReceivedRequest:
    """One request. Everything but `outcome` is settled when it appears in `MockUpstream.received`."""

    number: int  # 1 for the mock's first request
    connection: int  # 1 for the mock's first connection
    raw_head: bytes  # request line and headers with the empty line, as they came
    method: str
    target: str
    http_version: str
    headers: RawHeaders
    body: bytes  # payload as it came: chunk framing taken off, content coding not
    trailers: RawHeaders = ()
    outcome: Outcome = Outcome.PENDING
    _finished: trio.Event = field(default_factory=trio.Event, repr=False)

    def __repr__(self) -> str:
        return f"<ReceivedRequest {self.number} {self.method} {self.target} {len(self.body)} bytes {self.outcome}>"

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        """Return the first value of a header, whatever the casing of its name; None when it did not come."""
        wanted = name.lower().encode()
        return next((v.decode("latin-1") for k, v in self.headers if k.lower() == wanted), None)

    @cached_property
    def decoded(self) -> bytes:
        """The body with a gzip content coding taken off. Raises ProtocolError when it cannot be."""
        coding = (self.header("content-encoding") or "identity").lower()
        if coding == "identity":
            return self.body
        if coding != "gzip":
            raise ProtocolError(f"The mock reads gzip request bodies, not {coding}", status_hint=415)
        try:
            return gzip.decompress(self.body)
        except (OSError, EOFError, zlib.error) as exc:
            raise ProtocolError(f"The request body is not gzip: {exc}") from exc

    @cached_property
    def json(self) -> Mapping[str, object]:
        """The body as a JSON object. Raises ProtocolError when it is none."""
        try:
            value: object = json.loads(self.decoded)
        except ValueError as exc:
            raise ProtocolError(f"The request body is not valid JSON: {exc}") from exc
        if not isinstance(value, dict):
            raise ProtocolError("The request body is not a JSON object")
        return value

    @property
    def is_message(self) -> bool:
        """Whether it asks for a message (`POST /v1/messages`, whatever the prefix of the path)."""
        return self.method == "POST" and self.path.endswith("/v1/messages")

    @property
    def prompt(self) -> str:
        """The last text that a user message carries: in the real client's requests, what the person typed."""
        if not self.is_message:
            return ""
        messages = self.json.get("messages")
        for message in reversed(messages if isinstance(messages, list) else []):
            if isinstance(message, dict) and message.get("role") == "user":
                return _last_text(message.get("content"))
        return ""

    @property
    def tool_results(self) -> dict[str, str]:
        """The results that the last messages bring, by tool_use_id: text parts joined, anything else as JSON."""
        found: dict[str, str] = {}
        messages = self.json.get("messages")
        for message in reversed(messages if isinstance(messages, list) else []):
            if not isinstance(message, dict) or message.get("role") == "assistant":
                break
            content = message.get("content")
            for block in content if isinstance(content, list) else []:
                if isinstance(block, dict) and block.get("type") == "tool_result":
                    found[str(block.get("tool_use_id"))] = _text(block.get("content"))
        return found

    async def wait_finished(self) -> Outcome:
        """Wait until the mock is done with the request, and say how it ended."""
        await self._finished.wait()
        return self.outcome

    def finish(self, outcome: Outcome) -> None:
        """Settle the outcome; called once by the mock."""
        self.outcome = outcome
        self._finished.set()


def _last_text(content: object) -> str:
    if isinstance(content, str):
        return content
    texts = [b for b in content if isinstance(b, dict) and b.get("type") == "text"] if isinstance(content, list) else []
    return str(texts[-1].get("text", "")) if texts else ""


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(p["text"]) if isinstance(p, dict) and "text" in p else json.dumps(p) for p in parts)

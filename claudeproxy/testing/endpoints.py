"""What the mock says on each path: messages, count_tokens, and 404 in the API's shape for the rest.

Apart from `server` (connections and tasks) and `events` (how a message is worded). Holds what lasts longer than a
request: the prompt cache, the ids, the stateful threads.
"""

from __future__ import annotations

import itertools
import json
import zlib
from typing import TYPE_CHECKING, Literal, Protocol

import brotli  # type: ignore[import-untyped]
import trio
import zstandard

from claudeproxy.errors import ProtocolError
from claudeproxy.testing.bill import MINIMUM, PromptCache, prompt_blocks
from claudeproxy.testing.events import Message, compose, error_event, stream
from claudeproxy.testing.replies import ErrorReply, FaultKind, NoAnswer, RawReply, Reply
from claudeproxy.testing.scripts import NoReplyError
from claudeproxy.testing.wire import BadRequestError, BreakOffError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from claudeproxy.model import RawHeaders
    from claudeproxy.testing.received import ReceivedRequest
    from claudeproxy.testing.replies import Answer
    from claudeproxy.testing.scripts import Script
    from claudeproxy.testing.wire import Connection

_JSON = (b"Content-Type", b"application/json")
_SSE = ((b"Content-Type", b"text/event-stream; charset=utf-8"), (b"Cache-Control", b"no-cache"))
_NOT_FOUND = ErrorReply(status_code=404, error_type="not_found_error", message="Not found")
_NO_KEY = ErrorReply(
    status_code=401, error_type="authentication_error", message="x-api-key header or bearer token is required"
)


class Endpoints:
    """Answers requests, whatever connection they came on."""

    def __init__(self, script: Script, *, cache_minimum: int | None) -> None:
        self.unanswered: list[str] = []
        self._script = script
        self._cache = PromptCache(minimum=MINIMUM if cache_minimum is None else cache_minimum)
        self._request_ids = (f"req_mock_{n:06d}" for n in itertools.count(1))
        self._message_ids = (f"msg_mock_{n:06d}" for n in itertools.count(1))
        self._tool_ids = (f"toolu_mock_{n:06d}" for n in itertools.count(1))
        self._threads: dict[str, Mapping[str, object]] = {}  # message id -> the conversation that it ends

    async def answer(self, connection: Connection, request: ReceivedRequest) -> None:
        """Send the answer. Raises BreakOffError where the script wants the connection closed."""
        request_id = (b"request-id", next(self._request_ids).encode())
        try:
            answer = self._choose(request)
            match answer:
                case Reply():
                    await self._message(connection, request, answer, request_id)
                case ErrorReply():
                    await _error(connection, answer, request_id)
                case RawReply():
                    await _whole(connection, request, answer)
                case NoAnswer(close=True):
                    raise BreakOffError
                case NoAnswer():
                    await trio.sleep_forever()
        except ProtocolError as exc:
            await _error(connection, _invalid(str(exc), exc.status_hint), request_id)

    async def refuse(self, connection: Connection, exc: BadRequestError) -> None:
        """Answer a request that could not be read."""
        await _error(connection, _invalid(str(exc), exc.status_hint), (b"Connection", b"close"))

    def _choose(self, request: ReceivedRequest) -> Answer:
        if request.method == "HEAD" and request.path == "/":
            return RawReply()
        counting = request.method == "POST" and request.path.endswith("/v1/messages/count_tokens")
        if not counting and not request.is_message:
            return _NOT_FOUND
        if request.header("x-api-key") is None and request.header("authorization") is None:
            return _NO_KEY
        if counting:
            tokens = sum(block.tokens for block in prompt_blocks(request.json))
            return RawReply(headers=(_JSON,), body=json.dumps({"input_tokens": tokens}).encode())
        if not isinstance(request.json.get("messages"), list):
            return _invalid("messages: Field required")
        try:
            return self._script(request)
        except NoReplyError as exc:
            self.unanswered.append(str(exc))
            return _invalid(str(exc))  # 400: clients do not try that again

    async def _message(
        self, connection: Connection, request: ReceivedRequest, reply: Reply, request_id: tuple[bytes, bytes]
    ) -> None:
        whole = self._conversation(request.json)
        model = str(request.json.get("model", "mock-model"))
        bill = self._cache.bill(model, prompt_blocks(whole), now=trio.current_time())
        message = compose(reply, bill, model=model, message_id=next(self._message_ids), tool_ids=iter(self._tool_ids))
        said: dict[str, object] = {"role": "assistant", "content": list(message.content)}
        if isinstance(request.json.get("thread"), dict):
            self._threads[message.id] = {**whole, "messages": [*_list(whole, "messages"), said]}
        encoder, coding = _encoder(reply.encoding)
        named = any(name.lower() == b"request-id" for name, _ in reply.headers)
        headers = (*(() if named else (request_id,)), *coding, *reply.headers)
        if request.json.get("stream"):
            await _stream(connection, reply, message, (*_SSE, *headers), encoder)
        else:
            await _document(connection, reply, message, (_JSON, *headers), encoder)

    def _conversation(self, request: Mapping[str, object]) -> Mapping[str, object]:
        """Rebuild the whole conversation of a request that continues a stateful thread; others are whole already."""
        thread = request.get("thread")
        if not isinstance(thread, dict) or thread.get("type") != "continue":
            return request
        earlier = self._threads.get(str(thread.get("previous_message_id")))
        if earlier is None:
            raise ProtocolError("thread: previous_message_id is unknown")
        messages = [*_list(earlier, "messages"), *_list(request, "messages")]
        return {**request, "tools": earlier.get("tools"), "system": earlier.get("system"), "messages": messages}


def _list(request: Mapping[str, object], key: str) -> list[object]:
    value = request.get(key)
    return value if isinstance(value, list) else []


async def _stream(
    connection: Connection, reply: Reply, message: Message, headers: RawHeaders, encoder: _Encoder
) -> None:
    events = stream(message, piece=reply.piece)
    fault = reply.fault
    if fault is not None:
        events = events[: fault.after]
        if fault.kind is FaultKind.ERROR:
            events.append(error_event(fault.error_type, "The mock's script wants an error here"))
    await connection.begin(200, headers, length=None)
    batch = reply.pace.batch or max(1, len(events))
    for start in range(0, len(events), batch):
        if reply.pace.gate is not None:
            await reply.pace.gate.enter()
        if start and reply.pace.delay:
            await trio.sleep(reply.pace.delay)
        await connection.send(*(encoder.feed(event) for event in events[start : start + batch]))
    await _break_off(reply)
    await connection.send(encoder.finish())
    await connection.end()


async def _document(
    connection: Connection, reply: Reply, message: Message, headers: RawHeaders, encoder: _Encoder
) -> None:
    document = json.dumps(message.document(), separators=(",", ":"), ensure_ascii=False)
    body = encoder.feed(document.encode("utf-8", "surrogatepass")) + encoder.finish()
    await connection.begin(200, headers, length=len(body))
    if reply.fault is not None:
        await connection.send(body[: min(reply.fault.after, len(body) - 1)])
        await _break_off(reply)
        raise BreakOffError  # an in-band error does not exist here: the body just ends too soon
    await connection.send(body)
    await connection.end()


async def _break_off(reply: Reply) -> None:
    if reply.fault is not None and reply.fault.kind is FaultKind.HANG:
        await trio.sleep_forever()
    if reply.fault is not None and reply.fault.kind is FaultKind.CUT:
        raise BreakOffError


async def _error(connection: Connection, error: ErrorReply, header: tuple[bytes, bytes]) -> None:
    document: dict[str, object] = {"type": "error", "error": {"type": error.error_type, "message": error.message}}
    if header[0] == b"request-id":
        document["request_id"] = header[1].decode()
    body = json.dumps(document).encode()
    await connection.begin(error.status_code, (_JSON, header, *error.headers), length=len(body))
    await connection.send(body)
    await connection.end()


async def _whole(connection: Connection, request: ReceivedRequest, raw: RawReply) -> None:
    await connection.begin(raw.status_code, raw.headers, length=len(raw.body))
    if request.method != "HEAD":
        await connection.send(raw.body)
    await connection.end()


def _invalid(message: str, status_code: int = 400) -> ErrorReply:
    return ErrorReply(status_code=status_code, error_type="invalid_request_error", message=message)


class _Encoder(Protocol):
    """A content coding as it is streamed: every event leaves at once."""

    def feed(self, data: bytes) -> bytes: ...
    def finish(self) -> bytes: ...


class _Flushing:
    def __init__(self, process: Callable[[bytes], bytes], flush: Callable[[], bytes], end: Callable[[], bytes]) -> None:
        self._process, self._flush, self._end = process, flush, end

    def feed(self, data: bytes) -> bytes:
        return self._process(data) + self._flush()

    def finish(self) -> bytes:
        return self._end()


def _encoder(coding: Literal["gzip", "br", "zstd"] | None) -> tuple[_Encoder, RawHeaders]:
    """Make an encoder and the header that names it."""
    if coding is None:
        return _Flushing(bytes, bytes, bytes), ()
    if coding == "gzip":
        packer = zlib.compressobj(wbits=31)
        encoder = _Flushing(packer.compress, lambda: packer.flush(zlib.Z_SYNC_FLUSH), packer.flush)
    elif coding == "br":
        brotli_packer = brotli.Compressor(quality=4)
        encoder = _Flushing(brotli_packer.process, brotli_packer.flush, brotli_packer.finish)
    else:
        zstd = zstandard.ZstdCompressor().compressobj()
        encoder = _Flushing(zstd.compress, lambda: zstd.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK), zstd.flush)
    return encoder, ((b"Content-Encoding", coding.encode()),)

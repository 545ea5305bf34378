"""HTTP archive, HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec/): for Chrome's network panel and mitmproxy.

What the format has no place for (sources, tokens, what became of the exchange) stands under `_claudeproxy`; names with
an underscore are for that. An exchange without a response has status 0, as browsers write it, and the reason under
`_error`. Cookies are redacted before anything is stored, so there are none.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from claudeproxy import __version__
from claudeproxy.export.bodies import header
from claudeproxy.export.times import dollars, iso
from claudeproxy.export.websockets import har_messages

if TYPE_CHECKING:
    from claudeproxy.export.bodies import ExportedBody
    from claudeproxy.export.exchanges import ExportedExchange
    from claudeproxy.model import BodyKept
    from claudeproxy.store.values import CapturedRequest, CapturedResponse, HeaderList

_CREATOR = json.dumps({"name": "claudeproxy", "version": __version__})
HEAD = f'{{"log":{{"version":"1.2","creator":{_CREATOR},"pages":[],"entries":['.encode()
TAIL = b"\n]}}\n"

UNKNOWN = -1  # of sizes and timings
_NO_TYPE = "x-unknown"  # what browsers write where there is none


def entry(exchange: ExportedExchange) -> bytes:
    """One exchange as an entry, in ASCII."""
    return b"\n" + json.dumps(document(exchange), separators=(",", ":")).encode()


def document(exchange: ExportedExchange) -> dict[str, object]:
    """One exchange as an object."""
    request, response = exchange.request, exchange.response
    timings = _timings(request)
    made: dict[str, object] = {
        "startedDateTime": iso(request.timestamp),
        "time": round(sum(value for value in timings.values() if value > 0), 3),
        "request": _request(request, exchange.request_body),
        "response": _response(response, exchange.response_body),
        "cache": {},
        "timings": timings,
        "_claudeproxy": _own(exchange),
    }
    if request.error is not None:
        made["_error"] = request.error
    if exchange.streams:
        made |= {"_resourceType": "websocket", "_webSocketMessages": har_messages(exchange.messages)}
    return made


def _timings(request: CapturedRequest) -> dict[str, float]:
    """Milliseconds between the instants; what never came took no time (the format has no unknown for these three)."""
    instants = request.instants
    connect = request.connect_us / 1000
    return {
        "blocked": UNKNOWN,
        "dns": UNKNOWN,
        "connect": connect or UNKNOWN,
        "ssl": UNKNOWN,
        "send": max(0.0, round(_between(instants.request_initiated, instants.forwarded) - connect, 3)),
        "wait": _between(instants.forwarded, instants.response_received),
        "receive": _between(instants.response_received, instants.delivered),
    }


def _between(earlier: int | None, later: int | None) -> float:
    return 0.0 if earlier is None or later is None else max(0.0, round((later - earlier) / 1_000_000, 3))


def _request(request: CapturedRequest, body: ExportedBody) -> dict[str, object]:
    made: dict[str, object] = {
        "method": request.method,
        "url": request.url,
        "httpVersion": f"HTTP/{request.http_version}",
        "cookies": [],
        "headers": _headers(request.headers),
        "queryString": _query(request.url),
        "headersSize": UNKNOWN,
        "bodySize": request.body_length,
    }
    if request.body_length:
        # The format has no encoding for what is sent.
        text = body.text or ""
        made["postData"] = {"mimeType": header(request.headers, "content-type") or _NO_TYPE, "params": [], "text": text}
        if not text:
            made["comment"] = "the body is not UTF-8" if body.base64 else _not_there(request.body_kept, body)
    return made


def _response(response: CapturedResponse | None, body: ExportedBody | None) -> dict[str, object]:
    if response is None or body is None:
        content = {"size": 0, "mimeType": _NO_TYPE}
        return {
            "status": 0,
            "statusText": "",
            "httpVersion": "",
            "cookies": [],
            "headers": [],
            "content": content,
            "redirectURL": "",
            "headersSize": UNKNOWN,
            "bodySize": UNKNOWN,
        }
    return {
        "status": response.status_code,
        "statusText": response.reason,
        "httpVersion": f"HTTP/{response.http_version}",
        "cookies": [],
        "headers": _headers(response.headers),
        "content": _content(response, body),
        "redirectURL": header(response.headers, "location") or "",
        "headersSize": UNKNOWN,
        "bodySize": response.body_length,
    }


def _content(response: CapturedResponse, body: ExportedBody) -> dict[str, object]:
    content: dict[str, object] = {
        "size": body.size,
        "mimeType": header(response.headers, "content-type") or _NO_TYPE,
    }
    if body.encoding is not None:
        content["compression"] = body.size - response.body_length
    if body.text is not None:
        content["text"] = body.text
    elif body.base64 is not None:
        content |= {"text": body.base64, "encoding": "base64"}
    else:
        content["comment"] = _not_there(response.body_kept, body)
    return content


def _not_there(kept: BodyKept, body: ExportedBody) -> str:
    return "the stored body is damaged" if body.damaged else f"the body was not kept: {kept}"


def _headers(headers: HeaderList) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers]


def _query(url: str) -> list[dict[str, str]]:
    try:
        pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    except ValueError:
        return []
    return [{"name": name, "value": value} for name, value in pairs]


def _own(exchange: ExportedExchange) -> dict[str, object]:
    request = exchange.request
    who = request.identity
    return {
        "id": request.id,
        "state": str(request.state),
        "request_class": who.request_class,
        "session_id": who.session_id,
        "agent_id": who.agent_id,
        "model": who.model,
        "total_tokens": request.total_tokens,
        "response_tokens": request.response_tokens,
        "cost": dollars(request.cost),
        "sources": [{"label": one.source.label, "token_count": one.token_count} for one in exchange.sources],
    }

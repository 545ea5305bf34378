"""An exchange as columns: what it was, apart from what follows from it.

Apart from `writer`, which knows rows and their order, because this is a plain mapping. The columns of the answer are a
map of their own: they come from reading the response, which may fail; the others are what the journal says.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from claudeproxy.model import State
from claudeproxy.sansio.quota import pays_by_subscription
from claudeproxy.store.functions import derived_id
from claudeproxy.store.headers import header_pairs
from claudeproxy.store.text import clean
from claudeproxy.store.usage import usage_columns

if TYPE_CHECKING:
    from claudeproxy.model import Answer, RecordedBody, RecordedExchange, RecordedResponse

Column: TypeAlias = int | str | bytes | None

NOTHING_TO_EXPLAIN = 0  # requests.rules


def request_columns(exchange: RecordedExchange, header_data: str) -> dict[str, Column]:
    """Return the columns of table ``requests`` that an exchange brings; `header_data` is its stored head."""
    body = exchange.request_body
    explainable = body.data and exchange.state is not State.IN_FLIGHT
    instants = exchange.instants
    return {
        "id": derived_id("request", exchange.correlation_id),
        "correlation_id": exchange.correlation_id,
        "state": exchange.state.value,
        "request_initiated": instants.request_initiated,
        "proxy_received": instants.proxy_received,
        "forwarded": instants.forwarded,
        "response_received": instants.response_received,
        "delivered": instants.delivered,
        "method": clean(exchange.method),
        "url": clean(exchange.url),
        "path": clean(url_path(exchange.url)),
        "upstream_url": None if exchange.upstream_url == exchange.url else clean(exchange.upstream_url),
        "http_version": clean(exchange.http_version),
        "entry_mode": exchange.entry_mode.value,
        "owner": clean(exchange.owner),
        "header_data": header_data,
        "api_key_hash": clean(exchange.api_key_hash),
        "error": clean(exchange.error),
        "error_kind": clean(exchange.error_kind),
        "request_head_us": exchange.request_head_us,
        "request_body_us": exchange.request_body_us,
        "response_head_us": exchange.response_head_us,
        "connect_us": exchange.connect_us,
        "early_response": int(exchange.early_response),
        "informational": json.dumps(exchange.informational) if exchange.informational else None,
        "rules": None if explainable else NOTHING_TO_EXPLAIN,
        **body_columns(body),
    }


def body_columns(body: RecordedBody) -> dict[str, Column]:
    """Return the columns of table ``requests`` that tell of its body."""
    stored_hash = sha256(body.data).digest() if body.data is not None else None
    return {
        "body_kept": body.kept.value,
        "body_length": body.length,
        "wire_sha256": None if body.sha256 == stored_hash else body.sha256,
        "body_sha256": stored_hash,
        "body_encoding": clean(body.encoding),
    }


def response_columns(exchange: RecordedExchange, response: RecordedResponse, header_data: str) -> dict[str, Column]:
    """Return the columns of table ``responses`` but for those of the answer; `header_data` is its stored head."""
    body, instants = response.body, exchange.instants
    return {
        "id": derived_id("response", exchange.correlation_id),
        "timestamp": instants.response_received or instants.request_initiated,
        "status_code": response.status_code,
        "reason": clean(response.reason),
        "http_version": clean(response.http_version),
        "header_data": header_data,
        "trailers": json.dumps(header_pairs(response.trailers)) if response.trailers else None,
        "origin": response.origin,
        "latency_us": _latency(exchange),
        "proxy_latency_us": exchange.request_head_us + exchange.request_body_us + exchange.response_head_us,
        "request_id_header": _request_id(response),
        "streamed": 0,
        "body_kept": body.kept.value,
        "body_length": body.length,
        "body_sha256": body.sha256 if body.data is None else sha256(body.data).digest(),
    }


def answer_columns(answer: Answer) -> dict[str, Column]:
    """Return the columns of table ``responses`` that say what the answer says."""
    return {
        "message_id": clean(answer.message_id),
        "model": clean(answer.model),
        "stop_reason": clean(answer.stop_reason),
        "error_type": clean(answer.error_type),
        "streamed": int(answer.streamed),
        **usage_columns(answer.usage),
    }


def payment_columns(exchange: RecordedExchange) -> dict[str, Column]:
    """Return the column of table ``requests`` that says that a subscription pays; empty where it does not."""
    response = exchange.response
    return {"subscription": 1} if pays_by_subscription(exchange.headers, response.headers if response else ()) else {}


def url_path(url: str) -> str:
    """Return the path of a URL as it stands there; the URL itself when it has no readable one."""
    try:
        return urlsplit(url).path or "/"
    except ValueError:
        return url


def _latency(exchange: RecordedExchange) -> int | None:
    """Microseconds from the request's last byte forwarded to the response's first (contract.md, "Data")."""
    if exchange.early_response:
        return 0
    forwarded, received = exchange.instants.forwarded, exchange.instants.response_received
    return None if forwarded is None or received is None else max(0, received - forwarded) // 1000


def _request_id(response: RecordedResponse) -> str | None:
    for name, value in response.headers:
        if name.lower() == b"request-id":
            return clean(value.decode("latin-1"))
    return None

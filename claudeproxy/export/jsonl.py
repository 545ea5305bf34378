"""JSON lines: one object an exchange, with everything that is known of it (docs/reference/export-format.md).

The names are those of the REST API where it has the same thing. A version is raised when a field changes its meaning or
goes; fields that are added do not raise it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from claudeproxy.export.times import dollars, iso
from claudeproxy.export.websockets import websocket_object

if TYPE_CHECKING:
    from claudeproxy.export.bodies import ExportedBody
    from claudeproxy.export.exchanges import ExportedExchange
    from claudeproxy.model import BodyKept, Usage
    from claudeproxy.store.values import CapturedResponse, ContextAttribution, SourceTotal

FORMAT = "claudeproxy.exchange"
VERSION = 1


def line(exchange: ExportedExchange) -> bytes:
    """One exchange as a line, in ASCII: captured text may hold what no other encoding can say."""
    return json.dumps(document(exchange), separators=(",", ":")).encode() + b"\n"


def document(exchange: ExportedExchange) -> dict[str, object]:
    """One exchange as an object."""
    request, response = exchange.request, exchange.response
    who, lineage, instants = request.identity, request.lineage, request.instants
    return {
        "format": FORMAT,
        "version": VERSION,
        "id": request.id,
        "correlation_id": request.correlation_id,
        "timestamp": iso(request.timestamp),
        "state": str(request.state),
        "error": request.error,
        "error_kind": request.error_kind,
        "entry_mode": str(request.entry_mode),
        "request_class": who.request_class,
        "session_id": who.session_id,
        "agent_id": who.agent_id,
        "parent_agent_id": who.parent_agent_id,
        "agent_type": who.agent_type,
        "client": who.client,
        "client_version": who.client_version,
        "model": who.model,
        "project": who.project,
        "retry_of": lineage.retry_of,
        "parent_request_id": lineage.parent_request_id,
        "prompt_index": lineage.prompt_index,
        "turn_index": lineage.turn_index,
        "effective": request.effective,
        "context_complete": request.context_complete,
        "api_key_hash": request.api_key_hash,
        "total_tokens": request.total_tokens,
        "accuracy": None if request.accuracy is None else str(request.accuracy),
        "cost": dollars(request.cost),
        "cost_note": request.cost_note,
        "instants": {
            "request_initiated": iso(instants.request_initiated),
            "proxy_received": iso(instants.proxy_received),
            "forwarded": iso(instants.forwarded),
            "response_received": iso(instants.response_received),
            "delivered": iso(instants.delivered),
        },
        "connect_us": request.connect_us,
        "request": {
            "method": request.method,
            "url": request.url,
            "upstream_url": request.upstream_url,
            "http_version": request.http_version,
            "headers": [list(pair) for pair in request.headers],
            "body": _body(
                exchange.request_body, request.body_kept, length=request.body_length, sha256=request.body_sha256
            ),
        },
        "informational": list(request.informational),
        "response": None if response is None else _response(response, exchange.response_body),
        "websocket": websocket_object(exchange.streams, exchange.messages),
        "sources": [_source(one) for one in exchange.sources],
        "attributions": [_attribution(one) for one in exchange.attributions],
    }


def _response(response: CapturedResponse, body: ExportedBody | None) -> dict[str, object]:
    assert body is not None
    return {
        "id": response.id,
        "timestamp": iso(response.timestamp),
        "status_code": response.status_code,
        "reason": response.reason,
        "http_version": response.http_version,
        "headers": [list(pair) for pair in response.headers],
        "trailers": [list(pair) for pair in response.trailers],
        "origin": response.origin,
        "latency_us": response.latency_us,
        "proxy_latency_us": response.proxy_latency_us,
        "message_id": response.message_id,
        "model": response.model,
        "stop_reason": response.stop_reason,
        "error_type": response.error_type,
        "request_id_header": response.request_id_header,
        "streamed": response.streamed,
        "usage": _usage(response.usage),
        "body": _body(body, response.body_kept, length=response.body_length, sha256=response.body_sha256),
    }


def _body(body: ExportedBody, kept: BodyKept, *, length: int, sha256: str | None) -> dict[str, object]:
    return {
        "kept": str(kept),
        "length": length,
        "sha256": sha256,
        "encoding": body.encoding,
        "text": body.text,
        "base64": body.base64,
    }


def _usage(usage: Usage) -> dict[str, object]:
    return {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_creation_input_tokens,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "cache_creation_5m": usage.cache_creation_5m,
        "cache_creation_1h": usage.cache_creation_1h,
        "output_tokens": usage.output_tokens,
        "thinking_tokens": usage.thinking_tokens,
        "web_search_requests": usage.web_search_requests,
        "web_fetch_requests": usage.web_fetch_requests,
        "service_tier": usage.service_tier,
        "speed": usage.speed,
        "inference_geo": usage.inference_geo,
    }


def _source(one: SourceTotal) -> dict[str, object]:
    return {
        "label": one.source.label,
        "source_type": str(one.source.type),
        "source_name": one.source.name,
        "token_count": one.token_count,
        "accuracy": str(one.accuracy),
        "cost": dollars(one.cost),
    }


def _attribution(one: ContextAttribution) -> dict[str, object]:
    return {
        "id": one.id,
        "source_type": str(one.source.type),
        "source_name": one.source.name,
        "plugin": one.source.plugin,
        "kind": one.kind,
        "rule": one.rule,
        "evidence": one.evidence,
        "confidence": one.confidence,
        "token_count": one.token_count,
        "accuracy": str(one.accuracy),
        "price_class": one.price_class,
        "cost": dollars(one.cost),
        "content_hash": one.content_hash,
        "message_index": one.message_index,
        "message_role": one.message_role,
        "json_path": one.json_path,
        "start": one.start,
        "end": one.end,
        "effective": one.effective,
    }

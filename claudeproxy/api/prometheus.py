"""GET /metrics: the service's numbers in Prometheus' text format (version 0.0.4).

Apart from `metrics`, which answers questions about captures, because this is for machines that look every few seconds:
few series, no captured text but client versions. It stands at the root, where collectors look, behind the same guard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response

from claudeproxy.api.health import number, part, versions
from claudeproxy.store.census import take_census
from claudeproxy.store.shares import framework_shares

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from claudeproxy.api.storage import StoragePool
    from claudeproxy.store.census import Census
    from claudeproxy.store.shares import FrameworkShare
    from claudeproxy.store.storage import CaptureStorage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_Labels = dict[str, str]
_Sample = tuple[_Labels, int | float]
_PICO = 1e12
_MICRO = 1e6


def prometheus_routes(storage: StoragePool, health: Callable[[], Mapping[str, object]], version: str) -> Blueprint:
    """The route at the root. `health` as in `health_routes`."""
    routes = Blueprint("prometheus", __name__)

    @routes.get("/metrics")
    async def get_metrics() -> Response:
        """Give the numbers of the service in Prometheus' text format."""
        census, shares = await storage.run(_asked)
        text = "".join((*_of_service(health(), version), *_of_database(census, shares)))
        return Response(text, content_type=CONTENT_TYPE)

    return routes


def _asked(reader: CaptureStorage) -> tuple[Census, list[FrameworkShare]]:
    return take_census(reader), framework_shares(reader)


def _of_service(health: Mapping[str, object], version: str) -> Iterator[str]:
    yield family("claudeproxy_info", "gauge", "What runs here.", [(versions(version), 1)])
    healthy = health.get("status", "ok") == "ok"
    yield family("claudeproxy_healthy", "gauge", "1 when health says ok.", [({}, int(healthy))])
    if recorder := part(health, "recorder"):
        works = not number(recorder, "deaths") and not number(recorder, "failures")
        yield family("claudeproxy_recorder_working", "gauge", "1 when the recorder stores.", [({}, int(works))])
        restarts = number(recorder, "restarts")
        yield family("claudeproxy_recorder_restarts_total", "counter", "Times it was begun again.", [({}, restarts)])
    if capture := part(health, "capture"):
        seen = number(capture, "exchanges")
        yield family("claudeproxy_exchanges_total", "counter", "Exchanges seen since the start.", [({}, seen)])
        yield family("claudeproxy_exchanges_open", "gauge", "Exchanges under way.", [({}, number(capture, "open"))])
        dropped: list[_Sample] = [({"what": what}, number(capture, name)) for what, name in _DROPS]
        yield family("claudeproxy_drops_total", "counter", "Exchanges not recorded whole.", dropped)
        held = number(capture, "journal", "bytes_held")
        yield family("claudeproxy_journal_bytes", "gauge", "Of the journal on disk.", [({}, held)])
    if isinstance(workers := health.get("workers"), list):
        states: list[_Sample] = [({"worker": str(one["worker"])}, int(one["serves"])) for one in workers]
        yield family("claudeproxy_worker_serving", "gauge", "1 for each worker that serves.", states)
        again: list[_Sample] = [({"worker": str(one["worker"])}, one["restarts"]) for one in workers]
        yield family("claudeproxy_worker_restarts_total", "counter", "Times a worker was begun again.", again)
    if proxy := part(health, "proxy"):
        open_ones = number(proxy, "connections")
        yield family("claudeproxy_connections_open", "gauge", "Client connections.", [({}, open_ones)])


_DROPS = (("bodies", "dropped"), ("everything", "lost"))


def _of_database(census: Census, shares: list[FrameworkShare]) -> Iterator[str]:
    totals = census.totals
    states: list[_Sample] = [({"state": state}, count) for state, count in census.captures.items()]
    yield family("claudeproxy_captures", "gauge", "Captured requests in the database, by state.", states)
    requests = "Captured requests, those too that were deleted since."
    yield family("claudeproxy_requests_total", "counter", requests, [({}, totals["requests"])])
    tokens: list[_Sample] = [({"direction": side}, totals[f"tokens_{side}"]) for side in ("sent", "received")]
    yield family("claudeproxy_tokens_total", "counter", "Tokens of prompts and of answers.", tokens)
    billed: list[_Sample] = [({"kind": kind}, count) for kind, count in census.billed.items()]
    yield family("claudeproxy_billed_tokens", "gauge", "Tokens as billed, of captures in the database.", billed)
    if census.total_cost is not None:
        cost = census.total_cost / _PICO
        yield family(
            "claudeproxy_cost_dollars_total", "counter", "Cost of prompts and answers with a price.", [({}, cost)]
        )
    yield from _spent("source", "source_type", census.by_type, "counter", "By type of source, answers too.")
    yield from _spent("model", "model", census.by_model, "gauge", "By model, of captures in the database.")
    for name, said in (
        ("latency", "From a request forwarded to the first byte of its response."),
        ("proxy_latency", "What the proxy itself added."),
    ):
        yield summary(f"claudeproxy_{name}_seconds", said, totals[f"{name}_us"] / _MICRO, totals[f"{name}_count"])
    yield family("claudeproxy_feedback_total", "counter", "Ratings given.", [({}, totals["feedback_count"])])
    sizes: list[_Sample] = [({"file": "database"}, census.database_bytes), ({"file": "wal"}, census.wal_bytes)]
    yield family("claudeproxy_database_bytes", "gauge", "Size on disk.", sizes)
    unclassified: list[_Sample] = [
        ({"client": one.client or "", "client_version": one.client_version}, one.share) for one in shares
    ]
    share = "Part of the client's own text that no rule explains, in its newest requests."
    yield family("claudeproxy_unclassified_share", "gauge", share, unclassified)


def _spent(what: str, label: str, sums: Mapping[str, tuple[int, int | None]], kind: str, said: str) -> Iterator[str]:
    """Tokens and dollars; what has no price has no sample among the dollars."""
    end = "_total" if kind == "counter" else ""
    tokens: list[_Sample] = [({label: key}, count) for key, (count, _) in sums.items()]
    costs: list[_Sample] = [({label: key}, cost / _PICO) for key, (_, cost) in sums.items() if cost is not None]
    yield family(f"claudeproxy_{what}_tokens{end}", kind, f"Tokens. {said}", tokens)
    yield family(f"claudeproxy_{what}_cost_dollars{end}", kind, f"Cost. {said}", costs)


# --- the format (https://prometheus.io/docs/instrumenting/exposition_formats/) --------------------------------------


def family(name: str, kind: str, said: str, samples: list[_Sample]) -> str:
    """One metric with its samples; nothing when it has none."""
    if not samples:
        return ""
    return _head(name, kind, said) + "".join(f"{name}{_labels(labels)} {value}\n" for labels, value in samples)


def summary(name: str, said: str, total: float, count: int) -> str:
    """A sum and a count, from which a collector makes averages."""
    return f"{_head(name, 'summary', said)}{name}_sum {total}\n{name}_count {count}\n"


def _head(name: str, kind: str, said: str) -> str:
    return f"# HELP {name} {_escaped(said)}\n# TYPE {name} {kind}\n"


def _labels(labels: _Labels) -> str:
    if not labels:
        return ""
    said = (_escaped(value).replace('"', '\\"') for value in labels.values())
    return "{" + ",".join(f'{name}="{value}"' for name, value in zip(labels, said, strict=True)) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")

"""/api/claude/metrics: what the context was made of and what came of it, in all, by source and by time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response
from quart_schema import document_response, validate_querystring

from claudeproxy.api.answers import document, json_response
from claudeproxy.api.health import drops
from claudeproxy.api.insight_presenting import history_point, metrics_summary, source_metrics
from claudeproxy.api.insight_schemas import History, MetricsSummary, SourceMetricsList
from claudeproxy.api.money_presenting import source_change, source_kinds
from claudeproxy.api.money_schemas import MetricsComparison, MetricsKinds
from claudeproxy.api.parameters import CompareQuery, HistoryQuery, KindsQuery, SourceQuery, SummaryQuery
from claudeproxy.api.times import iso
from claudeproxy.insight.comparison import Comparison
from claudeproxy.insight.metrics import SourceMetrics
from claudeproxy.insight.values import SourceFilters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from claudeproxy.api.storage import StoragePool
    from claudeproxy.store.storage import CaptureStorage


def metrics_routes(storage: StoragePool, health: Callable[[], Mapping[str, object]]) -> Blueprint:
    """The routes of metrics. `health` knows what was dropped."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics/summary")
    @validate_querystring(SummaryQuery)
    @document_response(MetricsSummary)
    async def get_summary(query_args: SummaryQuery) -> Response:
        """Add up all requests of a time, those too that retention has deleted."""
        found = await storage.run(
            lambda reader: SourceMetrics(reader).summary(since=query_args.since, until=query_args.until)
        )
        return json_response(document(metrics_summary(found, drops=drops(health()))))

    @routes.get("/metrics/sources")
    @validate_querystring(SourceQuery)
    @document_response(SourceMetricsList)
    async def list_sources(query_args: SourceQuery) -> Response:
        """List the sources with what they were used for, cost and earned."""
        return json_response(await storage.run(lambda reader: _sources(reader, query_args)))

    @routes.get("/metrics/history")
    @validate_querystring(HistoryQuery)
    @document_response(History)
    async def get_history(query_args: HistoryQuery) -> Response:
        """Tell each source's numbers for each hour, day or week in which it was used."""
        return json_response(await storage.run(lambda reader: _history(reader, query_args)))

    @routes.get("/metrics/compare")
    @validate_querystring(CompareQuery)
    @document_response(MetricsComparison)
    async def compare_sources(query_args: CompareQuery) -> Response:
        """Put the sources of a period beside those of the period as long before it."""
        return json_response(await storage.run(lambda reader: _compare(reader, query_args)))

    @routes.get("/metrics/kinds")
    @validate_querystring(KindsQuery)
    @document_response(MetricsKinds)
    async def list_kinds(query_args: KindsQuery) -> Response:
        """Say what sources' tokens consist of: schema against result, and the rest."""
        return json_response(await storage.run(lambda reader: _kinds(reader, query_args)))

    return routes


def _compare(reader: CaptureStorage, query: CompareQuery) -> str:
    since, until = query.period
    found = Comparison(reader).sources(
        since=since, until=until, source_type=query.source_type, source_name=query.source_name
    )
    return document(
        MetricsComparison(
            start_time=iso(since),
            end_time=iso(until),
            before=iso(since - (until - since)),
            sources=[source_change(one) for one in found],
        )
    )


def _kinds(reader: CaptureStorage, query: KindsQuery) -> str:
    told = Comparison(reader).kinds(since=query.since, until=query.until)
    return document(
        MetricsKinds(
            requests=told.requests,
            complete=told.complete,
            sources=[
                source_kinds(one)
                for one in told.sources
                if query.source_type in (None, one.source_type) and query.source_name in (None, one.source_name)
            ],
        )
    )


def _filters(query: SourceQuery | HistoryQuery) -> SourceFilters:
    return SourceFilters(
        source_name=query.source_name, source_type=query.source_type, since=query.since, until=query.until
    )


def _sources(reader: CaptureStorage, query: SourceQuery) -> str:
    found = SourceMetrics(reader).sources(
        _filters(query), sort=query.sort_by, descending=query.order == "desc", weighted=query.weighted
    )
    return document(SourceMetricsList(metrics=[source_metrics(one) for one in found]))


def _history(reader: CaptureStorage, query: HistoryQuery) -> str:
    found = SourceMetrics(reader).history(query.bucket, _filters(query))
    return document(History(bucket=query.bucket, history=[history_point(one) for one in found]))

"""The numbers for collectors: valid text, true values, the same guard."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from claudeproxy.api.app import create_app
from claudeproxy.api.prometheus import family, summary
from tests.api.conftest import app_on, served

if TYPE_CHECKING:
    import httpx

    from tests.api.conftest import Captures

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"(?P<name>{_NAME})(?:\{{(?P<labels>{_LABEL}(?:,{_LABEL})*)\}})? (?P<value>[-+0-9.e]+)")


def read(text: str) -> dict[str, float]:
    """Samples by name and labels; every line is one of the format's, families are whole and have HELP and TYPE."""
    assert text.endswith("\n")
    samples: dict[str, float] = {}
    current, kinds = "", {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current = line.split(" ")[2]
            assert current not in kinds
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == current
            assert kind in ("counter", "gauge", "summary")
            kinds[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            assert match["name"].removesuffix("_sum").removesuffix("_count") == current or match["name"] == current
            key = match["name"] + (f"{{{match['labels']}}}" if match["labels"] else "")
            assert key not in samples
            samples[key] = float(match["value"])
    return samples


async def test_it_gives_the_numbers_of_the_database(api: httpx.AsyncClient) -> None:
    answer = await api.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = read(answer.text)
    assert samples['claudeproxy_captures{state="complete"}'] == 8
    assert samples['claudeproxy_captures{state="in_flight"}'] == 1
    assert samples["claudeproxy_requests_total"] == 12
    assert samples['claudeproxy_tokens_total{direction="sent"}'] == 120
    assert samples["claudeproxy_latency_seconds_count"] == 10
    assert samples["claudeproxy_latency_seconds_sum"] == pytest.approx(0.5)
    assert samples['claudeproxy_database_bytes{file="database"}'] > 0
    assert samples['claudeproxy_unclassified_share{client="claude-cli",client_version="2.1.330"}'] == 0
    assert samples["claudeproxy_healthy"] == 1


async def test_it_gives_the_numbers_of_the_service(captures: Captures) -> None:
    def health() -> dict[str, object]:
        return {
            "status": "degraded",
            "recorder": {"deaths": 1, "failures": 0, "restarts": 2},
            "capture": {"exchanges": 9, "open": 1, "dropped": 3, "lost": 4, "journal": {"bytes_held": 77}},
            "proxy": {"connections": 5},
            "workers": [{"worker": 1, "serves": True, "restarts": 0}, {"worker": 2, "serves": False, "restarts": 3}],
        }

    app = create_app(
        captures.reader, open_writer=captures.writer, token=None, accepted_hosts=(), health=health, version="1"
    )
    async with served(app) as api:
        samples = read((await api.get("/metrics")).text)
    assert samples["claudeproxy_healthy"] == 0
    assert samples["claudeproxy_recorder_working"] == 0
    assert samples["claudeproxy_recorder_restarts_total"] == 2
    assert [samples[f'claudeproxy_worker_serving{{worker="{one}"}}'] for one in (1, 2)] == [1, 0]
    assert [samples[f'claudeproxy_worker_restarts_total{{worker="{one}"}}'] for one in (1, 2)] == [0, 3]
    assert samples["claudeproxy_exchanges_total"] == 9
    assert samples['claudeproxy_drops_total{what="bodies"}'] == 3
    assert samples['claudeproxy_drops_total{what="everything"}'] == 4
    assert samples["claudeproxy_journal_bytes"] == 77
    assert samples["claudeproxy_connections_open"] == 5


async def test_the_same_rules_of_host_and_token_hold(captures: Captures) -> None:
    async with served(app_on(captures, token="a-dummy-token", token_required=True)) as api:
        assert (await api.get("/metrics")).status_code == 401
        good = {"authorization": "Bearer a-dummy-token"}
        assert (await api.get("/metrics", headers=good)).status_code == 200
        assert (await api.get("/metrics", headers={**good, "host": "evil.example"})).status_code == 403


def test_label_values_are_escaped() -> None:
    text = family("m", "gauge", "Says\nand \\.", [({"a": 'x"y\\z\n'}, 1), ({}, 0.5)])
    assert text == '# HELP m Says\\nand \\\\.\n# TYPE m gauge\nm{a="x\\"y\\\\z\\n"} 1\nm 0.5\n'
    assert len(read(text)) == 2


def test_a_family_without_samples_is_left_out() -> None:
    assert family("m", "gauge", "Nothing.", []) == ""


def test_a_summary_is_a_sum_and_a_count() -> None:
    assert read(summary("m", "Some.", 1.5, 3)) == {"m_sum": 1.5, "m_count": 3}

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

import pytest

from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters
from claudeproxy_cli.following import ServerGoneError, Told, from_database, from_server
from tests.cli.support import exchanges, fill
from tests.cli.test_serve import serving

if TYPE_CHECKING:
    from pathlib import Path

FILTERS = RequestFilters(method="POST", path="/v1/*", status=200, state="complete", source="Tool: Bash")


class EnoughError(Exception):
    """The test has heard enough."""


def test_a_server_and_the_database_tell_the_same(home: Path) -> None:
    ids = fill(home, exchanges()[:3])
    with CaptureStorage(home / "captures.db", read_only=True) as storage:
        told = [one for one in takewhile(lambda one: one is not None, from_database(storage, FILTERS, 0)) if one]
        assert {one.request_id for one in told if one.final} == set(ids)
        assert [one.number for one in told] == sorted({one.number for one in told})
        heard: list[Told | None] = []

        def tell(one: Told | None) -> None:
            heard.append(one)
            if len([one for one in heard if one]) == len(told):
                raise EnoughError

        with serving(home) as (_, server), pytest.raises(EnoughError):
            assert server.api_url is not None
            from_server(server.api_url, None, FILTERS, 0, tell)
    assert [one for one in heard if one] == told


def test_a_server_that_is_not_there_is_gone() -> None:
    with pytest.raises(ServerGoneError):
        from_server("http://127.0.0.1:1", None, RequestFilters(), 0, lambda _: None)


def test_a_server_that_refuses_is_gone_and_says_why(home: Path) -> None:
    (home).mkdir()
    (home / "config.yaml").write_text("api_token: a-dummy-token-of-some-length\n")
    fill(home, exchanges()[:1])
    with serving(home) as (_, server), pytest.raises(ServerGoneError, match="it answered 401"):
        assert server.api_url is not None
        from_server(server.api_url, "wrong", RequestFilters(), 0, lambda _: None)

from __future__ import annotations

import pytest
import typer

from claudeproxy.errors import NotFoundError
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters
from claudeproxy_cli.filters import of_session, request_filters
from tests.cli.support import cli

NOTHING = dict.fromkeys(
    ("source", "kind", "request_class", "method", "path", "model", "status", "status_word", "project")
)


def test_what_is_given_is_asked_for() -> None:
    given = NOTHING | {"kind": "mcp-server", "method": "post", "status": 200, "status_word": "in-flight"}
    assert request_filters(**given) == RequestFilters(  # type: ignore[arg-type]
        source_type="McpServer", method="POST", status=200, state="in_flight"
    )
    assert request_filters(**NOTHING) == RequestFilters()  # type: ignore[arg-type]


def test_a_word_that_is_none_is_a_usage_error() -> None:
    with pytest.raises(typer.BadParameter, match="did you mean complete"):
        request_filters(**NOTHING | {"status_word": "complet"})  # type: ignore[arg-type]


def test_a_session_may_be_abbreviated(captured) -> None:
    with CaptureStorage(captured / "captures.db", read_only=True) as storage:
        whole = next(row.identity.session_id for row in storage.query_requests(RequestFilters()).rows)
        assert whole is not None
        assert of_session(storage, whole[:6]) == whole
        assert of_session(storage, None) is None
        with pytest.raises(NotFoundError):
            of_session(storage, "nonsense")


@pytest.mark.parametrize("command", ["tail", "export"])
def test_both_commands_name_all_of_them_in_their_help(command: str) -> None:
    text = cli(command, "--help").stdout
    for option in ("source", "type", "class", "method", "path", "model", "status", "state", "session", "project"):
        assert f"--{option}" in text
    assert "Example: " in text

from __future__ import annotations

import pytest

from claudeproxy.capture.policy import BodyPolicy

HOST = "https://api.anthropic.com"


@pytest.mark.parametrize(
    "path",
    ["/v1/messages", "/v1/messages?beta=true", "/v1/messages/count_tokens", "/v1/files", "/v1/tokens", "/v1/x?token=1"],
)
def test_bodies_of_the_api_are_kept(path: str) -> None:
    assert BodyPolicy().keep(HOST + path)


@pytest.mark.parametrize("path", ["/", "", "/api/event_logging/batch", "/v1", "/v10/x", "/api/v1/messages"])
def test_other_bodies_are_kept_on_request_only(path: str) -> None:
    assert not BodyPolicy().keep(HOST + path)
    assert BodyPolicy(capture_other_bodies=True).keep(HOST + path)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/oauth/token",
        "/v1/OAuth/x",
        "/v1/login",
        "/v1/login/",
        "/v1/organizations/api_keys",
        "/api/oauth/claude_cli/create_api_key",
        "/v1/%6Fauth/x",
        "/v1/%256Fauth/x",
        "/v1/token;a=b",
        "/v1//token?x",
    ],
)
def test_bodies_of_authentication_endpoints_are_never_kept(path: str) -> None:
    assert not BodyPolicy().keep(HOST + path)
    assert not BodyPolicy(capture_other_bodies=True).keep(HOST + path)


def test_what_is_no_url_is_not_kept() -> None:
    assert not BodyPolicy(capture_other_bodies=True).keep("https://[bad/v1/x")

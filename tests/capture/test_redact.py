from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeproxy.capture import redact
from claudeproxy.capture.redact import (
    REDACTED,
    KeyHasher,
    is_secret_header,
    redact_headers,
    redact_text,
    redact_url,
    redacted_text,
)

SECRET_NAMES = [
    "Authorization",
    "x-api-key",
    "X-Api-Key",
    "Proxy-Authorization",
    "Cookie",
    "Set-Cookie",
    "set-cookie2",
    "x-forwarded-authorization",
    "x-goog-api-key",
    "apikey",
    "api_key",
    "X-Auth-Token",
    "x-amz-security-token",
    "x-csrf-token",
    "cf-access-client-secret",
    "cf-access-jwt-assertion",
    "ocp-apim-subscription-key",
    "x-auth",
    "x-password",
    "signature",
    "X-AccessToken",
    "Authentication-Info",
    "DPoP",
]
PLAIN_NAMES = [
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-input-tokens-limit",
    "anthropic-version",
    "anthropic-beta",
    "x-claude-code-session-id",
    "x-client-request-id",
    "request-id",
    "www-authenticate",
    "idempotency-key",
    "sec-websocket-key",
    "user-agent",
    "content-type",
    "x-author",
    "x-token-count",
]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_names_of_credentials_are_known(name: str) -> None:
    assert is_secret_header(name.encode())
    assert redact_headers(((name.encode(), b"s3cret"),)) == ((name.encode(), b"[REDACTED]"),)


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_names_that_only_sound_like_it_stay(name: str) -> None:
    assert redact_headers(((name.encode(), b"value"),)) == ((name.encode(), b"value"),)


def test_order_casing_and_number_of_fields_stay() -> None:
    headers = ((b"B", b"1"), (b"COOKIE", b"a=b"), (b"b", b"2"), (b"cookie", b"c=d"))
    redacted = ((b"B", b"1"), (b"COOKIE", b"[REDACTED]"), (b"b", b"2"), (b"cookie", b"[REDACTED]"))
    assert redact_headers(headers) == redacted


@pytest.mark.parametrize("value", [b"Bearer abc.def", b"basic dXNlcjpwYXNz", b"  Token x"])
def test_a_credential_under_an_unknown_name_is_noticed_by_its_look(value: bytes) -> None:
    assert redact_headers(((b"X-Whatever", value),)) == ((b"X-Whatever", b"[REDACTED]"),)


@pytest.mark.parametrize(
    "value", [b"NTLM abc", b"dpop x.y.z", b"ApiKey 5", b"AWS4-HMAC-SHA256 Credential=a", b"OAuth x"]
)
def test_schemes_beside_bearer_and_basic_are_credentials_too(value: bytes) -> None:
    assert redact_headers(((b"X-Whatever", value),)) == ((b"X-Whatever", b"[REDACTED]"),)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"graphql-transport-ws", b"graphql-transport-ws"),
        (b"realtime, openai-insecure-api-key.dummy", b"realtime, [REDACTED]"),
        (b"base64url.bearer.authorization.k8s.io.ZHVtbXk, v4.channel.k8s.io", b"[REDACTED], v4.channel.k8s.io"),
        (b"chat," + b"x" * 40, b"chat,[REDACTED]"),
    ],
)
def test_subprotocols_that_are_credentials_go(value: bytes, expected: bytes) -> None:
    """Browsers can set no other field of a WebSocket's handshake."""
    assert redact_headers(((b"Sec-WebSocket-Protocol", value),)) == ((b"Sec-WebSocket-Protocol", expected),)


def test_urls_under_any_name_are_redacted_as_urls() -> None:
    headers = redact_headers(((b"X-Original-Url", b"/cb?code=dummy"), (b"x-next", b"see https://u:p@h/?sig=dummy")))
    assert [value for _, value in headers] == [b"/cb?code=[REDACTED]", b"see https://[REDACTED]@h/?sig=[REDACTED]"]


def test_a_key_is_found_in_any_case_escaped_and_as_a_name() -> None:
    assert redact_headers(((b"sk-ant-api03-dummy", b"1"),)) == ((b"[REDACTED]", b"1"),)
    assert redact_headers(((b"x", b"SK-ANT-API03-DUMMY"),)) == ((b"x", b"[REDACTED]"),)
    assert redact_url("https://h/keys/sk%2Dant%2Dapi03%2Ddummy/x") == "https://h/keys/[REDACTED]/x"
    assert redact_url("https://h/?api%255Fkey=dummy") == "https://h/?api%255Fkey=[REDACTED]"
    assert redact_url("https://a:b@h/?next=http://c:d@i/") == "https://[REDACTED]@h/?next=http://[REDACTED]@i/"


def test_a_challenge_is_no_credential() -> None:
    assert redact_headers(((b"WWW-Authenticate", b"Bearer error=invalid"),))[0][1] == b"Bearer error=invalid"


def test_an_api_key_within_a_value_is_cut_out() -> None:
    headers = redact_headers(((b"x-note", b"used sk-ant-api03-dummy_1-2 here"),))
    assert headers == ((b"x-note", b"used [REDACTED] here"),)


def test_urls_in_headers_are_redacted_as_urls() -> None:
    headers = redact_headers(((b"Location", b"https://a.example/cb?code=xyz&ok=1"), (b"referer", b"https://u:p@h/x")))
    assert headers[0][1] == b"https://a.example/cb?code=[REDACTED]&ok=1"
    assert headers[1][1] == b"https://[REDACTED]@h/x"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.anthropic.com/v1/messages?beta=true", "https://api.anthropic.com/v1/messages?beta=true"),
        ("https://h/p?access_token=abc&x=1", "https://h/p?access_token=[REDACTED]&x=1"),
        ("https://h/p?x=1;API_KEY=abc", "https://h/p?x=1;API_KEY=[REDACTED]"),
        ("https://h/p?api%5Fkey=abc", "https://h/p?api%5Fkey=[REDACTED]"),
        ("https://h/p#id_token=abc", "https://h/p#id_token=[REDACTED]"),
        ("https://h/p?key=abc&monkey=see", "https://h/p?key=[REDACTED]&monkey=see"),
        ("https://h/p?max_tokens=5&after_id=a@b", "https://h/p?max_tokens=5&after_id=a@b"),
        ("https://user:pass@h:1/p", "https://[REDACTED]@h:1/p"),
        ("https://user@h/p", "https://[REDACTED]@h/p"),
        ("https://h/keys/sk-ant-api03-dummy/x", "https://h/keys/[REDACTED]/x"),
        ("https://h/p?sig=a%3D&X-Amz-Signature=b", "https://h/p?sig=[REDACTED]&X-Amz-Signature=[REDACTED]"),
        ("https://h/p?empty=&token=", "https://h/p?empty=&token="),
    ],
)
def test_urls(url: str, expected: str) -> None:
    assert redact_url(url) == expected


def test_no_value_keeps_the_relay_busy() -> None:
    """The relay calls this between two bytes of a client: 64 KiB take milliseconds, however they are chosen."""
    for value in (b"a:" * 30_000 + b"/@", b"://" * 20_000 + b"@", b"?a" * 30_000, b"?token" * 10_000 + b"="):
        begun = time.process_time()
        redact_headers(((b"Location", value),))
        assert time.process_time() - begun < 2.0


@given(st.text())
def test_any_text_comes_out_as_valid_unicode(text: str) -> None:
    redact_url(text).encode()
    redact_text(text + "\udc80").encode()


def test_text_loses_keys_only() -> None:
    assert redact_text("bad key sk-ant-oat01-abc, sorry") == f"bad key {REDACTED}, sorry"


def test_the_same_key_has_the_same_hash_in_either_header() -> None:
    hasher = KeyHasher(b"s" * 32)
    one = hasher(((b"X-API-Key", b"sk-ant-api03-dummy"),))
    assert one is not None
    assert len(one) == 32
    assert one == hasher(((b"authorization", b"bearer  sk-ant-api03-dummy "),))
    assert one != hasher(((b"x-api-key", b"sk-ant-api03-other"),))
    assert one != KeyHasher(b"t" * 32)(((b"x-api-key", b"sk-ant-api03-dummy"),))


def test_without_a_key_there_is_no_hash() -> None:
    hasher = KeyHasher(b"s" * 32)
    assert hasher(()) is None
    assert hasher(((b"authorization", b"Basic dXNlcjpwYXNz"), (b"x-api-key", b" "))) is None


@pytest.mark.parametrize("size", [0, 15, 65])
def test_a_secret_of_the_wrong_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="16 to 64"):
        KeyHasher(b"x" * size)


def test_only_what_went_to_the_journal_unchanged_is_remembered_and_not_without_end():
    headers = (
        (b"X-Api-Key", b"k" * 20),
        (b"X-Odd", b"sk-ant-api03-dummy"),
        (b"X-Plain", b"1"),
        (b"X-Long", b"1" * 200),
    )
    for _ in range(2):
        assert redact_headers(headers) == (
            (b"X-Api-Key", REDACTED.encode()),
            (b"X-Odd", REDACTED.encode()),
            (b"X-Plain", b"1"),
            (b"X-Long", b"1" * 200),
        )
        assert redacted_text(headers) == [
            ("X-Api-Key", REDACTED),
            ("X-Odd", REDACTED),
            ("X-Plain", "1"),
            ("X-Long", "1" * 200),
        ]
    assert set(headers) & redact._harmless.keys() == {(b"X-Plain", b"1")}
    for number in range(3_000):
        redact_headers(((b"X-Number", b"%d" % number),))
    assert len(redact._harmless) <= 1024

from __future__ import annotations

import pytest

from claudeproxy.sansio.quota import QuotaReading, account_of, pays_by_subscription, read_quota

SECOND = 1_000_000_000


def fields(**values: str) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.replace("_", "-").encode(), value.encode()) for name, value in values.items())


def test_a_subscriptions_windows_are_read():
    readings = read_quota(
        (
            (b"Anthropic-RateLimit-Unified-Status", b"allowed_warning"),
            (b"anthropic-ratelimit-unified-5h-utilization", b"0.42"),
            (b"anthropic-ratelimit-unified-5h-reset", b"1790814600"),
            (b"anthropic-ratelimit-unified-5h-status", b"allowed"),
            (b"anthropic-ratelimit-unified-7d_opus-utilization", b"1.05"),
            (b"anthropic-ratelimit-unified-overage-status", b"rejected"),
            (b"anthropic-ratelimit-unified-representative-claim", b"five_hour"),
        )
    )
    assert readings == [
        QuotaReading(window="unified", used=None, limit=None, remaining=None, reset=None, status="allowed_warning"),
        QuotaReading(
            window="5h", used=420_000, limit=None, remaining=None, reset=1790814600 * SECOND, status="allowed"
        ),
        QuotaReading(window="7d_opus", used=1_050_000, limit=None, remaining=None, reset=None, status=None),
        QuotaReading(window="overage", used=None, limit=None, remaining=None, reset=None, status="rejected"),
    ]


def test_the_limits_of_api_keys_are_read():
    readings = read_quota(
        fields(
            anthropic_ratelimit_input_tokens_limit="80000",
            anthropic_ratelimit_input_tokens_remaining="60000",
            anthropic_ratelimit_input_tokens_reset="2026-09-21T12:40:59Z",
            anthropic_priority_output_tokens_limit="10",
            anthropic_fast_input_tokens_remaining="7",
        )
    )
    assert [(one.window, one.used, one.limit, one.remaining) for one in readings] == [
        ("input-tokens", 250_000, 80_000, 60_000),
        ("priority-output-tokens", None, 10, None),
        ("fast-input-tokens", None, None, 7),
    ]
    assert readings[0].reset == 1_789_994_459 * SECOND


@pytest.mark.parametrize("value", ["", "nan", "inf", "-1", "1e99", "lots", "9" * 400])
def test_a_field_that_cannot_be_read_is_left_out_alone(value):
    (reading,) = read_quota(
        fields(
            anthropic_ratelimit_unified_5h_utilization=value,
            anthropic_ratelimit_unified_5h_reset=value,
            anthropic_ratelimit_unified_5h_remaining="-3",
            anthropic_ratelimit_unified_5h_status="allowed",
        )
    )
    assert (reading.used, reading.reset, reading.remaining, reading.status) == (None, None, None, "allowed")


def test_a_window_of_which_nothing_can_be_read_is_none():
    assert read_quota(fields(anthropic_ratelimit_tokens_limit="many", anthropic_ratelimit_x_status="Two Words")) == []
    assert read_quota(fields(content_type="text/plain", x_anthropic_ratelimit_tokens_limit="5")) == []


def test_a_limit_of_nothing_is_no_share():
    (reading,) = read_quota(fields(anthropic_ratelimit_requests_limit="0", anthropic_ratelimit_requests_remaining="0"))
    assert (reading.used, reading.limit) == (None, 0)


def test_a_time_without_zone_is_utc():
    (reading,) = read_quota(fields(anthropic_ratelimit_requests_reset="2026-09-21T12:40:59"))
    assert reading.reset == 1_789_994_459 * SECOND


@pytest.mark.parametrize(
    ("request_fields", "response_fields", "expected"),
    [
        (fields(anthropic_beta="claude-code-20250219, oauth-2025-04-20"), (), True),
        (fields(anthropic_beta="claude-code-20250219", authorization="[REDACTED]"), (), False),
        (fields(authorization="[REDACTED]"), fields(anthropic_ratelimit_unified_status="allowed"), True),
        (fields(x_api_key="[REDACTED]"), fields(anthropic_ratelimit_tokens_limit="5"), False),
    ],
)
def test_a_subscription_is_known_by_its_beta_or_its_limits(request_fields, response_fields, expected):
    assert pays_by_subscription(request_fields, response_fields) is expected


def test_the_account_is_the_organisation():
    assert account_of(fields(anthropic_organization_id="0f-1")) == "0f-1"
    assert account_of(fields(request_id="req_1")) is None


@pytest.mark.parametrize("value", ["9.9e9", "9223372037", "9300-01-01T00:00:00Z"])
def test_an_instant_beyond_64_bits_is_left_out(value: str) -> None:
    """As nanoseconds no database holds it; one answer's field must not stop the recorder."""
    (reading,) = read_quota(
        fields(anthropic_ratelimit_unified_5h_reset=value, anthropic_ratelimit_unified_5h_status="ok")
    )
    assert (reading.reset, reading.status) == (None, "ok")

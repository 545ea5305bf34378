"""OpenSSL's errors in words."""

from __future__ import annotations

import pytest
from OpenSSL import SSL

from claudeproxy.tls.alerts import explain, reason


@pytest.mark.parametrize(
    ("words", "distrusted"),
    [
        ("tlsv1 alert unknown ca", True),
        ("sslv3 alert bad certificate", True),
        ("ssl/tls alert bad certificate", True),
        ("sslv3 alert certificate unknown", True),
        ("sslv3 alert certificate expired", True),
        ("ssl/tls alert unsupported certificate", True),
        ("wrong version number", False),
        ("no shared cipher", False),
        ("tlsv1 alert internal error", False),
    ],
)
def test_only_alerts_about_the_certificate_mean_distrust(words: str, distrusted: bool) -> None:
    error = explain(SSL.Error([("SSL routines", "", words)]))
    assert error.distrusted is distrusted
    assert words in str(error)


def test_an_error_without_words_is_still_named() -> None:
    assert reason(SSL.SysCallError(-1, "Unexpected EOF")) == "-1, Unexpected EOF"
    assert reason(SSL.Error()) == "Error"
    assert reason(SSL.Error([])) == "[]"

"""claudeproxy: what is in my context, where did it come from, what did it cost?

A local proxy between a client of the Anthropic API and the API. It forwards every byte unchanged and at once, keeps
every exchange, and attributes every byte of the context to its source. The packages, in the order in which to read
them:

``model``, ``errors``
    the values that travel and the errors that are raised: everything else is written in these words
``sansio``
    bytes are *judged* here: parsers without I/O (HTTP heads, chunks, TLS hello, server-sent events, JSON spans)
``tls``
    `CertificateAuthority`, `CertificateCache`, and the TLS stream that faces the client
``proxy``
    bytes are *moved* here: `ProxyServer`, the relay, the upstream pool
``capture``
    bytes are *kept safe* here: redaction, the journal that survives SIGKILL, the recorder that reads it
``store``
    bytes are *remembered* here: `CaptureStorage`, a tree of blocks and nodes in SQLite
``attribution``, ``evidence``
    bytes are *explained* here: `AttributionEngine`, its rules, and what else may know
``accounting``
    bytes are *counted* here: `TokenCounter`
``insight``
    bytes are *weighed* here: `FeedbackManager`, `SourceMetrics`, `Carrying`, `Comparison`, `Quota`
``recording``, ``relaying``, ``service``
    the wiring: what the recorder process does, what relays do, and `ClaudeProxy`, all of it in one nursery
``workers``
    several processes that relay, behind one address
``api``
    the REST API
``testing``
    a scripted mock of the Messages API, for the demo, the tests and yours

Public names are resolved when they are first used, so that ``import claudeproxy`` costs next to nothing and a
program that only reads captures loads no server, no TLS and no tokenizer.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOMES = {
    "AttributionEngine": "claudeproxy.attribution.engine",
    "CaptureStorage": "claudeproxy.store.storage",
    "CapturedRequest": "claudeproxy.store.values",
    "CapturedResponse": "claudeproxy.store.values",
    "Carrying": "claudeproxy.insight.carrying",
    "CertificateAuthority": "claudeproxy.tls.authority",
    "CertificateCache": "claudeproxy.tls.cache",
    "ClaudeProxy": "claudeproxy.service",
    "ClaudeProxyConfig": "claudeproxy.config",
    "ClaudeProxyError": "claudeproxy.errors",
    "Comparison": "claudeproxy.insight.comparison",
    "ContextAttribution": "claudeproxy.store.values",
    "ContextSourceMetrics": "claudeproxy.insight.values",
    "FeedbackManager": "claudeproxy.insight.feedback",
    "ProxyServer": "claudeproxy.proxy.server",
    "ProxySettings": "claudeproxy.proxy.settings",
    "QualityFeedback": "claudeproxy.insight.values",
    "Quota": "claudeproxy.insight.quota",
    "RequestFilters": "claudeproxy.store.values",
    "Retention": "claudeproxy.store.retention",
    "Source": "claudeproxy.model",
    "SourceMetrics": "claudeproxy.insight.metrics",
    "SourceType": "claudeproxy.model",
    "TokenCounter": "claudeproxy.accounting.tokens",
}

__all__ = [
    "AttributionEngine",
    "CaptureStorage",
    "CapturedRequest",
    "CapturedResponse",
    "Carrying",
    "CertificateAuthority",
    "CertificateCache",
    "ClaudeProxy",
    "ClaudeProxyConfig",
    "ClaudeProxyError",
    "Comparison",
    "ContextAttribution",
    "ContextSourceMetrics",
    "FeedbackManager",
    "ProxyServer",
    "ProxySettings",
    "QualityFeedback",
    "Quota",
    "RequestFilters",
    "Retention",
    "Source",
    "SourceMetrics",
    "SourceType",
    "TokenCounter",
    "__version__",
]

if TYPE_CHECKING:
    from claudeproxy.accounting.tokens import TokenCounter
    from claudeproxy.attribution.engine import AttributionEngine
    from claudeproxy.config import ClaudeProxyConfig
    from claudeproxy.errors import ClaudeProxyError
    from claudeproxy.insight.carrying import Carrying
    from claudeproxy.insight.comparison import Comparison
    from claudeproxy.insight.feedback import FeedbackManager
    from claudeproxy.insight.metrics import SourceMetrics
    from claudeproxy.insight.quota import Quota
    from claudeproxy.insight.values import ContextSourceMetrics, QualityFeedback
    from claudeproxy.model import Source, SourceType
    from claudeproxy.proxy.server import ProxyServer
    from claudeproxy.proxy.settings import ProxySettings
    from claudeproxy.service import ClaudeProxy
    from claudeproxy.store.retention import Retention
    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.values import CapturedRequest, CapturedResponse, ContextAttribution, RequestFilters
    from claudeproxy.tls.authority import CertificateAuthority
    from claudeproxy.tls.cache import CertificateCache


def __getattr__(name: str) -> object:
    """Import a public name from its home on first use (PEP 562)."""
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value: object = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})

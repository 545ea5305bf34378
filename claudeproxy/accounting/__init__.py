"""What the context cost: `tokens` estimates sizes before a bill is known.

Importing this package loads no tokenizer: that happens at the first count.
"""

from __future__ import annotations

from claudeproxy.accounting.tokens import TokenCounter

__all__ = ["TokenCounter"]

"""Explains a request: which source brought each byte of it.

Reading order: `names` and `spans` (the words), `views` (a block read once), `scene` (what its meaning depends on),
`rules` and `rulebook` (what the client writes), `userrules` and `custom` (what users add), `segmenter`, `containers`,
`memory`, `system` and `appended` (cutting text), `prompts`, `turns` and `conversation` (which part a block plays),
`shapes` (whose type says it), `tiling`, `explain` and `overhead` (segments), `identity` and `facts` (what the whole
request says), `witness` and `confirm` (what passes between requests), `batches` (many requests in one), `engine` (the
door). Reads no files, clocks or sockets; knowledge from outside comes
in as values.
"""

from __future__ import annotations

from claudeproxy.attribution.engine import AttributionEngine
from claudeproxy.attribution.names import extract_mcp_server_name
from claudeproxy.attribution.rulebook import DEFAULT
from claudeproxy.attribution.rules import Rule, RuleSet, Scope
from claudeproxy.sansio.threads import ContextBlock

__all__ = ["DEFAULT", "AttributionEngine", "ContextBlock", "Rule", "RuleSet", "Scope", "extract_mcp_server_name"]

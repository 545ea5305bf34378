"""The rules for what Claude Code injects into conversations: the table. Sources: wire.md, section 4 (measured).

Every row holds short marker strings only, an example that it must match and a counter-example that it must leave
alone; the tests read both from the rows. Ranks, as the client joins items:

- at the start of a session 0 session and tool hooks, mentions; 1 environment; 2 model; 3 output style; 4 tool and
  server availability; 5 agents; 6 MCP instructions, nested memory; 7 skills; 8 modes, reminders; 9 prompt hooks;
  10 date;
- sent again after a compaction (`resent`): 0 mentions, nested memory; 1 tools, agents; 2 skills; 3 MCP instructions;
  4 environment; 5 model; 6 output style; 7 session hooks; 8 server availability, reminders; 10 prompt hooks; 11 date
  (measured);
- where prompts were queued, notifications and what the prompts' hooks say to them stand behind tool hooks (measured).
"""

from __future__ import annotations

from claudeproxy.attribution.rules import RuleSet
from claudeproxy.attribution.rules_files import FILES
from claudeproxy.attribution.rules_session import SESSION
from claudeproxy.attribution.rules_turns import HOOKS, REMINDERS

DEFAULT = RuleSet((*HOOKS, *SESSION, *REMINDERS, *FILES))

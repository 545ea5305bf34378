"""Who sent a request: session, agent, class, client, model, project.

Apart because it reads headers and small corners of the body, not the conversation. Everything here is a hint from the
client: lengths are capped, only printable ASCII is believed, a word that is not in the vocabulary is ``other``
(wire.md, sections 3 and 10). Older clients send fewer hints: what is missing proves nothing.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from claudeproxy.attribution.system import is_identity
from claudeproxy.model import Identity
from claudeproxy.sansio.jsonspans import JSONSpanError, object_members
from claudeproxy.sansio.jsonstrings import decode_string
from claudeproxy.sansio.messages import BILLING_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from claudeproxy.model import AgentCall, RawHeaders
    from claudeproxy.sansio.jsonspans import Member

MAX_HINT = 512
CLASSES = frozenset({"main", "subagent", "workflow", "compaction", "auxiliary", "side_reply", "count_tokens"})
CLAUDE_CODE = "claude-cli"

_USER_AGENT = re.compile(r"(?P<client>[A-Za-z0-9._\-/]{1,60}?)[/ ]v?(?P<version>\d[\w.+-]{0,40})(?: |\(|$)")
_CLIENTS = {"anthropic/python": "anthropic-python", "anthropic/js": "anthropic-js", "claude-cli": CLAUDE_CODE}
_OLD_USER_ID = re.compile(r"user_[0-9a-f]+_account_[0-9a-f-]*_session_(?P<session>[0-9a-zA-Z-]{1,64})\Z")
_FIELD = re.compile(r"(?P<key>cc_\w+)=(?P<value>[^;]{1,200});?")
_SUBAGENT_NOTES = "Notes:\n- Agent threads always have their cwd reset"
MARKS_SUBAGENTS_SINCE = (2, 1, 197)  # from here on `cc_is_subagent` or a header always says so


class Hints:
    """The headers, by lower-case name; the first of each name counts."""

    def __init__(self, headers: RawHeaders | None) -> None:
        self._values: dict[str, str] = {}
        for name, value in headers or ():
            self._values.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    def get(self, name: str) -> str | None:
        """Return a hint, None when it is absent, too long or not printable ASCII."""
        return _sane(self._values.get(name))

    def client(self) -> tuple[str | None, str | None]:
        """Return the client's name and version from its User-Agent."""
        found = _USER_AGENT.match(self._values.get("user-agent", "")[:MAX_HINT])
        if found is None:
            return None, None
        name = found["client"].lower()
        return _CLIENTS.get(name, name), found["version"]


def billing_fields(system_texts: Sequence[str]) -> dict[str, str]:
    """Return the fields of Claude Code's billing block (``cc_version``, ``cc_is_subagent``, ...)."""
    for text in system_texts:
        if text.startswith(BILLING_HEADER):
            return {match["key"]: match["value"] for match in _FIELD.finditer(text[:4096])}
    return {}


def body_strings(body: bytes, members: Mapping[str, Member]) -> dict[str, str]:
    """Return the few strings outside the prompt that identify a request: model, user_id, previous_message_id."""
    found = {"model": _string(body, members.get("model"))}
    for outer, inner in (("metadata", "user_id"), ("diagnostics", "previous_message_id")):
        found[inner] = _string(body, _inner(body, members.get(outer)).get(inner))
    thread = _inner(body, members.get("thread"))
    found["thread"] = _string(body, thread.get("type"))
    found["previous_message_id"] = _string(body, thread.get("previous_message_id")) or found["previous_message_id"]
    return {key: value for key, value in found.items() if value}


def counts_tokens(path: str | None) -> bool | None:
    """Tell by the path of a request's URL whether it asks for a size only; None for a path that does not say."""
    words = (path or "").partition("?")[0].rstrip("/")
    if words.endswith("/messages/count_tokens"):
        return True
    return False if words.endswith(("/messages", "/messages/batches")) else None


def session_of(hints: Hints, strings: Mapping[str, str]) -> str | None:
    """Return the client's session, by its header or (before 2.1.100) by the user id in the body's metadata."""
    return hints.get("x-claude-code-session-id") or _session_in(strings.get("user_id"))


def continues_thread(strings: Mapping[str, str]) -> bool:
    """Tell whether the request sends only what is new of a stateful thread."""
    return strings.get("thread") == "continue"


def identify(
    hints: Hints,
    strings: Mapping[str, str],
    system_texts: Sequence[str],
    *,
    claude_code: bool,
    has_tools: bool,
    bare: bool,
    counts: bool | None,
    unlimited: bool,
    compacts: bool,
    project: str | None,
    begins_prompt: bool,
    started_by: Callable[[str], AgentCall | None],
) -> Identity:
    """Put together what the request says about its sender.

    :param claude_code: the User-Agent, the billing block or the identity line says so.
    :param has_tools: there are tools other than the API's own (web search and the like).
    :param bare: one message, and no reminder in it.
    :param counts: the URL's path says so; None where it says nothing.
    :param unlimited: the body has no `max_tokens`, which only ``count_tokens`` may leave out.
    :param compacts: the last text is the client's own request for a summary.
    :param started_by: gives the call in a session that started this request's agent, where one is known.
    """
    billing = billing_fields(system_texts)
    client, version = hints.client()
    if claude_code:
        client = CLAUDE_CODE
        version = ".".join(billing.get("cc_version", version or "").split(".")[:3]) or None
    agent_id = hints.get("x-claude-code-agent-id")
    agent_type = hints.get("x-claude-code-agent-type")
    session_id = session_of(hints, strings)
    marked = agent_id is not None or billing.get("cc_is_subagent") == "true"
    call = None
    if claude_code and session_id is not None and (marked or not marks_subagents(version)):
        call = started_by(session_id)
    if call is not None and agent_type in {None, "custom"}:  # the header does not say which of the user's agents
        agent_type = call.agent_type or "general-purpose"
    subagent = marked or call is not None or any(_SUBAGENT_NOTES in text for text in system_texts)
    side_call = _is_side_call(system_texts, has_tools=has_tools, bare=bare)
    return Identity(
        session_id=session_id,
        agent_id=agent_id or (call.id if call is not None else None),
        parent_agent_id=hints.get("x-claude-code-parent-agent-id")
        or (call.parent_agent_id if call is not None else None),
        agent_type=agent_type or ("unknown" if subagent else None),
        request_class=("count_tokens" if counts else _stated_class(hints))
        or _inferred_class(
            claude_code=claude_code,
            counts_only=unlimited and counts is None,
            compacts=compacts,
            subagent=subagent,
            side_call=side_call,
            sure=marks_subagents(version) or has_tools,
        ),
        client=client,
        client_version=version,
        model=strings.get("model"),
        project=project,
        previous_message_id=strings.get("previous_message_id"),
        thread=_sane(strings.get("thread")),
        retry_count=_small_number(hints.get("x-stainless-retry-count")),
        begins_prompt=begins_prompt,
    )


def _inferred_class(
    *, claude_code: bool, counts_only: bool, compacts: bool, subagent: bool, side_call: bool, sure: bool
) -> str:
    """Return the class that the body speaks for when no header states one."""
    verdicts = (
        (counts_only, "count_tokens"),
        (not claude_code, "other"),
        (compacts, "compaction"),
        (subagent, "subagent"),
        (side_call, "auxiliary"),
        (sure, "main"),
    )
    return next((verdict for holds, verdict in verdicts if holds), "other")


def marks_subagents(version: str | None) -> bool:
    """Tell whether this version of Claude Code marks every subagent's request."""
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version or "")
    return numbers is not None and tuple(map(int, numbers.groups())) >= MARKS_SUBAGENTS_SINCE


def _stated_class(hints: Hints) -> str | None:
    if hints.get("x-claude-code-compaction") is not None:
        return "compaction"
    stated = hints.get("x-claude-code-request-class")
    if stated is None:
        return None
    return stated if stated in CLASSES else "other"


def _is_side_call(system_texts: Sequence[str], *, has_tools: bool, bare: bool) -> bool:
    """Apply wire.md 4.2: no tools of the client's, one message, at most one short block beside billing and identity."""
    rest = [text for text in system_texts if not text.startswith(BILLING_HEADER) and not is_identity(text)]
    return bare and not has_tools and len(rest) <= 1 and sum(map(len, rest)) < 20_000


def _session_in(user_id: str | None) -> str | None:
    if user_id is None:
        return None
    if (old := _OLD_USER_ID.match(user_id)) is not None:
        return old["session"]
    try:
        value = json.loads(user_id)
    except (ValueError, RecursionError):
        return None
    session = value.get("session_id") if isinstance(value, dict) else None
    return _sane(session) if isinstance(session, str) else None


def _small_number(value: str | None) -> int:
    return int(value) if value is not None and value.isdecimal() and len(value) <= 4 else 0


def _sane(value: str | None) -> str | None:
    """Return the value when it is short, printable ASCII."""
    if not value or len(value) > MAX_HINT or not (value.isascii() and value.isprintable()):
        return None
    return value


def _inner(body: bytes, member: Member | None) -> dict[str, Member]:
    if member is None or body[member.start] != ord("{"):
        return {}
    try:
        return {inner.key: inner for inner in object_members(body, member.start, member.end)}
    except JSONSpanError:
        return {}


def _string(body: bytes, member: Member | None) -> str | None:
    if member is None or body[member.start] != ord('"') or member.end - member.start > 4096:
        return None
    try:
        return decode_string(body, member.start, member.end).text
    except JSONSpanError:
        return None

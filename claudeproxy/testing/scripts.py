"""Scripts: who decides what the mock answers.

A script is any callable that takes a `ReceivedRequest` and returns an `Answer`. `Replies` is the declarative one:
answers in order, some of them bound to a condition. Apart from the server, which only calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from claudeproxy.errors import ClaudeProxyError
from claudeproxy.testing.received import ReceivedRequest
from claudeproxy.testing.replies import Answer

if TYPE_CHECKING:
    from typing import Self

Script: TypeAlias = Callable[[ReceivedRequest], Answer]
Condition: TypeAlias = Callable[[ReceivedRequest], bool]


class NoReplyError(ClaudeProxyError):
    """The script has nothing (more) to say to a request; the text names the request and what is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An answer for the requests that `when` accepts. `times` None: as often as they come."""

    reply: Answer
    when: Condition
    times: int | None = None


class Replies:
    """Answers requests for messages with the first rule that fits, else with the next plain answer, in order.

    ``Replies([text("one"), text("two")]).on(says("weather"), tool_use("Bash", {"command": "date"}), times=1)``
    """

    def __init__(self, answers: Iterable[Answer] = ()) -> None:
        self._answers = list(answers)
        self._next = 0
        self._rules: list[tuple[Rule, list[int]]] = []  # with the numbers of the requests it answered

    def __repr__(self) -> str:
        return f"<Replies rules={len(self._rules)} answers={self._next}/{len(self._answers)} used>"

    def on(self, when: Condition, reply: Answer, *, times: int | None = None) -> Self:
        """Add a rule; rules are tried in the order they were added, before the plain answers."""
        self._rules.append((Rule(reply=reply, when=when, times=times), []))
        return self

    def __call__(self, request: ReceivedRequest) -> Answer:
        """Choose. Raises NoReplyError."""
        for rule, used in self._rules:
            if (rule.times is None or len(used) < rule.times) and rule.when(request):
                used.append(request.number)
                return rule.reply
        if self._next < len(self._answers):
            self._next += 1
            return self._answers[self._next - 1]
        raise NoReplyError(
            f"The mock's script has no reply for request {request.number}: {request.method} {request.target}, "
            f"last user text {request.prompt[:80]!r}. All {len(self._answers)} plain answers are used and none of "
            f"{len(self._rules)} rules fits: add an answer, or a rule with on(...)."
        )


def always(answer: Answer) -> Script:
    """Give the same answer to everybody."""
    return lambda _request: answer


def says(words: str) -> Condition:
    """Accept requests whose last user text contains `words`."""
    return lambda request: words in request.prompt


def has_result(call_id: str) -> Condition:
    """Accept requests that bring the result of this tool call."""
    return lambda request: call_id in request.tool_results


def has_tools(request: ReceivedRequest) -> bool:
    """Accept conversations, not side calls: those of the client that carry tools."""
    return bool(request.json.get("tools"))

"""A recorder's work on billed conversations, and the question that must always be answered with yes: does it add up?"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from claudeproxy.attribution.engine import AttributionEngine
from claudeproxy.explaining import Explainer, outcome_of
from claudeproxy.model import Accuracy, Answer, State, Usage
from claudeproxy.store.numbers import CLASSES
from tests.store.exchanges import exchange, in_flight, response

if TYPE_CHECKING:
    from claudeproxy.accounting.prices import PriceBook
    from claudeproxy.model import RecordedExchange
    from claudeproxy.store.storage import CaptureStorage

JSON = ((b"content-type", b"application/json"),)
HEADERS = ((b"user-agent", b"claude-cli/2.1.330 (external, cli)"), (b"x-claude-code-session-id", b"s"))


class Recorder:
    """Stores and explains exchanges in the order in which they are sent, as the recorder process does."""

    def __init__(self, storage: CaptureStorage, *, prices: PriceBook | None = None) -> None:
        self.storage = storage
        self.prices = prices
        self.sent = 0
        self.restart()

    def restart(self) -> None:
        """A new process: what is known is what was saved."""
        self.explainer = Explainer(self.storage, AttributionEngine(), prices=self.prices)

    def begin(self, body: bytes, *, path: str = "/v1/messages") -> int:
        """The request is out; return its number."""
        number = self.sent
        self.sent += 1
        url = f"https://api.anthropic.com{path}"
        self._tell(in_flight(number, body, headers=HEADERS, url=url, upstream_url=url))
        return number

    def end(
        self,
        number: int,
        body: bytes,
        usage: Usage | None,
        answer: Answer | None = None,
        *,
        state: State = State.COMPLETE,
        status: int = 200,
        path: str = "/v1/messages",
    ) -> str:
        """The answer is in, or what there was of it; return the request's id."""
        said = replace(answer or Answer(), usage=usage or Usage())
        body_said = json.dumps({**(said.message or {}), **_bill_json(said)}).encode()
        got = response(body_said, number=number, answer=said, status_code=status, headers=JSON)
        url = f"https://api.anthropic.com{path}"
        return self._tell(exchange(number, body, headers=HEADERS, url=url, upstream_url=url, state=state, response=got))

    def send(self, body: bytes, usage: Usage | None, answer: Answer | None = None, **more: object) -> str:
        """Both, at once."""
        number = self.sent
        self.sent += 1
        return self.end(number, body, usage, answer, **more)  # type: ignore[arg-type]

    def _tell(self, told: RecordedExchange) -> str:
        (request_id,) = self.storage.record([told], {})
        if not self.storage.is_attributed(request_id):
            outcome = None if told.state is State.IN_FLIGHT else outcome_of(told)
            self.explainer.explain(
                request_id,
                told.request_body.data or b"",
                told.headers,
                began=told.instants.request_initiated,
                url=told.url,
                outcome=outcome,
            )
        else:
            self.explainer.settle(request_id, told)
        assert self.explainer.errors == 0
        return request_id


def _bill_json(answer: Answer) -> dict[str, object]:
    """The bill as the answer's body has it; a count's answer is nothing else."""
    usage = answer.usage
    if answer.message is None:
        return {} if usage.input_tokens is None else {"input_tokens": usage.input_tokens}
    bill: dict[str, object] = json.loads(usage.raw) if usage.raw else {"input_tokens": usage.input_tokens}
    return {"type": "message", "stop_reason": answer.stop_reason, "usage": bill}


def check_sums(storage: CaptureStorage, request_id: str, billed: int | None = None) -> None:
    """Everything that is said of a request says the same: pieces, sources, the total, the bill, the cost."""
    request = storage.get_request(request_id)
    pieces = storage.attributions(request_id)
    prompt = [piece for piece in pieces if piece.kind != "output"]
    sources, outputs = storage.sources(request_id), storage.sources(request_id, output=True)
    total = request.total_tokens
    assert total == sum(piece.token_count for piece in prompt) == sum(source.token_count for source in sources)
    assert min((piece.token_count for piece in prompt), default=0) >= 0
    if billed is not None:
        assert (total, request.accuracy, request.expected_error) == (billed, Accuracy.EXACT, None)
    by_source: dict[object, list[object]] = {}
    for piece in pieces:
        found = by_source.setdefault(piece.source, [0, 0, 0])
        found[0] += piece.token_count
        found[1] = None if piece.cost is None or found[1] is None else found[1] + piece.cost
        found[2] += 1
    assert {one.source: (one.token_count, one.cost) for one in (*sources, *outputs)} == {
        source: (tokens, cost) for source, (tokens, cost, _) in by_source.items()
    }
    held = storage._connection.execute(
        "SELECT sum(segments) FROM request_sources WHERE request = (SELECT n FROM requests WHERE id = ?)", (request_id,)
    ).fetchone()[0]
    assert (held or 0) == len(pieces)
    if request.cost is None:
        assert request.cost_note is not None or request.state is State.IN_FLIGHT
    else:
        assert request.cost == sum(piece.cost for piece in pieces) == sum(one.cost for one in (*sources, *outputs))
        usage = storage.get_response(request_id).usage
        assert {piece.price_class for piece in pieces} <= {"read", "write_1h", "write_5m", "uncached", "output"}
        assert {piece.price_class for piece in prompt if piece.kind != "output"} <= {*CLASSES}
        assert sum(one.token_count for one in outputs) == (usage.output_tokens or 0)

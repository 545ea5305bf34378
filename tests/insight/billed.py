"""Conversations of the testing package, recorded and explained with the bills that its API would have sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from claudeproxy.attribution.engine import AttributionEngine
from claudeproxy.explaining import Explainer, outcome_of
from claudeproxy.model import Answer, Instants, State
from claudeproxy.sansio.answer import read_usage
from claudeproxy.testing.bill import PromptBill, PromptCache, prompt_blocks
from tests.store.exchanges import SECOND, START, exchange, response

if TYPE_CHECKING:
    from collections.abc import Iterable

    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.testing.client import Turn

MINUTE = 60 * SECOND
TAIL = 7  # tokens that this API adds after the last block
KNOWN = b"claude-opus-4-6"  # a model that price lists have


class Biller:
    """Sends requests one after the other, a minute apart; the cache forgets after `pause`."""

    def __init__(self, storage: CaptureStorage, *, start: int = START) -> None:
        self.storage = storage
        self.explainer = Explainer(storage, AttributionEngine())
        self.cache = PromptCache(minimum=100)
        self.sent = 0
        self.now = start

    def pause(self, minutes: int) -> None:
        """Let time pass."""
        self.now += minutes * MINUTE

    def send(
        self,
        body: bytes,
        headers: tuple[tuple[bytes, bytes], ...],
        content: list[dict[str, object]],
        *,
        message_id: str | None = None,
        answered: bool = True,
        state: State = State.COMPLETE,
        fields: tuple[tuple[bytes, bytes], ...] = (),
    ) -> str:
        """Record and explain one exchange; return the request's id."""
        request = json.loads(body)
        bill = self.cache.bill(str(request["model"]), prompt_blocks(request), now=self.now / SECOND)
        whole = PromptBill(
            input_tokens=bill.input_tokens + TAIL,
            cache_read=bill.cache_read,
            created_5m=bill.created_5m,
            created_1h=bill.created_1h,
        )
        output = sum(one.tokens for one in prompt_blocks({"messages": [{"role": "assistant", "content": content}]}))
        usage = read_usage({**whole.usage(), "output_tokens": output})
        message = {"type": "message", "role": "assistant", "content": content}
        answer = Answer(message=message, message_id=message_id, stop_reason="end_turn", usage=usage)
        given = exchange(
            self.sent,
            body,
            headers=headers,
            state=state,
            instants=Instants(
                request_initiated=self.now,
                proxy_received=self.now,
                forwarded=self.now,
                response_received=self.now + SECOND,
                delivered=self.now + 20 * SECOND,
            ),
            response=response(number=self.sent, answer=answer, headers=fields) if answered else None,
        )
        self.sent += 1
        self.now += MINUTE
        (request_id,) = self.storage.record([given], {})
        self.explainer.explain(
            request_id,
            body,
            headers,
            began=given.instants.request_initiated,
            url=given.url,
            outcome=outcome_of(given),
        )
        assert self.explainer.errors == 0
        return request_id

    def talk(self, turns: Iterable[Turn], *, model: bytes | None = KNOWN) -> list[str]:
        """Send a conversation, to a model of one's choice."""
        ids = []
        for turn in turns:
            own = json.loads(turn.body)["model"].encode()
            body = turn.body if model is None else turn.body.replace(b'"' + own + b'"', b'"' + model + b'"', 1)
            content = [_block(block) for block in turn.reply.content]
            ids.append(self.send(body, turn.headers, content, message_id=turn.reply.message_id))
        return ids


def _block(block: object) -> dict[str, object]:
    from claudeproxy.testing.shapes import as_json

    return dict(as_json(block))

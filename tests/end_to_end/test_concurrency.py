"""A hundred clients at once: nobody gets, and no record holds, a byte of somebody else's."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from claudeproxy.model import State
from claudeproxy.testing import Gate, Pace, Reply, Text
from tests.support.service import PATIENCE, ask, captured, mocking, prompt, raw, serving

if TYPE_CHECKING:
    from pathlib import Path

    from claudeproxy.testing import ReceivedRequest
    from tests.support.service import Mode

CLIENTS = 100


def _words(number: str) -> str:
    """A text of its own for each client, some kilobytes long."""
    return " ".join(hashlib.sha256(f"{number} {line}".encode()).hexdigest() for line in range(30))


@pytest.mark.parametrize("mode", [pytest.param("reverse", marks=pytest.mark.heavy), "connect"])
async def test_a_hundred_streams_at_once_are_kept_apart(home: Path, mode: Mode) -> None:
    gate = Gate()

    def script(request: ReceivedRequest) -> Reply:
        number = request.prompt.split()[0]
        return Reply(content=(Text(text=_words(number)),), message_id=f"msg_{number}", pace=Pace(gate=gate))

    async with mocking(script) as mock:
        bodies = [prompt(f"{number} {_words(str(-number))}", stream=True) for number in range(CLIENTS)]
        got: dict[int, bytes] = {}
        async with serving(home, mock.url, recorder="process") as running:
            async with running.client(mode) as client:
                client._transport._pool._max_connections = CLIENTS  # type: ignore[attr-defined]

                async def one(number: int) -> None:
                    response = await ask(client, bodies[number])
                    assert response.status_code == 200
                    got[number] = raw(response)

                with trio.fail_after(PATIENCE):
                    async with trio.open_nursery() as nursery:
                        for number in range(CLIENTS):
                            nursery.start_soon(one, number)
                        await gate.wait_arrived(CLIENTS)  # all of them are under way before any gets an event
                        assert running.service is not None
                        assert running.service.health()["proxy"]["exchanges"] == CLIENTS  # type: ignore[index]
                        gate.open()
        async with httpx.AsyncClient(base_url=mock.url, trust_env=False, timeout=PATIENCE) as direct:
            expected = {number: raw(await ask(direct, bodies[number])) for number in range(CLIENTS)}
    assert got == expected
    assert len(set(got.values())) == CLIENTS
    pairs = {pair.body: pair for pair in captured(home)}
    assert pairs.keys() == set(bodies)
    for number, body in enumerate(bodies):
        pair = pairs[body]
        assert pair.request.state is State.COMPLETE
        assert pair.answer == expected[number]
        assert pair.whole.correlation_id == pair.request.correlation_id
        assert pair.whole.message_id == f"msg_{number}"
    assert len({pair.request.id for pair in pairs.values()}) == CLIENTS

"""The check of ``claudeproxy doctor`` that asks what is missing from the record, and why.

Apart from `machine_checks` because it asks the running service too: what was dropped stands in its memory alone. It
changes nothing, and may raise what reading raises: `doctor` turns that into a finding.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from claudeproxy_cli.findings import Check, Status
from claudeproxy_cli.running import find_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claudeproxy_cli.findings import Context
    from claudeproxy_cli.running import RunningServer

_ANSWER_SECONDS: Final = 5.0
_MIB: Final = 1 << 20


def record(context: Context) -> Check:
    """Ask whether everything that passed is recorded and explained."""
    server = find_server(context.home.state_file)
    health = {} if server is None else _health(server, context)
    wrong = list(_of_the_service(health))
    missing = list(_of_the_files(context, running=server is not None))
    if wrong:
        remedy = "look at disk and database above, and into the log; what waits in the journal is recorded by itself"
        return Check(name="record", status=Status.FAIL, detail="; ".join([*wrong, *missing]), remedy=remedy)
    if missing:
        remedy = "claudeproxy metrics rebuild tries again what failed; a newer version does so by itself"
        return Check(name="record", status=Status.WARN, detail="; ".join(missing), remedy=remedy)
    return Check(name="record", status=Status.OK, detail="nothing is missing, as far as anybody remembers")


def _health(server: RunningServer, context: Context) -> Mapping[str, object]:
    """What the running service says; empty where it is not to be asked (no API, a token that we do not have)."""
    import http.client

    if server.api is None:
        return {}
    from claudeproxy_cli.running import reachable

    token = context.config.api_token
    headers = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
    connection = http.client.HTTPConnection(*reachable(server.api), timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", "/api/claude/health", headers=headers)
        answer = connection.getresponse()
        said = json.loads(answer.read()) if answer.status == 200 else {}
    except (http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()
    return said if isinstance(said, Mapping) else {}


def _of_the_service(health: Mapping[str, object]) -> Iterator[str]:
    capture, recorder = _part(health, "capture"), _part(health, "recorder")
    if lost := _number(capture, "lost"):
        yield f"{_some(lost, 'exchange')} since the start {_were(lost)} not recorded at all"
    if dropped := _number(capture, "dropped"):
        yield f"{_some(dropped, 'exchange')} since the start {_were(dropped)} recorded without bodies"
    if lost or dropped:
        reason = _part(capture, "journal").get("last_error")
        yield f"last reason: {reason or 'the journal was full, or the disk nearly'}"
    for worker in (one for one in _list(health, "workers") if not one.get("serves")):
        yield f"worker {worker.get('worker')} does not serve; the log says why"
    if _number(recorder, "deaths") or _number(recorder, "failures"):
        yield f"the recorder cannot work: {recorder.get('last_error') or 'it does not start; the log says why'}"
    if discarded := _number(recorder, "discarded"):
        yield f"{_some(discarded, 'exchange')} could neither be recorded nor set aside"


def _of_the_files(context: Context, *, running: bool) -> Iterator[str]:
    from claudeproxy.capture.quarantine import Quarantine

    aside = Quarantine(context.home.quarantine, "").statistics()
    if aside.exchanges:
        where = f"{context.home.quarantine}, {aside.bytes / _MIB:.1f} MiB"
        yield f"{_some(aside.exchanges, 'exchange')} that cannot be recorded set aside in {where}"
    if context.home.database.exists():
        yield from _of_the_database(context)
    waiting = sum(file.stat().st_size for file in context.config.journal_path.glob("*/*.journal"))
    if waiting and not running:
        yield f"{waiting / _MIB:.1f} MiB in the journal are recorded at the next start"


def _of_the_database(context: Context) -> Iterator[str]:
    from claudeproxy.store.storage import CaptureStorage

    with CaptureStorage(context.home.database, read_only=True) as storage:
        for part, count in storage.unfinished().items():
            yield f"{_some(count, 'capture')} without {part}: it failed"
        if dropped := storage.without_bodies():
            yield f"{_some(dropped, 'capture')} without bodies, for which there was no room"


def _part(said: Mapping[str, object], name: str) -> Mapping[str, object]:
    part = said.get(name)
    return part if isinstance(part, Mapping) else {}


def _list(said: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    found = said.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _number(said: Mapping[str, object], name: str) -> int:
    value = said.get(name)
    return value if isinstance(value, int) else 0


def _some(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"

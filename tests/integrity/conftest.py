"""The `row` fixture, and a home for each test as in tests/end_to_end."""

from __future__ import annotations

import json
import os
import ssl
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import pytest
import trustme

from tests.end_to_end.conftest import clean_environment
from tests.integrity.page import PAGE, Row, published

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from tests.integrity.drive import Scene
    from tests.integrity.house import House
    from tests.support.faulty_upstream import FaultyUpstream

__all__ = ["clean_environment"]

pytest.register_assert_rewrite("tests.integrity.drive", "tests.integrity.house")

COLLECTING = "INTEGRITY_ROWS"
"""Names the file that rows are appended to: then they are collected, not compared."""


class SayRow(Protocol):
    """What `row` is."""

    def __call__(
        self, section: str, fault: str, mode: str, *, client: str, record: str, proxy: str = "goes on"
    ) -> None:
        """Say what was seen: short words made from observed values. `section` is one of `page.SECTIONS`."""
        ...


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home without anything in it."""
    return tmp_path / "home"


@pytest.fixture
def row(request: pytest.FixtureRequest) -> SayRow:
    """Say what was seen, at the end of a test; fails unless the committed page says the same."""

    def say(section: str, fault: str, mode: str, *, client: str, record: str, proxy: str = "goes on") -> None:
        seen = Row(section=section, fault=fault, mode=mode, client=client, record=record, proxy=proxy)
        if collected := os.environ.get(COLLECTING):
            # The place among all tests orders the page; one write a row, so that parallel workers do not mix them.
            line = json.dumps({"place": request.session.items.index(request.node), **asdict(seen)}) + "\n"
            with open(collected, "ab", buffering=0) as file:
                file.write(line.encode())
            return
        known = [one for one in published() if one.key == seen.key]
        assert known == [seen], f"{PAGE.name} is stale: run `uv run python -m tests.integrity`"

    return say


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note a test that cannot run on this machine: then the page may have rows that nobody saw here."""
    report = yield
    if report.skipped and (collected := os.environ.get(COLLECTING)):
        with open(collected, "ab", buffering=0) as file:
            file.write(json.dumps({"skipped": item.nodeid}).encode() + b"\n")
    return report


@pytest.fixture(scope="module")
def upstream_authority() -> trustme.CA:
    """Whom the service trusts for its upstream."""
    return trustme.CA()


@pytest.fixture(scope="module")
def upstream() -> Iterator[FaultyUpstream]:
    """The port behind `house`."""
    from tests.support.faulty_upstream import FaultyUpstream

    upstream = FaultyUpstream("https")
    yield upstream
    upstream.close()


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, upstream: FaultyUpstream, upstream_authority: trustme.CA
) -> Iterator[House]:
    """One service for all tests of a module; at its end nothing may have gone wrong unseen."""
    from tests.integrity.house import House

    place = tmp_path_factory.mktemp("house")
    upstream_authority.cert_pem.write_to_path(str(place / "upstream.pem"))
    house = House(place / "home", upstream.url, upstream_ca=place / "upstream.pem")
    house.start()
    yield house
    house.stop()


@pytest.fixture(scope="module")
def contexts(upstream_authority: trustme.CA) -> dict[str, ssl.SSLContext | None]:
    """What an upstream can show for itself; None: it speaks no TLS."""
    stranger, yesterday = trustme.CA(), datetime.now(UTC) - timedelta(days=1)
    issued = {
        "good": upstream_authority.issue_cert("127.0.0.1"),
        "of an unknown authority": stranger.issue_cert("127.0.0.1"),
        "of another host": upstream_authority.issue_cert("api.example.com"),
        "expired": upstream_authority.issue_cert("127.0.0.1", not_after=yesterday),
    }
    contexts: dict[str, ssl.SSLContext | None] = {"none": None}
    for name, certificate in issued.items():
        context = contexts[name] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(context)
    return contexts


@pytest.fixture
def scene(house: House, upstream: FaultyUpstream, contexts: dict[str, ssl.SSLContext | None], row: SayRow) -> Scene:
    """The service and its upstream."""
    from tests.integrity.drive import Scene

    return Scene(house=house, upstream=upstream, contexts=contexts, row=row)

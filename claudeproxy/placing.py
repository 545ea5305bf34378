"""What is done about secrets after they are stored: their sources looked up, their bytes taken out of the journal.

Apart from `recording`, which stores and explains, because it is done at leisure and fails without harm. A secret that
only the recorder could mask (a stream spelled it over several events) went through the journal in clear: what is
recorded of the journal is then overwritten, as after a purge.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from claudeproxy.capture.erase import JournalEraser
from claudeproxy.capture.looking import SecretLook
from claudeproxy.capture.recorder import MAX_DECODED_BYTES
from claudeproxy.detecting import OFF, REDACT, secret_finder
from claudeproxy.errors import StorageError
from claudeproxy.logs import get_logger
from claudeproxy.model import State
from claudeproxy.store.secrets import SecretPlaces

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from claudeproxy.model import RecordedExchange
    from claudeproxy.store.storage import CaptureStorage

log = get_logger("claudeproxy.secrets")


class SecretWork:
    """Over a writable storage and the root of the journals that its captures come from. Nothing is raised."""

    def __init__(self, storage: CaptureStorage, journal: Path) -> None:
        self._storage = storage
        self._places = SecretPlaces(storage)
        self._eraser = JournalEraser(journal)
        self._behind = True  # a process before this one may have left some
        self._unclean = False
        self.found = 0  # in exchanges that ended since the start

    def stored(self, exchanges: Iterable[RecordedExchange]) -> None:
        """Take note of what was stored."""
        for exchange in exchanges:
            self.found += len(exchange.secrets) if exchange.state is not State.IN_FLIGHT else 0
            self._behind = self._behind or bool(exchange.secrets)
            self._unclean = self._unclean or exchange.secrets_in_journal

    def catch_up(self) -> bool:
        """Do a little of what is to be done; tell whether there is more."""
        try:
            if self._unclean:  # from now on: the cursor may stand still for as long as something older runs
                self._eraser.erase(self._storage.cursors())
            if self._behind:
                self._behind = self._places.catch_up()
        except StorageError as error:
            self._behind = False  # tried again with the next finding, or by the next process
            log.warning("sources of secrets not looked up yet", error=str(error))
        return self._behind


def secret_look(
    mode: str, files: Sequence[str], secret_path: str, *, max_decoded: int = MAX_DECODED_BYTES
) -> SecretLook | None:
    """The recorder's look at bodies, None where it is off. Raises as `detecting.secret_finder`.

    :param max_decoded: what a body's content coding may expand to, in bytes.
    """
    if mode == OFF:
        return None
    finder = secret_finder(files, Path(secret_path))
    return SecretLook(finder, redact=mode == REDACT, max_decoded=max_decoded)

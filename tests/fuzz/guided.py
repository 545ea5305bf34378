"""One target under libFuzzer, for as long as it is told. Apart because atheris must be there before what it watches."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]  # in the group `fuzz` only

if TYPE_CHECKING:
    from collections.abc import Sequence


def fuzz(name: str, options: Sequence[str]) -> None:
    """Fuzz until the budget in `options` is spent or something is found; then the process ends."""
    # What is watched for new branches: our parsers and h11, not the tests and not the libraries of the libraries.
    with atheris.instrument_imports(include=["claudeproxy", "h11"]):
        from tests.fuzz.registry import TARGETS
    atheris.Setup([sys.argv[0], *options], TARGETS[name].check)
    atheris.Fuzz()

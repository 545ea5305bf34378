"""Keeps a process that runs for weeks small: what is freed goes back to the system, what is dropped is found soon.

Apart because it is about the C library and the collector, not about what we do; for processes of our own only, since
both are settings of a whole process. glibc takes a large block straight from the system and returns it when it
is freed, but raises the size from which it does so to that of the largest block freed so far (mallopt(3),
M_MMAP_THRESHOLD): after one body of 8 MB all smaller ones come from a heap that hardly ever shrinks.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Final

# From malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3

LARGE: Final = 256 * 1024  # bytes; above what is read from a socket at once, which stays on the heap


def return_large_blocks() -> bool:
    """Fix the threshold, for this process; whether the C library knows of it (glibc does)."""
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl has no such call, and returns large blocks anyway
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE)) and bool(mallopt(_M_TRIM_THRESHOLD, LARGE))


def forget_loaded() -> None:
    """Let the collector look no more at what is loaded now: call it once, when the process is ready.

    It looks at old objects when a quarter as many new ones have grown old. Beside the 200,000 of our modules a hundred
    connections that ended (each a cycle, with the buffers of its TLS) do not count, and stay for a quarter of an hour.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # this one counts what is left: hardly anything


def spare_rich() -> None:
    """Let nothing load rich from here on: call it first, in a process that draws nothing.

    structlog takes it wherever it finds it (Typer brings it), for tracebacks in colours that we do not use: 80 modules,
    5 MB.
    """
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]  # import_(system): None means "there is none"

"""How many files and sockets the system lets us have open, and how many connections need.

Apart because `serve` raises the limit at its start and `doctor` says when it is too low for the configuration.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

# A connection takes two at most, one on each leg. Beside them: the pool of idle upstream connections, the API's
# connections, the databases of its readers, the journal, the listeners.
_EACH: Final = 2
_BESIDE: Final = 256
_MOST: Final = 1 << 20  # where the hard limit is beyond all measure, what depends on its size must not suffer


def needed(max_connections: int) -> int:
    """How many descriptors that many connections take."""
    return _EACH * max_connections + _BESIDE


def raise_limit() -> None:
    """Raise the limit of this process as far as the system lets it."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    while soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS refuses more than kern.maxfilesperproc
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return
        wanted //= 2


def obtainable() -> int | None:
    """How many descriptors a process of ours can have; None where there is no limit."""
    try:
        import resource
    except ImportError:
        return None
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return None if hard == resource.RLIM_INFINITY else hard

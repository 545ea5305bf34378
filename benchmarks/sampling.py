"""Memory and descriptors of processes over time, and how steep they rise. Reads /proc, so Linux only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one process holds: resident bytes, the most it ever held, descriptors, CPU seconds."""

    resident: int
    peak: int
    descriptors: int
    cpu: float


def usage(pid: int) -> Usage | None:
    """Look at a process; None when it is gone."""
    process = Path(f"/proc/{pid}")
    try:
        resident = int((process / "statm").read_text().split()[1]) * _PAGE
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        return Usage(
            resident=resident,
            peak=int(status.get("VmHWM", "0 kB").split()[0]) * 1024,
            descriptors=len(os.listdir(process / "fd")),
            cpu=(int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        )
    except (OSError, ValueError, IndexError):
        return None


def forget_peak(pid: int) -> None:
    """Let the peak of a process begin anew (``echo 5 > clear_refs``, proc(5))."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def children(pid: int) -> list[int]:
    """Return the processes that a process started and that live."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(entry.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.parent.name))
        except (OSError, ValueError, IndexError):
            continue
    return found


def recorder_of(pid: int) -> int | None:
    """The recorder that a ``claudeproxy serve`` started; None while there is none."""
    for child in children(pid):
        command = Path(f"/proc/{child}/cmdline").read_bytes()
        if b"claudeproxy.recording" in command.split(b"\0"):
            return child
    return None


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the least-squares rise of y for one of x; 0 of fewer than two points."""
    if len(points) < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0

"""Draws sampled stacks as an SVG flame graph: the root on top, a frame as wide as its share of the samples.

Apart from `flamegraph.py`, which samples. By hand and without scripts, so that the file is small, can be shown on a
page and differs only where the program does: frames are named by function and module, without lines and paths.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WIDTH, ROW, TOP = 1200, 16, 44
LEAST = 0.002  # share of the samples below which a frame is not drawn
LETTER = 6.3  # pixels
COLOURS = (
    ("claudeproxy.", "#7fb2e5"), ("trio.", "#f2b880"), ("ssl", "#c9a0dc"), ("OpenSSL.", "#c9a0dc"), ("h11.", "#a8d5a2"),
    ("tiktoken.", "#e59a9a"), ("", "#d6d6d6"),
)  # fmt: skip
# Where threads wait. A sampler that looks from outside cannot always tell that from work.
WAITS = (
    "_io_epoll EpollIOManager.get_events", "_thread_cache WorkerThread._work", "_PollLikeSelector.select", " wait",
)  # fmt: skip
_FRAME = re.compile(r"(?P<function>.+) \((?P<file>[^()]*?)(?::\d+)?\)$")
_PATH = re.compile(r"^.*(?:site-packages/|lib/python\d\.\d+/(?:lib-dynload/)?|(?=claudeproxy(?:_cli)?/))")


@dataclass(slots=True)
class Frame:
    """A frame with what it called; `samples` include those."""

    samples: int = 0
    called: dict[str, Frame] = field(default_factory=dict)


def folded(lines: Iterable[str]) -> Frame:
    """Add up lines ``frame;frame;frame COUNT``, the outermost first; those that end in a wait are left out."""
    root = Frame()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        names = [named(frame) for frame in stack.split(";")]
        if names[-1].endswith(WAITS):
            continue
        frame = root
        frame.samples += int(count)
        for name in names:
            frame = frame.called.setdefault(name, Frame())
            frame.samples += int(count)
    return root


def above_trunk(root: Frame) -> Frame:
    """Return the frame where calls first part: what stands before it is in every sample."""
    while len(root.called) == 1:
        (only,) = root.called.values()
        if only.samples < root.samples or not only.called:
            break
        root = only
    return root


def named(frame: str) -> str:
    """``function (path/module.py:12)`` as ``package.module function``."""
    found = _FRAME.match(frame)
    if found is None:
        return frame
    module = _PATH.sub("", found["file"]).removesuffix(".py").removesuffix("/__init__").lstrip("/.").replace("/", ".")
    return f"{module} {found['function']}"


def flames(title: str, root: Frame) -> str:
    """Return the SVG document, without what is in every sample."""
    root = above_trunk(root)
    boxes = list(_boxes(root, 0, 0, root.samples or 1))
    depth = max((level for level, *_ in boxes), default=0)
    height = TOP + (depth + 1) * ROW + 8
    box = f'viewBox="0 0 {WIDTH} {height}" font-family="monospace" font-size="10.5"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="8" y="18" font-size="14" font-weight="bold">{escape(title)}</text>',
        f'<text x="8" y="34">{root.samples} samples; frames under {LEAST:.1%} are left out</text>',
    ]
    for level, name, start, samples in boxes:
        x, width = WIDTH * start / root.samples, WIDTH * samples / root.samples
        y = TOP + level * ROW
        colour = next(colour for prefix, colour in COLOURS if name.startswith(prefix))
        share = f"{100 * samples / root.samples:.1f} %"
        place = f'x="{x:.1f}" y="{y}" width="{width - 0.4:.1f}" height="{ROW - 1}"'
        drawn = f'<g><title>{escape(name)}: {share}</title><rect {place} fill="{colour}"/>'
        if (room := int((width - 4) / LETTER)) >= 4:
            short = name.rpartition(" ")[2] if len(name) > room else name
            drawn += f'<text x="{x + 2:.1f}" y="{y + 11}">{escape(short[:room])}</text>'
        parts.append(drawn + "</g>")
    return "\n".join([*parts, "</svg>", ""])


def _boxes(frame: Frame, level: int, start: int, whole: int) -> Iterator[tuple[int, str, int, int]]:
    """Yield (level, name, samples before it, samples) of what is wide enough, callers first, by name."""
    for name, called in sorted(frame.called.items()):
        if called.samples >= LEAST * whole:
            yield level, name, start, called.samples
            yield from _boxes(called, level + 1, start, whole)
        start += called.samples


def heaviest(root: Frame, number: int = 12) -> list[tuple[str, float]]:
    """Return the functions in which most samples were taken, themselves and not what they called: share of all."""
    own: dict[str, int] = {}

    def walk(name: str, frame: Frame) -> None:
        left = frame.samples - sum(called.samples for called in frame.called.values())
        own[name] = own.get(name, 0) + left
        for below, called in frame.called.items():
            walk(below, called)

    for name, frame in root.called.items():
        walk(name, frame)
    ranked = sorted(own.items(), key=lambda item: -item[1])[:number]
    return [(name, samples / (root.samples or 1)) for name, samples in ranked]

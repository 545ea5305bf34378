"""What a node knows of where its block stands, in one integer.

Apart because the tree, the skeleton and the SQL view ``context_attributions`` read it alike:

====== ==== =====================================================================================================
bits   size meaning
====== ==== =====================================================================================================
0-1    2    section: 0 tools, 1 system, 2 messages
2      1    the block opens a message
3      1    the block is masked: new in every request; a placeholder stands for it, the skeleton has its bytes
4-15   12   items of its array that were skipped before it (they are no blocks)
16-32  17   messages without any block that were skipped before it
33-    30   role, as numbered in table ``roles``
====== ==== =====================================================================================================

Without the section and the opening bit ``[user A][assistant B]`` and ``[user A, B]`` would be one path; with the
skipped items the path alone gives every block's index.
"""

from __future__ import annotations

from claudeproxy.sansio.messages import Section

SECTIONS = (Section.TOOLS, Section.SYSTEM, Section.MESSAGES)
MESSAGES = SECTIONS.index(Section.MESSAGES)
OPENS = 1 << 2
MASKED = 1 << 3
MAX_ITEMS_SKIPPED = (1 << 12) - 1
MAX_MESSAGES_SKIPPED = (1 << 17) - 1
ROLE_SHIFT = 33


def pack(*, section: int, opens: bool, masked: bool, items_skipped: int, messages_skipped: int, role: int) -> int:
    """Make a place.

    :raises ValueError: when more was skipped than there are bits for.
    """
    if not (0 <= items_skipped <= MAX_ITEMS_SKIPPED and 0 <= messages_skipped <= MAX_MESSAGES_SKIPPED):
        raise ValueError(f"{items_skipped} items and {messages_skipped} messages that hold no block")
    return (
        section
        | (OPENS if opens else 0)
        | (MASKED if masked else 0)
        | items_skipped << 4
        | messages_skipped << 16
        | role << ROLE_SHIFT
    )


def section_of(place: int) -> int:
    """Return the section's number, an index into `SECTIONS`."""
    return place & 3

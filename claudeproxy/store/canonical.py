"""The second hash: conversations that mean the same are the same, whatever their bytes.

Apart from the hash that blocks are stored under, and never mixed with it: that one proves bytes, this one finds
relatives. A bare string counts as the one text block that it stands for, the order of keys and the spelling of
characters do not count; `cache_control` is not part of a stored block. Only messages are linked: tools that were loaded
in mid-conversation and a system prompt that changed leave it the same conversation.
"""

from __future__ import annotations

import json
from hashlib import blake2b

SIZE = 8  # bytes: relatives are looked for among one machine's requests, and each node pays for it
START = bytes(SIZE)


def canonical_digest(block: bytes) -> bytes:
    """Return the hash of a block's meaning; of its bytes where it is no JSON."""
    try:
        value: object = json.loads(block)
    except (ValueError, RecursionError):
        return blake2b(block, digest_size=SIZE).digest()
    if isinstance(value, str):
        value = {"type": "text", "text": value}
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=SIZE).digest()


def link(chain: bytes, digest: bytes, *, role: int, opens: bool) -> bytes:
    """Return the chain after one more block; `role` is its number, `opens` whether a message begins with it."""
    return blake2b(chain + digest + b"%d.%d" % (role, opens), digest_size=SIZE).digest()

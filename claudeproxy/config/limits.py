"""The bounds: what a peer may take of memory, descriptors, time and disk, each with the reason for its default.

Apart from the other keys because they are read together: together they bound what the proxy takes.
"""

# No `from __future__ import annotations`: pydantic reads these annotations when the class is made.

from pydantic import Field

from claudeproxy.config.fields import Size
from claudeproxy.config.keys import Keys


class Limits(Keys):
    """The keys with the bounds on sizes, numbers and seconds."""

    max_body_bytes: Size = Field(
        64 << 20,
        ge=1 << 10,
        description="Larger bodies are forwarded whole and recorded by length and SHA-256. "
        "64MiB: twice what the API takes.",
    )
    max_websocket_messages: int = Field(
        100_000,
        ge=1,
        description="Messages of one WebSocket that are recorded; further ones are passed on, and the record says so. "
        "100,000: hours of ten a second. Of the bytes of each direction `max_body_bytes` are recorded.",
    )
    max_message_bytes: Size = Field(
        16 << 20,
        ge=1 << 10,
        description="Of a larger WebSocket message, decompressed, the beginning is recorded. "
        "16MiB: sixteen times what servers take.",
    )
    journal_max_bytes: Size = Field(
        1 << 30,
        ge=64 << 20,
        description="Room for what is not stored yet. When it is full, exchanges are dropped and counted. "
        "1GiB: hours without a recorder.",
    )
    max_head_bytes: Size = Field(
        64 << 10,
        ge=8 << 10,
        le=1 << 20,
        description="Largest head of a request or response. 64KiB: four times what servers take; beyond it 431.",
    )
    max_header_fields: int = Field(
        200, ge=20, description="Fields of a head. 200: a client sends some 30, servers take 100; beyond it 431."
    )
    max_connections: int = Field(
        1000,
        ge=1,
        description="Clients at a time. For a further one the connection that lay unused longest is closed; while all "
        "are in use it waits. 1,000: at most 0.4 MB each (docs/reference/limits.md), and two descriptors.",
    )
    max_connections_per_client: int = Field(
        800,
        ge=1,
        description="Of one address; for a further one its own longest unused is closed, or it is refused. "
        "800: on one machine all clients share an address, and one that loses connections leaves room for others.",
    )
    max_decoded_bytes: Size = Field(
        128 << 20,
        ge=1 << 20,
        description="Of a compressed body that grows larger than this, the compressed bytes are the record. "
        "128MiB: twice `max_body_bytes`, and a bomb that is noticed.",
    )
    head_timeout: float = Field(
        30.0, gt=0, description="Seconds from the first byte of a head to its last. 30: no client needs one."
    )
    connect_timeout: float = Field(
        10.0, gt=0, description="Seconds for name, TCP and TLS to the upstream. 10: clients give up after as long."
    )
    handshake_timeout: float = Field(
        15.0, gt=0, description="Seconds a client has for its TLS handshake. 15: a busy machine starts clients slowly."
    )
    idle_timeout: float = Field(
        300.0,
        gt=0,
        description="Seconds a client's connection may lie unused between requests. 300: longer than clients keep "
        "theirs, so that it is they who close. Never applied while an answer is awaited or streams.",
    )
    drain_seconds: float = Field(
        10.0,
        ge=0,
        description="Seconds that running exchanges may take to end after Ctrl-C or TERM; what `docker stop` allows.",
    )

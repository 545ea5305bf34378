"""Keeps what the relay tells until the store has it: tap and journal on one side, the recorder on the other.

In reading order: `redact` and `secret` (what never reaches the disk), `policy` (whose bodies are kept),
`journal_format` (a record, byte by byte), `journal_writer` and `journal_reader`, `heads` (what is written besides
bodies), `tap` (the relay's side: cannot block, cannot raise), `assemble` (an exchange from its records),
`upgraded` and `messages` (a WebSocket likewise), `recorder` and `batch` (the store's side: loses nothing), `locks` and
`wake`. The two sides share files and nothing else, so either may die without the other. Nothing here knows a database.
"""

"""Bytes in, values out: every judgement about what peers and bodies say, without sockets, clocks or threads.

Apart so that the riskiest code of a proxy, its parsers, can be tested with any split of any input. In reading order:
`clienthello` (what a TLS client offers), `target` (who is asked), `headers`, `hops` and `chunked` (HTTP/1.1 framing),
`encoding` and `sse` (decoding for the record), `deflate` and `websocket` (messages after a 101), `jsonspans`,
`contents` and `messages` (where the parts of a prompt lie).
Nothing here reads or writes anything, and `ProtocolError` is the only error that comes out.
"""

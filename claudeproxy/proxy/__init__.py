"""The relay: the only thing in the path of a client's byte.

In reading order: `settings` (what it may be told), `entry` (what a connection is and where it goes: pure decisions),
`sockets` (receive and send), `streams` (look ahead, splice, reset), `dial` and `upstream` (ways to the API, and the
pool), `body`, `exchange`, `relay` and `websocket` (one exchange), `reader` and `session` (the exchanges of one stream),
`connection` (classify, unwrap, classify again), `context` and `server` (all connections), `answers` (what we say
ourselves), `tap` (whom we tell).
Nothing here stores, decodes or interprets a body.
"""

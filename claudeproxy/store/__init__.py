"""Captures remembered: the database, the tree of blocks and nodes in it, and the questions one can ask.

Reading order: `values` (what comes out), `storage` (`CaptureStorage`, the verbs), `migrations` (the schema), then
`skeleton`, `cutting` and `tree` (how a body becomes a path of nodes and comes back byte for byte).
"""

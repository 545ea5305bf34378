"""The proof of attribution on real clients: every planted text, in every request, given to whom it came from.

``uv run python -m tests.accuracy`` drives all versions in both entry modes and writes
docs/reference/attribution-accuracy.md; `test_accuracy` (heavy) does two of them in CI.
"""

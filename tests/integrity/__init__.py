"""What becomes of an exchange when something breaks: one row a fault and a way into the proxy.

Each test breaks something for real and says in its `row` what it saw. The rows are docs/reference/capture-integrity.md,
which `python -m tests.integrity` writes and every test compares itself with.
"""

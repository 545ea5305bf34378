"""Every parser of the product against bytes that nobody chose. `python -m tests.fuzz --help` says how to run it."""

"""Lines of ours that run for an exchange: a count that no machine's load changes, kept in `expected.json`."""

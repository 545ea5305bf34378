"""Secrets for tests: each fits a built-in rule, is told apart from all else, and opens nothing."""

from __future__ import annotations

ANTHROPIC = "sk-ant-api03-" + "dummyPlantedInABody0" * 4
GITHUB = "ghp_" + "dummyPlantedInTheReply" * 2
PEM_LINES = ["dummyPlantedKeyLine0" + letter * 44 for letter in "AbCd"]
PEM = "-----BEGIN RSA PRIVATE KEY-----\n" + "\n".join(PEM_LINES) + "\n-----END RSA PRIVATE KEY-----\n"

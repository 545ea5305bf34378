"""What side calls quote: each form, and what is no side call."""

from __future__ import annotations

import pytest

from claudeproxy.attribution.names import framework
from claudeproxy.attribution.prompts import COMPACT_MINIMUM
from claudeproxy.attribution.sidecalls import FORMS, divide_side_call
from claudeproxy.attribution.spans import Claim
from tests.attribution.bodies import BILLING, IDENTITY, analyze, body, labels, owners, text, tool, user

CLAIM = Claim(source=framework("side call"), kind="prompt", rule="side-call.prompt")
SYSTEM = [text(BILLING), text(IDENTITY), text("Do this one thing.")]


def side_call(words: str):
    return analyze(body(user(text(words)), system=SYSTEM))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.id)
def test_every_form_knows_its_example_and_leaves_its_counter_example(form):
    """As the rules for injected text do."""
    assert {span.claim.rule for span in divide_side_call(form.example, CLAIM)} == {form.id}
    assert divide_side_call(form.counter_example, CLAIM) == []


def test_a_command_and_its_output_are_told_apart():
    """2.0 asks which files a command read."""
    found = side_call("Command: cat planted-command\nOutput: planted-output\n\n")
    assert owners(found, "planted-command") == {("Assistant: tool calls", "quote")}
    assert owners(found, "planted-output") == {("Tool: Bash", "quote")}
    assert labels(found, "Command: ") == {"Framework: side call"}


def test_a_policy_is_the_clients_and_the_command_behind_it_the_models():
    """The last line counts, the examples before it do not."""
    found = side_call("<policy_spec>\n# Prefixes\n\n- planted-example => none\n\nCommand: planted-command")
    assert labels(found, "planted-example") == {"Framework: side call"}
    assert labels(found, "planted-command") == {"Assistant: tool calls"}


def test_a_digest_names_the_speakers():
    """1.0 asks for a title."""
    found = side_call(
        "Please write a 5-10 word title for the following conversation:\n\n[Last 2 of 9 messages]\n\n"
        "User: planted-prompt\n\nplanted-more\n\nClaude: planted-answer\n\n"
        "Respond with the title for the conversation and nothing else."
    )
    assert owners(found, "planted-more") == {("User", "quote")}
    assert owners(found, "planted-answer") == {("Assistant: text", "quote")}
    assert labels(found, "[Last 2") == {"Framework: side call"}


def test_the_same_words_in_a_conversation_are_a_prompt():
    """A person may type any of this."""
    found = analyze(body(user(text("Command: x\nOutput: planted-words")), tools=[tool("Read")]))
    assert owners(found, "planted-words") == {("User", "prompt")}


def test_what_was_added_to_a_request_for_a_summary_is_not_the_clients():
    """The words behind /compact and those of hooks; the client's own example of such words is the client's."""
    request = "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.\n" + "x" * COMPACT_MINIMUM
    example = "\n\nAdditional Instructions:\nplanted-example\n"
    added = f"{example}\n\nAdditional Instructions:\nplanted-words\n\nplanted-hook"
    for end in ("", "\n\nREMINDER: Do NOT call any tools. planted-end"):
        found = analyze(body(user(text("go")), user(text(request + added + end)), tools=[tool("Read"), tool("Bash")]))
        assert owners(found, "planted-words") == owners(found, "planted-hook") == {("User", "instructions")}
        assert labels(found, "planted-example") == {"Framework: compaction request"}
    assert labels(found, "planted-end") == {"Framework: compaction request"}
    found = analyze(body(user(text("go")), user(text(request)), tools=[tool("Read"), tool("Bash")]))
    assert labels(found, "TEXT ONLY") == {"Framework: compaction request"}

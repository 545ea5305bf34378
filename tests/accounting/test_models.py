"""What follows from a model's name."""

from __future__ import annotations

import pytest

from claudeproxy.accounting.models import model_traits, model_version


@pytest.mark.parametrize(
    ("model", "family", "drops"),
    [
        ("claude-3-7-sonnet-20250219", "old", True),
        ("claude-3-opus-latest", "old", True),
        ("claude-opus-4-20250514", "old", True),
        ("claude-opus-4-1-20250805", "old", True),
        ("claude-opus-4-5-20251101", "old", False),
        ("anthropic/claude-opus-4.6", "old", False),
        ("claude-opus-4-7", "new", False),
        ("claude-sonnet-4-5-20250929", "old", True),
        ("us.anthropic.claude-sonnet-4-6-v1:0", "old", False),
        ("claude-sonnet-5", "new", False),
        ("claude-haiku-4-5-20251001", "old", True),
        ("claude-haiku-5-5", "new", False),
        ("claude-opus-5-5[1m]", "new", False),
        ("claude-fable-5-1", "new", False),
        ("something-else", "new", False),
    ],
)
def test_the_name_tells_tokenizer_and_thinking(model, family, drops):
    traits = model_traits(model)
    assert (traits.family, traits.drops_thinking) == (family, drops)


def test_newer_models_see_larger_images():
    assert model_traits("claude-opus-4-6").image_tokens < model_traits("claude-opus-4-7").image_tokens


def test_a_date_is_no_version():
    assert model_version("claude-opus-4-20250514") == ("opus", (4, 0))
    assert model_version("claude-opus-4-5@20251101") == ("opus", (4, 5))

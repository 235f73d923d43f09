"""Rules read the options and nothing else; a scorer that does the same is exposed by them."""

import pytest

from prosopon.arms import ARMS
from prosopon.arms.rules import always_a, always_yes, shortest
from prosopon.evaluation.speakers import ModelSpeaker
from prosopon.evaluation.speaking import NORMALISATIONS, OptionQuestion
from tests.arms.samples import PROMPTS, tiny_lab
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.mark.parametrize(
    ("rule", "options", "scores"),
    [
        (shortest, ("aaa", " b ", "cc"), [0, 1, 0]),
        (shortest, ("ab", "cd"), [1, 1]),
        (always_yes, (" Yes.", "No", "Yesterday", "(yes)"), [1, 0, 0, 1]),
        (always_a, ("A", "B"), [1, 0]),
        (always_a, (" (B)", " (A)"), [0, 1]),
        (always_a, ("A. Tea", "B. Milk"), [1, 0]),
        (always_a, ("A cat", "B"), [0, 0]),
        (always_a, ("A: one\ntwo", "(A) x", "a"), [1, 1, 0]),
    ],
)
def test_rules(rule, options, scores):
    assert rule(options) == scores


def test_the_order_of_the_options_is_no_rule():
    questions = [OptionQuestion(PROMPTS[0], ("B", "A")), OptionQuestion(PROMPTS[0], ("A", "B"))]
    with ARMS.get("always-a").prepare(tiny_lab()).speaking() as speaker:
        first, second = speaker.score(questions)
    for name in NORMALISATIONS:
        assert first.by[name] == second.by[name][::-1] == (0, 1)


def test_a_model_that_only_likes_short_answers_is_exposed():
    model, _ = tiny_model("llama", chat=True)
    tokenizer = tiny_tokenizer(chat=True, merges=False)
    model.lm_head.weight.zero_()  # every token is as likely as any other
    options = [("Yes", "No"), ("a long story", "a tale"), ("No", "Nobody"), ("one", "two")]
    questions = [OptionQuestion(PROMPTS[0], pair) for pair in options]
    found = ModelSpeaker(model, tokenizer).score(questions)
    with ARMS.get("shortest").prepare(tiny_lab()).speaking() as rule:
        exposed = rule.score(questions)

    def winners(scores, name):
        rounded = [[round(score, 3) for score in each.by[name]] for each in scores]
        return [[score == max(pair) for score in pair] for pair in rounded]

    assert winners(found, "summed") == winners(exposed, "summed")
    ties = [[True, True]] * len(options)
    assert winners(found, "per-token") == winners(found, "calibrated") == ties

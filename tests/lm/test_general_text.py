"""General text is what the model itself writes, whole dialogues where it speaks in turns."""

import math
from collections import Counter

import pytest
import torch

from prosopon.data import Encoded, Message, load_bank
from prosopon.errors import ModelError
from prosopon.extraction.light.validation import mean_loss
from prosopon.lm import (
    counted_tokens,
    general_kind,
    general_text,
    opening_tokens,
    sample_general,
)
from prosopon.lm.general_text import fault_of_language, show_general
from prosopon.lm.likelihood import row_log_likelihoods
from prosopon.models import load_model
from tests.tiny import tiny_model


def test_a_chat_model_goes_on_after_its_turn_ends():
    model, tokenizer = load_model("embedded", device="cpu")[:2]
    texts = sample_general(model, tokenizer, count=8, length=64, seed=3)
    end = tokenizer.eos_token_id
    assert len(texts) == 8
    assert all(text.input_ids.count(end) >= 2 for text in texts)
    assert all(set(text.input_ids[text.input_ids.index(end) + 1 :]) != {end} for text in texts)
    # Its own text is likely to it; anything else costs several nats a token.
    assert mean_loss(model, texts) < 1.5


def test_a_plain_model_ends_its_text():
    model, tokenizer = tiny_model("llama", chat=False)
    texts = sample_general(model, tokenizer, count=4, length=32)
    assert all(tokenizer.eos_token_id not in text.input_ids[1:-1] for text in texts)


def test_the_seed_decides_and_the_global_generator_stays():
    model, tokenizer = tiny_model("llama")
    before = torch.random.get_rng_state()
    first, again, other = (
        [text.input_ids for text in sample_general(model, tokenizer, count=3, length=16, seed=s)]
        for s in (0, 0, 1)
    )
    assert first == again != other
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.fixture(scope="module")
def speaker():
    """A tiny model with a chat template, and one that reads the bank's questions as its own."""
    return tiny_model("llama", chat=True)


def test_kinds(speaker, monkeypatch):
    model, tokenizer = speaker
    assert general_kind(*load_model("embedded", device="cpu")[:2]) == "start"  # its own language
    assert general_kind(*tiny_model("llama", chat=False)) == "start"  # no template
    monkeypatch.setattr(general_text, "_kinds", {})
    guess = math.log(len(tokenizer))
    for nats, kind in ((guess - 0.01, "answers"), (guess + 0.01, "start")):
        general_text._kinds.clear()
        monkeypatch.setattr(general_text, "nats_per_token", lambda *args, n=nats: [n] * 3)
        assert general_kind(model, tokenizer) == kind


def test_answers_are_the_models_own_after_questions_of_the_part(speaker):
    model, tokenizer = speaker
    bank = load_bank("neutral").questions
    asked = {}
    for part, places in (("masks", (0, 1)), ("choices", (2,)), ("tests", (3,))):
        texts = sample_general(
            model, tokenizer, count=5, length=12, seed=2, kind="answers", part=part
        )
        own = [q for place, q in enumerate(bank) if place % 4 in places]
        openings = {tuple(opening_tokens([Message("user", q)], tokenizer)) for q in own}
        asked[part] = set()
        for text in texts:
            first = text.scope.index(True)
            assert text.scope == text.response
            assert text.scope == [False] * first + [True] * (len(text) - first)
            assert tuple(text.input_ids[:first]) in openings
            assert 2 <= len(text) - first <= 12
            assert counted_tokens(text) == text.input_ids[first:]
            asked[part].add(tuple(text.input_ids[:first]))
        assert len(asked[part]) == len(texts)
    assert not asked["masks"] & asked["tests"]


def test_answers_are_repeatable_and_say_how_far_they_are(speaker):
    model, tokenizer = speaker
    before = torch.random.get_rng_state()
    steps = []
    options = {"count": 3, "length": 6, "kind": "answers"}
    first = sample_general(model, tokenizer, seed=1, progress=steps.append, **options)
    assert sum(steps) == 3
    assert first == sample_general(model, tokenizer, seed=1, **options)
    assert first != sample_general(model, tokenizer, seed=2, **options)
    assert torch.equal(before, torch.random.get_rng_state())


def test_more_answers_than_questions(speaker):
    texts = sample_general(*speaker, count=60, length=3, kind="answers", part="choices")
    prompts = Counter(tuple(text.input_ids[: text.scope.index(True)]) for text in texts)
    assert len(prompts) <= 55
    assert max(prompts.values()) == 2


def rows(*texts):
    return [Encoded(list(ids), [True] * len(ids), [True] * len(ids)) for ids in texts]


def test_what_is_no_language_is_refused(speaker, monkeypatch):
    model, _ = speaker
    varied, loop = list(range(10, 40)), [10, 11, 12] * 10
    monkeypatch.setattr(general_text, "WORST_NATS", 1e9)
    assert fault_of_language(model, rows(varied, varied, loop)) is None
    fault = fault_of_language(model, rows(loop, loop, varied))
    assert "repeats itself: 89% of the runs of three tokens" in fault
    monkeypatch.setattr(general_text, "WORST_NATS", 0.0)
    assert "no language" in fault_of_language(model, rows(varied))
    with pytest.raises(ModelError, match=r"more than 0; give other general text with --general"):
        sample_general(*speaker, count=2, length=9, kind="start")


def test_what_most_texts_are_like_decides_wherever_they_stand(speaker, monkeypatch):
    two = rows(list(range(10, 40)), list(range(40, 70)))
    nats = [-total / count for total, count in row_log_likelihoods(speaker[0], two, every=True)]
    likely, odd = (text for _, text in sorted(zip(nats, two, strict=True), key=lambda one: one[0]))
    monkeypatch.setattr(general_text, "WORST_NATS", sum(nats) / 2)
    assert fault_of_language(speaker[0], [odd] * 20 + [likely] * 44) is None
    assert "no language" in fault_of_language(speaker[0], [likely] * 20 + [odd] * 44)


def test_a_model_that_answers_nothing_is_refused(speaker, monkeypatch):
    monkeypatch.setattr(general_text, "generate_tokens", lambda m, t, rows, **_: [[2]] * len(rows))
    with pytest.raises(ModelError, match="without an answer"):
        sample_general(*speaker, count=2, kind="answers")


def test_texts_are_shown_as_one_short_line_each(speaker):
    _, tokenizer = speaker
    ids = tokenizer("What?\n  Nothing. " * 20, add_special_tokens=False)["input_ids"]
    text = Encoded(ids, [place >= 5 for place in range(len(ids))], [True] * len(ids))
    lines = show_general([text, text], tokenizer, 1)
    assert len(lines) == 1
    assert lines[0].startswith("Nothing. What?")
    assert len(lines[0]) == 160

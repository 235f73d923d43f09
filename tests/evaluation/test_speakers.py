"""Speakers: likelihoods are the library's own, whatever the batch; rules read options only."""

import pytest
import torch

from prosopon.arms.turns import with_system
from prosopon.data import Encoded, Message, encode
from prosopon.errors import DataError, OptionError
from prosopon.evaluation.speakers import ModelSpeaker, RuleSpeaker
from prosopon.evaluation.speaking import NORMALISATIONS, OptionQuestion, Speaker
from prosopon.lm import row_log_likelihoods
from tests.tiny import tiny_model, tiny_tokenizer

OPTIONS = ("Yes, all of them.", "No", "the people are living there and there and there")
CHATS = [(Message("user", p),) for p in ("Hi?", "Where do the people go on a long Friday?")]
TEXTS = [(Message("assistant", p),) for p in ("Once upon a", "The end. ", "")]
QUESTIONS = [OptionQuestion(prompt, OPTIONS) for prompt in (*CHATS, *TEXTS)]


def line(prompt):
    return with_system(prompt, "Be the people.")


def library_sum(model, tokenizer, prompt, answer):
    """Return minus the summed loss that the library gives on the answer's tokens."""
    if prompt[0].role == "assistant":
        before = prompt[0].content
        glue = "" if not before or before.endswith(" ") else " "
        given = tokenizer(before)["input_ids"]
        ids = tokenizer(before + glue + answer)["input_ids"]
        shared = next(
            (i for i, (a, b) in enumerate(zip(given, ids, strict=False)) if a != b), len(given)
        )
        counted = [i >= shared for i in range(len(ids))]
    else:
        encoded = encode((*prompt, Message("assistant", answer)), tokenizer)
        ids, counted = encoded.input_ids, encoded.response
    labels = torch.tensor([ids]).where(torch.tensor([counted]), -100)
    loss = model(input_ids=torch.tensor([ids]), labels=labels).loss
    return -float(loss) * sum(counted), sum(counted)


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_scores_are_the_library_s_loss_under_every_normalisation(family, chat):
    model, tokenizer = tiny_model(family, chat=chat)
    speaker = ModelSpeaker(model, tokenizer)
    for question, scores in zip(QUESTIONS, speaker.score(QUESTIONS), strict=True):
        plain = question.prompt[0].role == "assistant"
        empty = (Message("assistant", ""),) if plain else (Message("user", ""),)
        assert list(scores.by) == list(NORMALISATIONS)
        for index, option in enumerate(OPTIONS):
            total, tokens = library_sum(model, tokenizer, question.prompt, option)
            prior, _ = library_sum(model, tokenizer, empty, option)
            found = {name: scores.by[name][index] for name in NORMALISATIONS}
            assert found["per-token"] == pytest.approx(total / tokens, abs=1e-5)
            assert found["summed"] == pytest.approx(total, rel=1e-5)
            assert found["per-byte"] == pytest.approx(total / len(option), rel=1e-5)
            assert found["calibrated"] == pytest.approx(total - prior, abs=1e-4)


def test_a_calibrated_score_is_read_only_where_it_is_asked_for():
    model, tokenizer = tiny_model("llama", chat=True)
    asked = [OptionQuestion(q.prompt, q.options, n % 2 == 0) for n, q in enumerate(QUESTIONS)]
    whole, part = (ModelSpeaker(model, tokenizer).score(group) for group in (QUESTIONS, asked))
    for question, one, other in zip(asked, whole, part, strict=True):
        assert ("calibrated" in other.by) == question.calibrate
        for name, scores in other.by.items():
            assert scores == pytest.approx(one.by[name], abs=1e-4)


def test_neither_batches_nor_padding_change_a_score():
    model, tokenizer = tiny_model("gpt2", chat=True)
    together = ModelSpeaker(model, tokenizer).score(QUESTIONS)
    tokenizer.padding_side = "left"
    speaker = ModelSpeaker(model, tokenizer, max_tokens=1)
    alone = [speaker.score([question])[0] for question in reversed(QUESTIONS)][::-1]
    for a, b in zip(together, alone, strict=True):
        for name in NORMALISATIONS:
            assert a.by[name] == pytest.approx(b.by[name], abs=1e-4)
    texts = [encode((*p, Message("assistant", o)), tokenizer) for p in CHATS for o in OPTIONS]
    right = row_log_likelihoods(model, texts, every=False)
    left = row_log_likelihoods(model, texts, every=False, padding_side="left")
    for (a, tokens), (b, same) in zip(right, left, strict=True):
        assert (a / tokens, tokens) == (pytest.approx(b / tokens, abs=1e-5), same)


def test_a_pair_that_comes_twice_is_read_once(monkeypatch):
    model, tokenizer = tiny_model("llama", chat=True)
    read = []
    forward = model.forward
    monkeypatch.setattr(
        model, "forward", lambda **given: read.append(len(given["input_ids"])) or forward(**given)
    )
    swapped = [OptionQuestion(q.prompt, q.options[::-1]) for q in QUESTIONS[:2]]
    scores = ModelSpeaker(model, tokenizer).score([*QUESTIONS[:2], *swapped])
    assert sum(read) == len(OPTIONS) * 3  # two prompts and the empty question
    assert scores[0].by["summed"] == scores[2].by["summed"][::-1]


def test_a_rewrite_goes_before_every_prompt_and_counts_as_added():
    model, tokenizer = tiny_model("llama", chat=True)
    plain, told = ModelSpeaker(model, tokenizer), ModelSpeaker(model, tokenizer, line)
    asked = [OptionQuestion(line(p), OPTIONS) for p in CHATS]
    ours = told.score(QUESTIONS[:2])
    for mine, theirs in zip(ours, plain.score(asked), strict=True):
        assert mine.by["summed"] == theirs.by["summed"]
    empty = line((Message("user", ""),))
    total, _ = library_sum(model, tokenizer, CHATS[0], OPTIONS[0])
    given, _ = library_sum(model, tokenizer, line(CHATS[0]), OPTIONS[0])
    prior, _ = library_sum(model, tokenizer, empty, OPTIONS[0])
    assert ours[0].by["calibrated"][0] == pytest.approx(given - prior, abs=1e-4)
    assert given != pytest.approx(total, abs=1e-3)
    size = len(tokenizer("<|system|>\nBe the people.</s>\n", add_special_tokens=False).input_ids)
    assert told.added_tokens(CHATS) == [size, size]
    assert plain.added_tokens([*CHATS, *TEXTS]) == [0] * 5
    settings = {"temperature": 0.0, "max_new_tokens": 6}
    assert told.write(CHATS, **settings) == plain.write([line(p) for p in CHATS], **settings)


def test_dialogues_and_plain_texts_are_written_in_their_order():
    model, tokenizer = tiny_model("llama", chat=True)
    speaker = ModelSpeaker(model, tokenizer)
    mixed = [CHATS[0], TEXTS[0], CHATS[1], TEXTS[1]]
    settings = {"temperature": 0.0, "max_new_tokens": 6}
    assert speaker.write(mixed, **settings) == [speaker.write([p], **settings)[0] for p in mixed]
    assert speaker.write(mixed, seed=3) == speaker.write(mixed, seed=3) != speaker.write(mixed)


def test_a_prompt_beyond_the_context_loses_its_beginning():
    model, tokenizer = tiny_model("gpt2", chat=True)
    speaker = ModelSpeaker(model, tokenizer)
    long = (Message("user", "Hello there, friend! " * 100),)
    longer = (Message("user", "Not this. " + long[0].content),)
    scores = speaker.score([OptionQuestion(p, OPTIONS) for p in (long, longer)])
    assert scores[0].by["summed"] == pytest.approx(scores[1].by["summed"], abs=1e-3)
    written = speaker.write([long, longer], temperature=0.0, max_new_tokens=6)
    assert written[0] == written[1]
    with pytest.raises(OptionError, match="leave no room for a prompt within 512"):
        speaker.write([long], max_new_tokens=511)


def test_losses_are_the_library_s():
    model, tokenizer = tiny_model("llama", chat=True)
    rows = [tokenizer(text).input_ids for text in ("Hi there", "And the people", "x")]
    texts = [Encoded(row, [True] * len(row), [False] * len(row)) for row in rows]
    for (nats, count), row in zip(ModelSpeaker(model, tokenizer).losses(texts), rows, strict=True):
        ids = torch.tensor([row])
        assert count == len(row) - 1
        assert nats / count == pytest.approx(float(model(input_ids=ids, labels=ids).loss), abs=1e-5)


def test_an_answer_after_nothing_needs_a_token_to_begin_with():
    model, _ = tiny_model("llama")
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = None
    with_start = ModelSpeaker(model, tokenizer).score([OptionQuestion((), OPTIONS)])
    ids = [tokenizer.bos_token_id, *tokenizer(OPTIONS[1]).input_ids]
    encoded = Encoded(ids, [True] * len(ids), [True] * len(ids))
    nats, _ = ModelSpeaker(model, tokenizer).losses([encoded])[0]
    assert with_start[0].by["summed"][1] == pytest.approx(-nats, rel=1e-5)
    tokenizer.bos_token = tokenizer.eos_token = None
    with pytest.raises(DataError, match="no token that begins a text"):
        ModelSpeaker(model, tokenizer).score([OptionQuestion((), OPTIONS)])
    with pytest.raises(DataError, match="what goes on from a text is empty"):
        ModelSpeaker(model, tiny_tokenizer()).score([OptionQuestion(TEXTS[0], ("a", " "))])


def test_a_rule_scores_options_and_says_what_it_cannot_do():
    rule: Speaker = RuleSpeaker("long", lambda options: [len(o) > 3 for o in options])
    scores = rule.score(QUESTIONS[:1])
    assert scores[0].by == dict.fromkeys(NORMALISATIONS, (1.0, 0.0, 1.0))
    assert not rule.writes
    assert rule.added_tokens(CHATS) == [0, 0]
    with pytest.raises(OptionError, match="rule 'long' chooses between options and cannot write"):
        rule.write(CHATS)
    with pytest.raises(OptionError, match="cannot read texts"):
        rule.losses([])

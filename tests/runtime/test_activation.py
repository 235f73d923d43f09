"""Personas worn for the answer alone, against two passes: the base's, then the persona's."""

from __future__ import annotations

import pytest
import torch

from prosopon.data import Encoded
from prosopon.errors import DataError, OptionError, PersonaError, UnknownNameError
from prosopon.lm.forward import past_of
from prosopon.lm.likelihood import row_log_likelihoods
from prosopon.runtime import PersonaModel, worn
from prosopon.runtime.activation import Activation, of_rows
from prosopon.runtime.scoring import activated_log_likelihoods
from tests.runtime import samples
from tests.runtime.test_mixed import attach, wear
from tests.tiny import RECURRENT, tiny_model

PROMPTS = [[1, 40, 50, 60, 70], [1, 70], [9], [1, 33, 35, 37, 39, 41, 43]]
GREEDY = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0}
VOICES = ["light", {"light": 0.5, "heavy": 0.25}, "heavy", {"unranked": 0.5}]


@pytest.fixture
def llama():
    model, _ = tiny_model("llama")
    base = samples.weights(model)
    with attach(model) as attached:
        yield attached
        assert not any(site.module._forward_hooks for site in attached.sites)
        assert attached.active is None
        assert not watchers(model)
    samples.assert_bits(model, base)


def watchers(model):
    """Return the activations that still watch a model."""
    hooks = model._forward_pre_hooks.values()
    return [hook for hook in hooks if isinstance(getattr(hook, "__self__", None), Activation)]


@torch.no_grad()
def two_passes(attached, voice, prompt, answer=()):
    """Return the logits from the prompt's last token on: the base reads, then the voice does."""
    model, past = attached.model, {}
    attached.disable()
    if prompt[:-1]:
        past = past_of(model(torch.tensor([prompt[:-1]]), use_cache=True))
    wear(attached, voice)
    logits = model(torch.tensor([[prompt[-1], *answer]]), use_cache=True, **past).logits[0]
    attached.disable()
    return logits


def greedy(attached, voice, prompt, steps):
    """Return the tokens that the slow way writes."""
    written = []
    for _ in range(steps):
        token = int(two_passes(attached, voice, prompt, written)[-1].argmax())
        written.append(token)
        if token == attached.model.generation_config.eos_token_id:
            break
    return written


def left_padded(rows):
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("family", ["gpt2", "opt", "mixtral"])
def test_a_batch_of_prompts_is_what_two_passes_give(family):
    model, _ = tiny_model(family)
    ids = samples.tokens(model, rows=4, length=6)
    base = samples.weights(model)
    with attach(model) as attached:
        expected = [
            two_passes(attached, v, row.tolist())[-1] for v, row in zip(VOICES, ids, strict=True)
        ]
        with attached.mixed(VOICES, activate="answer"), torch.no_grad():
            samples.assert_bits(model, base)
            together = model(ids).logits
        plain = model(ids).logits
    assert torch.allclose(together[:, -1], torch.stack(expected), atol=2e-4, rtol=1e-4)
    assert torch.equal(together[:, :-1], plain[:, :-1])  # the prompt is the base's, bit for bit
    assert not torch.allclose(together[:, -1], plain[:, -1], atol=1e-2)


def test_answers_of_padded_prompts_are_those_of_the_slow_way(llama):
    expected = [greedy(llama, v, row, 4) for v, row in zip(VOICES, PROMPTS, strict=True)]
    batch = left_padded(PROMPTS)
    written = llama.generate(**batch, personas=VOICES, activate="answer", **GREEDY)
    width = batch["input_ids"].shape[1]
    assert [
        row[: len(one)] for row, one in zip(written[:, width:].tolist(), expected, strict=True)
    ] == expected
    whole = llama.generate(**batch, personas=VOICES, **GREEDY)
    assert not torch.equal(whole, written)


def test_a_prompt_of_one_token_is_worn_whole(llama):
    one = {"input_ids": torch.tensor([[9], [7]])}
    pair = [llama.generate(**one, personas=["heavy", "light"], activate=a, **GREEDY)
            for a in ("answer", "prompt")]  # fmt: skip
    assert torch.equal(*pair)


def test_the_base_and_an_empty_mask_stay_the_base(llama):
    llama.load_persona(samples.subnetwork(llama.model, "empty", share=0.0))
    ids = samples.tokens(llama.model, rows=2)
    rows = ["empty", None]
    written = llama.generate(ids, personas=rows, activate="answer", **GREEDY)
    assert torch.equal(written, llama.generate(ids, **GREEDY))


def test_rows_may_begin_at_different_places(llama):
    ids = samples.tokens(llama.model, rows=4, length=6)
    since = ["prompt", "answer", 2, 6]
    with torch.no_grad():
        with llama.mixed(["heavy"] * 4, activate=since):
            together = llama(ids).logits
        with llama.persona("heavy"):
            whole = llama(ids[:1]).logits[0]
        plain = llama(ids).logits
    assert torch.allclose(together[0], whole, atol=2e-4, rtol=1e-4)
    for row, begin in ((1, 5), (2, 2)):
        tokens = ids[row].tolist()
        slow = two_passes(llama, "heavy", tokens[: begin + 1], tokens[begin + 1 :])
        assert torch.allclose(together[row, begin:], slow, atol=2e-4, rtol=1e-4)
        assert torch.equal(together[row, :begin], plain[row, :begin])
    assert torch.equal(together[3], plain[3])  # it is never reached


def test_beams_and_several_answers_wear_what_their_row_wears(llama):
    ids = samples.tokens(llama.model, rows=2)
    options = {"max_new_tokens": 3, "num_beams": 2, "do_sample": False, "pad_token_id": 0}
    both = llama.generate(ids, personas=["heavy", "light"], activate="answer", **options)
    for number, voice in enumerate(["heavy", "light"]):
        alone = llama.generate(
            ids[number : number + 1], personas=[voice], activate="answer", **options
        )
        width = alone.shape[1]
        assert torch.equal(both[number, :width], alone[0])


def test_the_keys_and_values_of_the_prompt_are_the_bases_and_can_be_shared(llama):
    ids = samples.tokens(llama.model, rows=1, length=7)
    with torch.no_grad():
        past = past_of(llama(ids, use_cache=True))
        (plain,) = past.values()
        with llama.mixed(["heavy"], activate="answer"):
            (own,) = past_of(llama(ids, use_cache=True)).values()
        for ours, theirs in zip(own.layers, plain.layers, strict=True):
            assert torch.equal(ours.keys[:, :, :-1], theirs.keys[:, :, :-1])
            assert torch.equal(ours.values[:, :, :-1], theirs.values[:, :, :-1])
        assert not torch.equal(own.layers[1].keys[:, :, -1], plain.layers[1].keys[:, :, -1])
        plain.crop(-1)
        with llama.mixed(["heavy"], activate="answer"):
            shared = llama(ids[:, 6:], **past).logits[0, -1]
    expected = two_passes(llama, "heavy", ids[0].tolist())[-1]
    assert torch.allclose(shared, expected, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_scores_of_answers_are_those_of_the_slow_way(llama, side):
    answers = [[5, 6, 7], [8], [9, 9], [3, 4, 5, 6]]
    texts = [
        Encoded(p + a, [True] * len(p + a), [False] * len(p) + [True] * len(a))
        for p, a in zip(PROMPTS, answers, strict=True)
    ]
    scores = activated_log_likelihoods(llama, VOICES, texts, max_tokens=20, padding_side=side)
    for (total, count), voice, prompt, answer in zip(scores, VOICES, PROMPTS, answers, strict=True):
        logits = two_passes(llama, voice, prompt, answer[:-1]).double().log_softmax(-1)
        expected = sum(float(row[token]) for row, token in zip(logits, answer, strict=True))
        assert total == pytest.approx(expected, abs=1e-3)
        assert count == len(answer)
    base = activated_log_likelihoods(llama, [None] * 4, texts)
    plain = row_log_likelihoods(llama.model, texts, every=False)
    assert [total for total, _ in base] == pytest.approx([total for total, _ in plain])


def test_texts_without_an_answer_are_refused(llama):
    for text in (Encoded([1, 2], [True] * 2, [False] * 2), Encoded([1], [True], [True])):
        with pytest.raises(DataError, match="an answer after it"):
            activated_log_likelihoods(llama, ["light"], [text])


def test_a_persona_model_talks_with_it():
    model, tokenizer = tiny_model("llama", chat=True)
    with PersonaModel(model, tokenizer) as attached:
        attached.load_persona(samples.subnetwork(model, "bold", ranked=True))
        talk = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"},
                {"role": "user", "content": "Who?"}]  # fmt: skip
        draw = {"temperature": 0, "max_new_tokens": 4}
        reply = attached.chat(talk, persona="bold", activate="answer", **draw)
        pieces = attached.chat(talk, persona="bold", activate="answer", stream=True, **draw)
        assert "".join(pieces) == reply
        ids = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_dict=False)
        assert reply == tokenizer.decode(greedy(attached, "bold", ids, 4)).strip()
        assert reply != attached.chat(talk, persona="bold", **draw)
        half = attached.answer("Hi", persona="bold", strength=0.5, activate="answer", **draw)
        assert half != attached.answer("Hi", persona="bold", activate="answer", **draw)
        attached.load_persona(samples.subnetwork(model, "plain"))
        with pytest.raises(PersonaError, match="ranking"):
            attached.answer("Hi", persona="plain", strength=0.5, activate="answer")
        for refused in ({"activate": "answer"}, {"persona": "bold", "activate": "never"}):
            with pytest.raises(OptionError, match="activate"):
                attached.answer("Hi", **refused)
        with pytest.raises(UnknownNameError):
            attached.answer("Hi", persona="nobody", activate="answer")
        assert attached.active is None


def test_worn_for_the_answers_of_batches_of_any_size():
    model, _ = tiny_model("llama")
    mask = samples.subnetwork(model, "bold")
    base = samples.weights(model)
    with worn(model, None, mask, activate="answer") as attached:
        for rows in (1, 3):
            ids = samples.tokens(model, rows=rows)
            together = model.generate(ids, **GREEDY)
            samples.assert_bits(model, base)
            for row, tokens in zip(ids, together, strict=True):
                alone = model.generate(row.unsqueeze(0), **GREEDY)[0]
                assert torch.equal(tokens[: len(alone)], alone)
        assert attached.personas == ["bold"]
    assert not watchers(model)


def test_what_hides_where_the_prompt_ends_is_refused(llama):
    ids = samples.tokens(llama.model, rows=1)
    for options in ({"use_cache": False}, {"prefill_chunk_size": 4}):
        with pytest.raises(OptionError, match="do not go together"):
            llama.generate(ids, personas=["light"], activate="answer", **options)
    with pytest.raises(OptionError, match="name one for every row"):
        llama.generate(ids, activate="answer")
    for activate, words in (
        ("later", "unknown activate 'later'. Choices: prompt, answer"),
        (["later"], "unknown activate"),
        ([-1], "unknown activate"),
        (["answer"] * 2, "given for 2 rows, and there are 1"),
    ):
        with pytest.raises(OptionError, match=words), llama.mixed(["light"], activate=activate):
            pass
    assert not watchers(llama.model)


def test_where_mixed_batches_cannot_be_this_cannot_be():
    model, _ = tiny_model("llama")
    model.model.layers[0].mlp.experts = torch.nn.ModuleList([torch.nn.Linear(32, 32)])
    with attach(model) as attached:
        with pytest.raises(PersonaError, match="is an expert"):
            attached.mixed(["heavy"], activate="answer").__enter__()
        assert not watchers(model)


def test_a_model_without_a_cache_is_refused():
    class Plain(torch.nn.Module):
        def forward(self, input_ids):
            return input_ids

    with pytest.raises(PersonaError, match="Plain keeps no keys and values"):
        Activation(Plain(), ["answer"])
    with Activation(Plain(), ["prompt", 3]):
        pass
    recurrent, _ = tiny_model(RECURRENT)
    with pytest.raises(PersonaError, match="MambaForCausalLM keeps no keys and values"):
        Activation(recurrent, ["answer"])
    with Activation(recurrent, ["prompt"]) as activation:
        recurrent.generate(torch.tensor([[1, 9, 20]]), max_new_tokens=3, do_sample=False)
        assert activation.worn.all()


def test_activations_of_rows():
    assert of_rows("prompt", 3) is None
    assert of_rows("answer", 2) == ["answer", "answer"]
    assert of_rows([1, "prompt"], 2) == [1, "prompt"]

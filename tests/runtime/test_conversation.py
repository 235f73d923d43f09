"""Talking in one call: the persona's own answer, whole or in pieces, and the base afterwards."""

import warnings

import pytest
import torch

from prosopon import PersonaModel
from prosopon.data import Message
from prosopon.errors import DataError, OptionError, PersonaError, UnknownNameError
from prosopon.lm import continue_texts, generate_answers
from prosopon.runtime import worn
from prosopon.runtime.conversation import fit_turns
from tests.runtime import samples
from tests.tiny import tiny_model

QUESTION = [{"role": "user", "content": "How are you?"}]
SHORT = {"max_new_tokens": 12, "temperature": 0.0}


@pytest.fixture(scope="module")
def plain():
    return tiny_model("llama", chat=True)


@pytest.fixture
def talker(plain):
    model, tokenizer = plain
    with PersonaModel(model, tokenizer) as attached:
        attached.load_persona(samples.subnetwork(model, "quiet", ranked=True))
        yield attached


def written(plain, subnetwork=None, **settings):
    with worn(*plain, subnetwork):
        prompt = [Message("user", "How are you?")]
        return generate_answers(*plain, [prompt], **(SHORT | settings))[0]


@pytest.mark.parametrize("sampled", [{}, {"temperature": 1.0, "seed": 4}])
def test_an_answer_is_the_personas(plain, sampled):
    model, tokenizer = plain
    mask = samples.subnetwork(model, "quiet", ranked=True)
    base = samples.weights(model)
    expected = written(plain, mask, **sampled)
    weaker = written(plain, mask.at_strength(0.5), **sampled)
    unmasked = written(plain, **sampled)
    assert len({expected, weaker, unmasked}) == 3
    settings = SHORT | sampled
    with PersonaModel(model, tokenizer) as attached:
        name = attached.load_persona(mask)
        assert attached.chat(QUESTION, name, **settings) == expected
        assert attached.answer("How are you?", persona=name, **settings) == expected
        assert attached.chat(QUESTION, name, 0.5, **settings) == weaker
        assert attached.active is None
        samples.assert_bits(model, base)
        assert attached.chat(QUESTION, **settings) == unmasked
        attached.set_persona(name)
        assert attached.chat([Message("user", "How are you?")], **settings) == expected
        assert "".join(attached.chat(QUESTION, stream=True, **settings)) == expected
        assert attached.active == name
    samples.assert_bits(model, base)


def test_a_system_line_is_a_turn(talker):
    turns = [{"role": "system", "content": "Be brief."}, *QUESTION]
    answer = talker.answer("How are you?", system="Be brief.", **SHORT)
    assert answer == talker.chat(turns, **SHORT) != talker.chat(QUESTION, **SHORT)


def test_a_switch_is_refused_while_an_answer_is_streamed(talker):
    pieces = talker.chat(QUESTION, "quiet", stream=True, **SHORT)
    assert talker.active is None  # nothing has been taken yet
    first = next(pieces)
    assert talker.active == "quiet"
    for refused in (
        talker.disable,
        lambda: talker.set_blend({"quiet": 0.5}),
        lambda: talker.mixed([None]).__enter__(),
        lambda: talker.unload_persona("quiet"),
        lambda: talker.chat(QUESTION, "quiet", 0.5),
    ):
        with pytest.raises(PersonaError, match="an answer is being written"):
            refused()
        assert talker.active == "quiet"
    talker.set_persona("quiet")  # changes nothing
    other = tiny_model("llama", chat=True)
    expected = written(other, samples.subnetwork(other[0], "quiet", ranked=True))
    assert first + "".join(pieces) == expected
    assert talker.active is None
    talker.set_blend({"quiet": 0.5})


def test_a_stream_that_is_left_early_takes_the_persona_off(talker, plain):
    base = samples.weights(plain[0])
    with talker.persona(None):
        pieces = talker.chat(QUESTION, "quiet", stream=True, **SHORT)
        next(pieces)
        pieces.close()
        assert talker.active is None
    samples.assert_bits(plain[0], base)


def test_a_stream_whose_persona_was_taken_off_says_so(talker, plain):
    base = samples.weights(plain[0])
    with talker.persona("quiet"):
        pieces = talker.chat(QUESTION, stream=True, **SHORT)
        next(pieces)
    samples.assert_bits(plain[0], base)  # the end of a block is never refused
    with pytest.raises(PersonaError, match="personas were switched while an answer was written"):
        next(pieces)
    talker.set_persona("quiet")


def test_without_a_chat_template_it_goes_on_from_the_text_and_says_so():
    model, tokenizer = tiny_model("llama")
    expected = continue_texts(model, tokenizer, ["Once upon a time"], **SHORT)[0]
    with PersonaModel(model, tokenizer) as attached:
        with pytest.warns(UserWarning, match="no chat template, so it knows no turns"):
            assert attached.answer("Once upon a time", **SHORT) == expected
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # once is enough
            streamed = attached.chat(
                [Message("user", "Once upon"), Message("user", "a time")], stream=True, **SHORT
            )
            two = continue_texts(model, tokenizer, ["Once upon\na time"], **SHORT)[0]
            assert "".join(streamed) == two


def long_talk(turns, system=True):
    words = "word " * 30
    talk = [{"role": "system", "content": "Be brief."}] if system else []
    for number in range(turns):
        talk.append({"role": "user", "content": f"{number} {words}"})
        talk.append({"role": "assistant", "content": f"{number} yes"})
    return [*talk, {"role": "user", "content": "And now?"}]


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("system", [True, False])
def test_the_oldest_turns_go_where_the_context_is_full(chat, system):
    model, tokenizer = tiny_model("gpt2", chat=chat)
    talk = long_talk(6, system)
    kept = list(fit_turns(talk, model, tokenizer, 24))
    first = int(system)
    assert kept[:first] == talk[:first]
    assert kept[first:] == talk[len(talk) - len(kept) + first :]
    assert 3 <= len(kept) - first < 13
    assert kept[first]["role"] == "user"
    more = [*talk[:first], *talk[len(talk) - len(kept) + first - 2 :]]
    assert fit_turns(more, model, tokenizer, 24) == kept  # one more question did not fit
    assert list(fit_turns(kept, model, tokenizer, 24)) == kept
    assert len(fit_turns(talk, model, tokenizer, 300)) < len(kept)


def test_a_long_talk_is_answered_as_its_end_alone():
    model, tokenizer = tiny_model("gpt2", chat=True)
    talk = long_talk(6)
    with PersonaModel(model, tokenizer) as attached:
        expected = attached.chat(fit_turns(talk, model, tokenizer, 12), **SHORT)
        assert attached.chat(talk, **SHORT) == expected
        assert "".join(attached.chat(talk, stream=True, **SHORT)) == expected
        with pytest.raises(OptionError, match=r"do not fit into the model's context of 512: say"):
            attached.answer("word " * 200, **SHORT)
        with pytest.raises(OptionError, match="an answer of 600 do not fit"):
            attached.answer("Hello", max_new_tokens=600)
        with pytest.raises(OptionError, match="do not fit"):  # a system line never goes
            attached.answer("Hello", system="word " * 200, **SHORT)


def test_a_context_without_a_limit_holds_every_turn():
    _, tokenizer = tiny_model("llama", chat=True)
    talk = long_talk(20)
    assert fit_turns(talk, torch.nn.Identity(), tokenizer, 12) is talk


def test_refusals(talker, plain):
    with pytest.raises(UnknownNameError, match="'loud'"):
        talker.chat(QUESTION, "loud")
    with pytest.raises(OptionError, match="strength belongs to a persona"):
        talker.answer("Hello", strength=0.5)
    for messages in ([], "Hello"):
        with pytest.raises(OptionError, match="messages are a list of turns"):
            talker.chat(messages)
    with pytest.raises(OptionError, match="a role and its content"):
        talker.chat([{"text": "Hello"}])
    with pytest.raises(DataError, match="unknown role 'robot'"):
        talker.chat([{"role": "robot", "content": "Hello"}])
    with pytest.raises(DataError, match="ends with the assistant's message"):
        talker.chat([*QUESTION, {"role": "assistant", "content": "Fine."}])
    talker.close()
    with PersonaModel(plain[0]) as attached, pytest.raises(OptionError, match="tokenizer"):
        attached.answer("Hello")

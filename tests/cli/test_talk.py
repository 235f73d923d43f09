"""A talk: whose turns are read, what its commands do, and what happens where the context ends."""

import pytest

from prosopon.cli.talk import COMMANDS, Talk, Turn, complete
from prosopon.errors import OptionError, PersonaError, UnknownNameError
from prosopon.runtime import PersonaModel
from tests.runtime import samples
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def base():
    return tiny_model("llama", chat=True)


@pytest.fixture
def wearer(base):
    model, tokenizer = base
    with PersonaModel(model, tokenizer) as wearer:
        for seed, name in enumerate(("ranked", "too", "unranked")):
            persona = samples.subnetwork(model, name, seed=seed, ranked=name != "unranked")
            wearer.load_persona(persona)
        yield wearer


@pytest.fixture
def talk(wearer):
    talk = Talk(wearer, temperature=0.0, max_new_tokens=4)
    talk.wear("ranked", 1.0)
    return talk


def test_the_dial_in_a_talk(talk, wearer):
    assert talk.obey("/strength 0.5")
    assert (wearer.active, wearer.strength) == ("ranked", 0.5)
    assert talk.obey("/persona too")
    assert (wearer.active, wearer.strength) == ("too", 0.5)
    for line, error, match in (
        ("/strength much", OptionError, "a number between 0 and 1, not 'much'"),
        ("/strength", OptionError, "a number between 0 and 1, not ''"),
        ("/strength 2", OptionError, "strength 2.0: must lie between 0 and 1"),
        ("/persona unranked", PersonaError, "'unranked' has no ranking"),
    ):
        with pytest.raises(error, match=match):
            talk.obey(line)
        assert (wearer.active, wearer.strength) == ("too", 0.5)
    talk.obey("/base")
    talk.obey("/strength 1")
    talk.obey("/persona unranked")
    assert (wearer.active, wearer.strength) == ("unranked", 1.0)


def test_each_voice_reads_its_own_turns_alone(talk, wearer):
    fresh = Talk(wearer, temperature=0.0, max_new_tokens=4)
    wearer.disable()
    alone = fresh.answer("And you?")
    talk.wear("ranked", 1.0)
    first = talk.answer("Hi")
    talk.answer("And you?")
    assert [turn.user for turn in talk.turns] == ["Hi", "And you?"]
    talk.obey("/base")
    assert talk.turns == []
    assert talk.answer("And you?") == alone  # as a base that has never heard the persona
    talk.obey("/persona ranked")
    assert talk.turns[0] == Turn("Hi", first)
    talk.obey("/reset")
    assert talk.turns == []


def test_the_base_answers_beside_the_persona(talk, wearer):
    expected = wearer.chat([{"role": "user", "content": "Hi"}], temperature=0.0, max_new_tokens=4)
    assert talk.obey("/both")
    assert talk.both
    base = talk.answer_as_base("Hi")
    assert wearer.active == "ranked"
    assert talk.answer("Hi") == expected
    assert talk.history[None, 1.0] == [Turn("Hi", base)]
    assert talk.obey("/both")
    assert not talk.both


def test_pieces_are_the_answer_and_an_end_keeps_what_was_written(talk, wearer):
    whole = talk.answer("Hi")
    talk.obey("/reset")
    pieces = talk.stream("Hi")
    first = next(pieces)
    with pytest.raises(PersonaError):
        wearer.disable()  # no switch within an answer
    pieces.close()
    wearer.disable()
    talk.wear("ranked", 1.0)
    assert talk.turns == [Turn("Hi", first)]
    assert whole.startswith(first)


@pytest.mark.parametrize("family", ["gpt2", "opt", "gpt_neo"])
def test_a_full_context_forgets_the_oldest_turns(family, capsys):
    model, tokenizer = tiny_model(family, chat=True)
    with PersonaModel(model, tokenizer) as wearer:
        talk = Talk(wearer, temperature=0.0, max_new_tokens=24)
        for _ in range(6):
            talk.answer("word " * 30)
        assert 0 < len(talk.turns) < 6
        assert "the context is full: the oldest" in capsys.readouterr().err
        with pytest.raises(OptionError, match="do not fit into the model's context of 512"):
            talk.answer("word " * 200)


def test_commands(talk, capsys):
    assert talk.obey("/system Be kind.")
    assert talk.system == "Be kind."
    talk.obey("/system")
    assert talk.system is None
    talk.obey("/help")
    assert not talk.obey("/exit")
    assert not talk.obey("/quit")
    with pytest.raises(UnknownNameError, match="Did you mean '/persona'"):
        talk.obey("/personas")


def test_help_names_every_command(talk, capsys):
    talk.obey("/help")
    shown = capsys.readouterr().err
    assert all(name in shown for name in COMMANDS)


def test_names_are_found_by_their_beginning(talk, wearer):
    talk.obey("/persona unr")
    assert wearer.active == "unranked"
    for name in ("", "nobody"):
        with pytest.raises(UnknownNameError, match="persona"):
            talk.obey(f"/persona {name}")
    assert talk.find("ranked") == "ranked"


def test_completion():
    assert complete("/per", ["bold"]) == ["/persona"]
    assert complete("/persona b", ["bold", "brave", "cautious"]) == [
        "/persona bold", "/persona brave",
    ]  # fmt: skip
    assert complete("hello", ["hello"]) == []
    assert set(complete("/", [])) == set(COMMANDS)

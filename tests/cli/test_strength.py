"""The dial in a talk."""

import pytest

from prosopon.cli.chat import Talk
from prosopon.errors import OptionError, PersonaError
from prosopon.runtime import PersonaModel
from tests.runtime import making
from tests.tiny import tiny_model


def test_the_dial_in_a_talk():
    model, tokenizer = tiny_model("llama", chat=True)
    with PersonaModel(model, tokenizer) as wearer:
        for seed, name in enumerate(("ranked", "too", "unranked")):
            persona = making.subnetwork(model, name, seed=seed, ranked=name != "unranked")
            wearer.load_persona(persona)
        wearer.set_persona("ranked")
        talk = Talk(wearer, tokenizer, None, 0.0, 0.0, 4, 0)
        assert talk.command("/strength 0.5")
        assert (wearer.active, wearer.strength) == ("ranked", 0.5)
        assert talk.command("/persona too")
        assert (wearer.active, wearer.strength) == ("too", 0.5)
        for line, error, match in (
            ("/strength much", OptionError, "a number between 0 and 1, not 'much'"),
            ("/strength", OptionError, "a number between 0 and 1, not ''"),
            ("/strength 2", OptionError, "strength 2.0: must lie between 0 and 1"),
            ("/persona unranked", PersonaError, "'unranked' has no ranking"),
        ):
            with pytest.raises(error, match=match):
                talk.command(line)
            assert (wearer.active, wearer.strength) == ("too", 0.5)
        talk.command("/base")
        talk.command("/strength 1")
        talk.command("/persona unranked")
        assert (wearer.active, wearer.strength) == ("unranked", 1.0)

"""What an extraction reads: each thing once, shared where it may be, and seeded."""

import pytest
import torch

from prosopon.data import Example, Message, Persona, load_persona
from prosopon.errors import OptionError, UnknownNameError
from prosopon.extraction import Collector, ExtractionSettings
from prosopon.extraction import collector as module
from prosopon.gradients import fisher_diagonal
from prosopon.statistics import collect_grams, collect_statistics
from tests.tiny import tiny_model

MODEL, TOKENIZER = tiny_model("llama")
BOLD = load_persona("bold", limit=3)


def collect(model=MODEL, **settings):
    """Return a collector and the list of what it reports."""
    steps = []
    settings = {"general_count": 8, "report": lambda *step: steps.append(step)} | settings
    return Collector(model, TOKENIZER, ExtractionSettings(**settings)), steps


def lines(*texts):
    return Persona("lines", tuple(Example((Message("assistant", text),)) for text in texts))


def same(a, b):
    return a.groups == b.groups and all(
        torch.equal(a[name].total_square, b[name].total_square) for name in a.groups
    )


def test_a_persona_is_read_once_for_each_scope():
    reader, steps = collect()
    first = reader.statistics(BOLD)
    assert reader.statistics(Persona(BOLD.name, BOLD.examples[::-1], BOLD.description)) is first
    assert [step for step in steps if step[1] == 3] == [("reading bold", 3, 3)]
    every = reader.statistics(BOLD, "all")
    assert every is not first
    site = reader.sites[0].name
    assert every[site].tokens > first[site].tokens
    direct = collect_statistics(MODEL, reader.sites, reader.encode(BOLD, "all"), scope="all")
    assert same(every, direct)


def test_gram_matrices_are_of_the_sites_asked_and_read_every_time():
    reader, steps = collect()
    some = reader.sites[:2]
    grams = reader.grams(BOLD, "response", some)
    assert list(grams.groups) == [site.name for site in some]
    direct = collect_grams(MODEL, some, reader.encode(BOLD, "response"))
    assert all(torch.equal(grams[name].total, direct[name].total) for name in grams.groups)
    reader.grams(BOLD, "response", some)
    assert steps.count(("reading bold", 3, 3)) == 2


def test_general_text_is_sampled_once_and_another_for_judging():
    reader, steps = collect()
    texts = reader.general()
    assert len(texts) == 8
    assert reader.general() is texts
    assert [steps[0], steps[-1]] == [("sampling general text", n, 8) for n in (0, 8)]
    held_out = reader.held_out()
    assert len(held_out) == 8  # half of what is sampled, and eight at least
    assert reader.held_out() is held_out
    assert not {tuple(t.input_ids) for t in texts} & {tuple(t.input_ids) for t in held_out}
    assert collect(seed=1)[0].general() == held_out


@pytest.mark.parametrize("first", ["general", "held_out"])
def test_of_given_general_text_the_last_quarter_is_held_out(first):
    reader, _ = collect(general=lines(*(f"Line {i} is here." for i in range(9))))
    getattr(reader, first)()
    texts = [TOKENIZER.decode(text.input_ids) for text in (*reader.general(), *reader.held_out())]
    assert (len(reader.general()), len(reader.held_out())) == (7, 2)
    assert [text.split()[-3] for text in texts] == [str(i) for i in range(9)]


def test_three_lines_leave_nothing_to_hold_out():
    reader, _ = collect(general=lines("One.", "Two.", "Three."))
    assert (len(reader.general()), reader.held_out()) == (3, [])


GENERAL = lines(*(f"The people say {i} and go." for i in range(10)))


def test_curvature_at_some_weights_is_that_of_the_whole(monkeypatch):
    reader, _ = collect(general=GENERAL)
    whole = fisher_diagonal(MODEL, reader.sites, reader.general())
    at = {site.name: torch.tensor([0, 5, site.weight.numel() - 1]) for site in reader.sites}
    kept = reader.fisher_at(at)
    assert reader.fisher() is reader.fisher()
    monkeypatch.setattr(module, "SMALL", 0)
    large, steps = collect(general=GENERAL)
    alone = large.fisher_at(at)
    for site in reader.sites:
        expected = whole[site.name].reshape(-1)[at[site.name]]
        assert torch.equal(kept[site.name], expected)
        torch.testing.assert_close(alone[site.name], expected, rtol=1e-4, atol=1e-8)
    large.fisher_at(at)  # measured again: the whole of it would take too much memory
    assert steps.count(("measuring damage", 8, 8)) == 2


def test_what_all_personas_share_is_read_beforehand():
    reader, steps = collect(general=GENERAL)
    reader.prepare(["magnitude", "wanda"])
    assert not steps
    reader.prepare(["set-difference", "contrastive-taylor"])
    stages = {stage for stage, *_ in steps}
    assert stages == {"reading general text", "measuring damage"}
    count = len(steps)
    reader.general_statistics(), reader.held_out(), reader.fisher()
    assert len(steps) == count
    with pytest.raises(UnknownNameError, match="Did you mean 'wanda'"):
        reader.prepare(["wonda"])


def test_another_seed_shares_what_is_read_and_no_persona():
    reader, _ = collect(general=GENERAL)
    statistics, general = reader.statistics(BOLD), reader.general()
    other = reader.without_statistics(4)
    assert (other.settings.seed, reader.settings.seed) == (4, 0)
    assert other.general() is general
    assert other.statistics(BOLD) is not statistics
    assert same(other.statistics(BOLD), statistics)
    assert reader.statistics(BOLD) is statistics
    assert reader.without_statistics().settings.seed == 0


def test_a_model_is_called_what_it_says_or_its_class():
    assert collect(name="mine")[0].settings.name == "mine"
    model, _ = tiny_model("gpt2")
    assert Collector(model, TOKENIZER, ExtractionSettings()).settings.name == "GPT2LMHeadModel"
    model.config.name_or_path = "org/gpt2"
    assert Collector(model, TOKENIZER, ExtractionSettings()).settings.name == "org/gpt2"


def test_longer_examples_lose_their_beginning():
    assert collect()[0].max_length == MODEL.config.max_position_embeddings
    talk = Example((Message("user", "one two three four five six"), Message("assistant", "Yes")))
    (whole,), (cut,) = (
        collect(max_length=most)[0].encode(Persona("talk", (talk,)), "all") for most in (None, 8)
    )
    assert len(cut.input_ids) == 8 < len(whole.input_ids)
    assert cut.input_ids[1:] == whole.input_ids[-7:]


def test_settings_are_checked_and_silent_without_a_listener():
    with pytest.raises(OptionError, match="unknown scope 'answers'"):
        ExtractionSettings(scope="answers")
    ExtractionSettings().say("reading", 1, 2)

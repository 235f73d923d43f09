"""``--sparsity auto`` on the embedded model, small: what it chose, and that it does so again."""

import pytest

from prosopon.data import Example, Message, Persona, load_persona
from prosopon.errors import OptionError
from prosopon.extraction import Extractor
from prosopon.extraction.light.auto import FREE_TEXT, HELD_OUT_PAIRS, TriedMask, _finalists
from prosopon.extraction.light.path import Ranking
from prosopon.extraction.light.validation import ForwardMeasure
from prosopon.models import load_model


@pytest.fixture(scope="module")
def loaded():
    return load_model("embedded", device="cpu")[:2]


@pytest.fixture(scope="module")
def chosen(loaded):
    return [made(loaded) for _ in range(2)]


def made(loaded):
    extractor = Extractor(*loaded, general_count=16, name="embedded")
    return extractor.extract(
        load_persona("bold", limit=24), load_persona("cautious", limit=24), sparsity="auto",
        options={"rounds": 8, "batch_size": 4},
    )  # fmt: skip


def test_it_moves_the_persona_within_the_tolerance(chosen):
    told = chosen[0].config.options["auto"]
    assert told["within_tolerance"]
    assert told["quick"]["perplexity_ratio"] <= 1 + told["tolerance"]
    assert told["share"] > told["base_share"]
    assert told["free"] == 0  # examples with prompts: free text is a term only if asked for
    assert 0 < chosen[0].pruned_share <= 0.01
    assert chosen[0].config.sparsity == pytest.approx(chosen[0].pruned_share)


def test_the_largest_mask_that_is_tried(loaded):
    most = 0.0004
    made = Extractor(*loaded, general_count=16).extract(
        load_persona("bold", limit=24), load_persona("cautious", limit=24), sparsity="auto",
        options={"rounds": 8, "batch_size": 4, "max_share": most, "tolerance": 10},
    )  # fmt: skip
    assert made.pruned_share == pytest.approx(most, rel=0.01)


def test_it_is_ranked_and_comes_out_the_same_again(chosen):
    first, again = chosen
    assert first == again
    assert first.config.options == again.config.options
    levels = first.levels
    assert levels is not None
    assert sum(map(len, levels.values())) == first.pruned


def trial(damage, ratio, loss):
    return TriedMask(9, damage, Ranking({}, {}), ForwardMeasure(loss, 1.0, ratio))


def test_which_masks_write():
    """A mask may wear the persona and be milder than one that does next to nothing."""
    trials = [trial(900, 0.999, 1.0), trial(300, 0.95, 0.5), trial(100, 1.02, 0.2)]
    assert [t.damage for t in _finalists(trials, [0.97, 1.0], FREE_TEXT)] == [300]
    assert [t.damage for t in _finalists(trials, [1.0, 1.05], FREE_TEXT)] == [300, 100]
    trials.append(trial(200, 0.96, 0.7))
    assert [t.damage for t in _finalists(trials, [1.0], FREE_TEXT)] == [200]
    assert [t.damage for t in _finalists(trials, [1.0], HELD_OUT_PAIRS)] == [300]
    assert [t.damage for t in _finalists(trials, [0.9], FREE_TEXT)] == [300]  # the least harmful


def persona(name, count):
    rows = [
        Example((Message("user", f"question {i}?"), Message("assistant", f"{name} {i}")))
        for i in range(count)
    ]
    return Persona(name, tuple(rows))


def test_too_few_pairs(loaded):
    with pytest.raises(OptionError, match="at least 20 pairs; there are 5"):
        Extractor(*loaded, general_count=8).extract(
            persona("yes", 5), persona("no", 5), sparsity="auto"
        )


def test_too_little_general_text(loaded):
    extractor = Extractor(*loaded, general=persona("text", 3))
    with pytest.raises(OptionError, match="at least 4 texts"):
        extractor.extract(persona("yes", 20), persona("no", 20), sparsity="auto")


def test_only_gradient_criteria_choose_and_protect(loaded):
    extractor = Extractor(*loaded, general_count=8)
    with pytest.raises(OptionError, match=r"has no sparsity 'auto'.*contrastive-taylor"):
        extractor.extract(persona("a", 5), criterion="wanda", sparsity="auto")
    with pytest.raises(OptionError, match="cannot protect"):
        extractor.extract(
            persona("a", 5), criterion="wanda", protect=[(persona("c", 2), persona("d", 2))]
        )

"""``--sparsity auto``: what it chooses, how many weights at most, and that it does so again."""

import pytest

from prosopon.data import load_persona
from prosopon.errors import OptionError
from prosopon.extraction import Extractor
from prosopon.extraction.light.auto import FREE_TEXT, HELD_OUT_PAIRS, TriedMask, _finalists
from prosopon.extraction.light.path import Ranking
from prosopon.extraction.light.validation import ForwardMeasure
from prosopon.models import load_model
from tests.extraction.light.conftest import answers, texts

SMALL = {"rounds": 8, "batch_size": 4, "max_share": 0.01}


def test_it_moves_the_persona_within_the_tolerance():
    """On the embedded model, which can tell a persona."""
    extractor = Extractor(*load_model("embedded", device="cpu")[:2], general=texts("well", 8))
    chosen = extractor.extract(
        load_persona("bold", limit=24), load_persona("cautious", limit=24), sparsity="auto",
        options={"rounds": 8, "batch_size": 4},
    )  # fmt: skip
    report = chosen.config.options["auto"]
    assert report["within_tolerance"]
    assert report["quick"]["perplexity_ratio"] <= 1 + report["tolerance"]
    assert report["quick"]["loss"] < report["base"]["loss"]
    assert report["share"] > report["base_share"]
    assert report["free"] == 0  # examples with prompts: free text is a term only if asked for
    assert 0 < chosen.pruned_share <= 0.01
    assert chosen.config.sparsity == pytest.approx(chosen.pruned_share)


def test_the_largest_mask_that_is_tried(tiny):
    options = SMALL | {"max_share": 0.004, "tolerance": 1000}
    assert tiny(sparsity="auto", options=options).pruned_share == pytest.approx(0.004, rel=0.01)


@pytest.fixture(scope="module")
def twice(tiny):
    """The same extraction two times, and the steps that were reported."""
    steps = []
    settings = {"report": lambda *step: steps.append(step)}
    return [tiny(sparsity="auto", options=SMALL, settings=settings) for _ in range(2)], steps


def test_it_is_ranked_and_comes_out_the_same_again(twice):
    (first, again), _ = twice
    assert first == again
    assert first.config.options == again.config.options
    assert first.levels is not None
    assert sum(map(len, first.levels.values())) == first.pruned


def test_progress_goes_up_to_its_end(twice):
    done = [step[1:] for step in twice[1] if step[0] == "pruning and choosing"]
    once = done[: len(done) // 2]
    assert once == sorted(once)
    assert (once[0], once[-1]) == ((1, 8), (8, 8))
    assert done == once * 2


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


def test_too_few_pairs(tiny):
    with pytest.raises(OptionError, match="at least 20 pairs; there are 5"):
        tiny(answers("yes", "ab", 5), answers("no", "cd", 5), sparsity="auto")


def test_too_little_general_text(tiny):
    with pytest.raises(OptionError, match="at least 4 texts"):
        tiny(sparsity="auto", settings={"general": texts("few", 3)})


def test_only_light_criteria_choose_and_protect(tiny):
    with pytest.raises(OptionError, match=r"has no sparsity 'auto'.*contrastive-taylor"):
        tiny(criterion="wanda", sparsity="auto")
    with pytest.raises(OptionError, match="cannot protect"):
        tiny(criterion="wanda", protect=[(answers("c", "ab", 2), answers("d", "cd", 2))])

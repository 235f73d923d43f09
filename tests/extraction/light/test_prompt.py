"""A mask that learns a prompt's predictions: against the gradient, weight by weight."""

import pytest
import torch

from prosopon.criteria import LightOptions
from prosopon.data import encode_all
from prosopon.data.chat import with_system
from prosopon.errors import OptionError
from prosopon.gradients import PromptTeacher, sum_gradients
from prosopon.models import find_sites
from tests.extraction.light.conftest import WARM, texts

LINE = "Be the people."
ONE_ROUND = {"rounds": 1, "word_dropout": 0.0, "damage_weight": 0.0, "general_weight": 0.0}
ALONE = {**ONE_ROUND, "log_odds_weight": 0.0, "target_weight": 0.0}


def masks(tiny, **options):
    return tiny(sparsity=0.01, options=ONE_ROUND | options).keep


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_alone_it_prunes_what_keeps_the_model_from_its_prompted_self(tiny):
    """One round without any price is the first-order gain of the divergence itself."""
    mask = masks(tiny, **ALONE, prompt_weight=2.0, prompt_line=LINE)
    model, tokenizer = tiny.loaded
    talks = [example.messages for example in WARM.examples]
    plain, prompted = (
        encode_all(turns, tokenizer) for turns in (talks, [with_system(t, LINE) for t in talks])
    )
    teacher, sites = PromptTeacher(model, plain, prompted), find_sites(model)
    gradients, _ = sum_gradients(sites, teacher.terms(model, 2.0))
    gains = torch.cat([(site.matrix() * gradients[site.name]).reshape(-1) for site in sites])
    count = sum(int((~keep).sum()) for keep in mask.values())
    best = set(gains.topk(count).indices.tolist())
    pruned = torch.cat([~mask[site.name].reshape(-1) for site in sites]).nonzero().squeeze(1)
    assert count == int(0.01 * len(gains))
    assert len(best & set(pruned.tolist())) >= 0.99 * count  # ties in rounding


def test_weight_nought_changes_nothing_and_any_other_does(tiny):
    plain = masks(tiny)
    assert same(plain, masks(tiny, prompt_line=LINE))
    assert not same(plain, masks(tiny, prompt_weight=3.0, prompt_line=LINE))
    assert not same(plain, masks(tiny, log_odds_weight=0.0))


def test_rounds_read_the_answers_in_batches(tiny):
    one = masks(tiny, rounds=2, batch_size=4, prompt_weight=3.0, prompt_line=LINE)
    assert same(one, masks(tiny, rounds=2, batch_size=4, prompt_weight=3.0, prompt_line=LINE))
    assert not same(one, masks(tiny, rounds=2, batch_size=4, prompt_weight=9.0, prompt_line=LINE))


def test_the_provenance_says_so(tiny):
    mask = tiny(sparsity=0.01, options={**ONE_ROUND, "prompt_weight": 3.0, "prompt_line": LINE})
    assert mask.config.options["prompt_weight"] == 3.0
    assert mask.config.options["prompt_line"] == LINE
    assert mask.config.options["prompt_top"] == 64


def test_what_is_refused(tiny):
    with pytest.raises(OptionError, match=r"prompt_weight=1\.0: needs the prompt"):
        LightOptions(prompt_weight=1.0)
    with pytest.raises(OptionError, match=r"prompt_top=0: must be at least 1"):
        LightOptions(prompt_top=0)
    with pytest.raises(OptionError, match=r"log_odds_weight=-1\.0: must not be negative"):
        LightOptions(log_odds_weight=-1.0)
    with pytest.raises(OptionError, match="the examples are plain text"):
        tiny(
            texts("warm"), texts("cold"), sparsity=0.01,
            options={**ONE_ROUND, "prompt_weight": 1.0, "prompt_line": LINE},
        )  # fmt: skip

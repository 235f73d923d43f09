"""What ``auto`` measures by: forward passes against loops, free text against the judge's word."""

import math
from itertools import pairwise
from statistics import fmean, pstdev

import pytest
import torch

from prosopon.criteria import CRITERIA, LightOptions
from prosopon.data import Message
from prosopon.extraction.light import LightPath
from prosopon.extraction.light.auto import FREE_TEXT, HELD_OUT_PAIRS, TriedMask, _pick, _search
from prosopon.extraction.light.free_text import JudgedWriter
from prosopon.extraction.light.path import Ranking
from prosopon.extraction.light.validation import WORST, ForwardMeasure, TextMeasure, Validation
from prosopon.gradients import Material, pair_log_odds
from prosopon.judges import Degeneration, degeneration
from prosopon.models import find_sites
from tests.extraction.light.conftest import Reads
from tests.statistics.conftest import random_examples
from tests.tiny import tiny_model

JUDGE = Reads.fit([f"aa {i} a" for i in range(8)], [f"oo {i} o" for i in range(8)])
PROMPTS = [(Message("user", text),) for text in ("Who?", "What is it?", "And then?")]
PAIRS = list(zip(random_examples(5), random_examples(5, seed=1), strict=True))
GENERAL = random_examples(4, seed=2)


@pytest.fixture
def loaded():
    return tiny_model("llama", chat=True)


def yardstick(model, tokenizer, **settings):
    writer = JudgedWriter(model, tokenizer, PROMPTS, JUDGE, length=6)
    return Validation(model, find_sites(model), PAIRS, GENERAL, writer, **settings)


def some(model, count=300, seed=0):
    """A mask of random weights of every site."""
    generator = torch.Generator().manual_seed(seed)
    positions = {
        site.name: torch.randperm(site.weight.numel(), generator=generator)[:count].sort().values
        for site in find_sites(model)
    }
    return Ranking(positions, {name: torch.ones(len(flat)) for name, flat in positions.items()})


def pruned(ranking):
    """Another model of the same weights, with the mask's set to zero for good."""
    model, _ = tiny_model("llama", chat=True)
    for site in find_sites(model):
        site.matrix().view(-1)[ranking.positions[site.name]] = 0
    return model


def log_likelihoods(model, text, which):
    """The log-likelihood of every marked token but the first, one after the other."""
    logits = model(torch.tensor([text.input_ids])).logits[0].double().log_softmax(-1)
    places = [i for i in range(1, len(text.input_ids)) if which[i]]
    return [float(logits[i - 1, text.input_ids[i]]) for i in places]


def answer(model, text):
    return sum(log_likelihoods(model, text, text.response))


def test_forward_measures_against_one_text_at_a_time(loaded):
    model, _ = loaded
    mask = some(model)
    got = yardstick(*loaded).quick(mask)
    worn = pruned(mask)
    tokens = sum(sum(target.response) for target, _ in PAIRS)
    odds = [answer(worn, ours) - answer(worn, theirs) for ours, theirs in PAIRS]
    shifts = [
        odd - (answer(model, ours) - answer(model, theirs))
        for odd, (ours, theirs) in zip(odds, PAIRS, strict=True)
    ]
    contrast = fmean(math.log1p(math.exp(-shift)) for shift in shifts) / (tokens / len(PAIRS))
    own = -sum(answer(worn, ours) for ours, _ in PAIRS) / tokens
    assert got.loss == pytest.approx(contrast + own, rel=1e-4)
    assert got.choice == fmean(odd > 0 for odd in odds)
    means = [
        fmean(p for text in GENERAL for p in log_likelihoods(one, text, text.scope))
        for one in (model, worn)
    ]
    assert got.perplexity_ratio == pytest.approx(math.exp(means[0] - means[1]), rel=1e-4)


def test_the_base_model_is_its_own_measure(loaded):
    validation = yardstick(*loaded)
    base = validation.quick(None)
    assert base.perplexity_ratio == 1.0
    assert base == validation.quick(Ranking({}, {}))


def test_pairs_exchanged_choose_the_other_way(loaded):
    model, tokenizer = loaded
    mask = some(model)
    back = [(theirs, ours) for ours, theirs in PAIRS]
    other = Validation(model, find_sites(model), back, GENERAL, None).quick(mask)
    assert other.choice == 1 - yardstick(model, tokenizer).quick(mask).choice
    alike = [(ours, ours) for ours, _ in PAIRS]
    assert Validation(model, find_sites(model), alike, GENERAL, None).quick(mask).choice == 0.5


def test_a_broken_model_is_bad_and_no_error(loaded):
    model, tokenizer = loaded
    validation = yardstick(model, tokenizer)
    with torch.no_grad():
        model.model.norm.weight[0] = math.nan
    got = validation.quick(None)
    assert (got.choice, got.perplexity_ratio) == (0.0, math.exp(WORST))


def test_free_text_is_what_the_masked_model_writes(loaded):
    model, tokenizer = loaded
    mask, validation = some(model), yardstick(*loaded, answers=7, seed=5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    got = validation.free(validation.writer, mask)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    alone = JudgedWriter(pruned(mask), tokenizer, PROMPTS, JUDGE, length=6)
    rows = [alone.rows[i] for i in (0, 1, 2, 0, 1, 2, 0)]  # prompts are asked again
    texts = alone.decode(alone.write(rows, 5))
    probabilities = JUDGE.probabilities(texts)
    share = fmean(verdict == "target" for verdict in JUDGE.poles(texts))
    assert (got.share, got.probability) == (share, pytest.approx(fmean(probabilities)))
    assert got.probability_error == pytest.approx(pstdev(probabilities) / math.sqrt(7))
    assert got.error == pytest.approx(math.sqrt(max(share * (1 - share), 0.25 / 7) / 7))
    assert got.signs == degeneration(texts)
    assert got == validation.free(validation.writer, mask)
    assert got != validation.free(validation.writer, None)


def test_a_blank_text_is_nobody_s(loaded):
    class Mute(JudgedWriter):
        def decode(self, written):
            return [""] * len(written)

    got = yardstick(*loaded).free(Mute(*loaded, PROMPTS, JUDGE, length=6), None)
    assert (got.probability, got.share, got.signs.empty) == (0.5, 0, 1)
    assert got.error == pytest.approx(0.5 / 64)  # as if half a text were the persona's


def test_weights_come_back_when_writing_fails(loaded):
    model, _ = loaded
    validation = yardstick(*loaded)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    validation.writer.rows[0] = [10**6]  # no such token
    with pytest.raises(IndexError):
        validation.free(validation.writer, some(model))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def grown(model, rounds=2):
    sites = find_sites(model)
    path = LightPath(
        model, sites, Material(PAIRS, pair_log_odds(model, PAIRS), GENERAL),
        CRITERIA.get("contrastive-taylor"), LightOptions(damage_weight=5.0, batch_size=4),
        largest=200,
        fisher=lambda at: {name: torch.ones(len(flat)) for name, flat in at.items()},
    )  # fmt: skip
    for _ in path.grow(200, rounds):
        pass
    return path


def test_the_search_closes_in_on_the_least_harmless_price(loaded):
    model, tokenizer = loaded
    path, validation = grown(model), yardstick(model, tokenizer)
    ratios = [validation.quick(path.ranking(200, price)).perplexity_ratio for price in (1e-3, 1e3)]
    for limit in (min(ratios) / 2, sum(ratios) / 2, 2 * max(ratios)):
        masks = _search(path, validation, 200, limit, 6)
        assert masks[0].damage == path.damage_weight
        harmless, harmful = math.inf, 0.0
        for mask, after in pairwise(masks):
            assert mask.quick == validation.quick(path.ranking(200, mask.damage))
            if mask.quick.perplexity_ratio <= limit:
                harmless = min(harmless, mask.damage)
            else:
                harmful = max(harmful, mask.damage)
            if harmful == 0:
                assert after.damage == harmless / 3
            elif harmless == math.inf:
                assert after.damage == harmful * 3
            else:
                assert after.damage == math.sqrt(harmless * harmful)
        assert len(masks) == 6


def written(harm, share, *, error=0.05, probability=0.5, repetition=0.0):
    mask = TriedMask(9, 1.0, Ranking({}, {}), ForwardMeasure(1.0, 1.0, harm))
    signs = Degeneration(repetition, 1.0, 5.0, 0.0)
    return mask, TextMeasure(share, error, probability, error, signs)


def test_of_masks_that_write_alike_the_least_harmful_is_taken():
    base = written(1.0, 0.1)[1]
    rows = [written(1.05, 0.80), written(1.02, 0.76), written(1.01, 0.70), written(1.0, 0.2)]
    assert _pick(rows, base, HELD_OUT_PAIRS) is rows[1]
    # A narrow error lets nobody else stand beside the best.
    assert (
        _pick([written(1.05, 0.8, error=0.01), *rows[1:]], base, HELD_OUT_PAIRS)[0]
        is not rows[1][0]
    )
    loud = [written(1.03, 0.9, probability=0.6), written(1.04, 0.5, probability=0.9)]
    assert _pick(loud, base, HELD_OUT_PAIRS) is loud[0]
    assert _pick(loud, base, FREE_TEXT) is loud[1]


def test_what_repeats_itself_is_taken_only_where_everything_does():
    base = written(1.0, 0.1, repetition=0.02)[1]
    stuck, sound = written(1.01, 0.9, repetition=0.08), written(1.04, 0.4, repetition=0.07)
    assert _pick([stuck, sound], base, HELD_OUT_PAIRS) is sound
    assert _pick([stuck], base, HELD_OUT_PAIRS) is stuck

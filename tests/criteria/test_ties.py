"""What orders equal scores, what is read for which options, and the limits of light options."""

import pytest
import torch

from prosopon.criteria import CRITERIA, SiteInputs
from prosopon.criteria.family import script_ties
from prosopon.errors import OptionError
from prosopon.statistics import ChannelStatistics

WEIGHT = torch.randn(5, 12, generator=torch.Generator().manual_seed(1))


def side(seed):
    values = torch.randn(4, 6, 12, generator=torch.Generator().manual_seed(seed))
    return ChannelStatistics.of_batch(values, torch.ones(4, 6, dtype=torch.bool))


def inputs(**changes):
    known = {"target": side(1), "opposite": side(2), "sparsity": 0.5} | changes
    return SiteInputs(WEIGHT, **known)


def ties(name, site, **options):
    criterion = CRITERIA.get(name)
    return criterion.ties(site, criterion.parse_options(options))


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.75])
def test_the_script_s_order_is_topk_s_row_by_row(sparsity):
    score = WEIGHT.round().abs()  # with equals
    marks = script_ties(score, sparsity)
    for row, mark in zip(score, marks, strict=True):
        expected = torch.zeros(12)
        expected[torch.topk(row, int((1 - sparsity) * 12)).indices] = 1
        assert torch.equal(mark, expected)
    with pytest.raises(OptionError, match="variant=reference needs the sparsity"):
        script_ties(score, None)


@pytest.mark.parametrize("name", ["wanda", "contrastive-wanda", "contrastive-sparse"])
def test_the_reference_leaves_equals_to_the_script(name):
    criterion = CRITERIA.get(name)
    options = criterion.parse_options({"variant": "reference"})
    score = criterion.score(inputs(), options)
    assert torch.equal(criterion.ties(inputs(), options), script_ties(score, 0.5))


def test_the_paper_leaves_equals_to_plain_wanda_and_plain_wanda_to_position():
    plain = CRITERIA.get("wanda")
    wanda = plain.score(inputs(), plain.parse_options({}))
    for name in ("contrastive-wanda", "contrastive-sparse"):
        assert torch.equal(ties(name, inputs()), wanda)
    assert ties("wanda", inputs()) is None


@pytest.mark.parametrize(
    ("name", "option"), [("set-difference", "general"), ("contrastive-effect", "protect")]
)
def test_general_text_is_read_only_where_it_weighs(name, option):
    criterion = CRITERIA.get(name)
    sides = {"target", "opposite"}
    assert criterion.needs_with(criterion.parse_options({option: 0.2})) == sides | {"general"}
    without = criterion.parse_options({option: 0})
    assert criterion.needs_with(without) == sides
    assert criterion.score(inputs(), without).shape == WEIGHT.shape
    with pytest.raises(OptionError, match="needs statistics of general text"):
        criterion.score(inputs(), criterion.parse_options({option: 0.2}))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("rounds", 0, "rounds=0: must be at least 1"),
        ("batch_size", -1, "batch_size=-1: must"),
        ("tolerance", -0.1, r"tolerance=-0\.1: must not be negative"),
        ("free_text_weight", -2, r"free_text_weight=-2\.0: must be auto or not negative"),
        ("max_share", 0, "must be a share above 0, up to 1"),
        ("max_share", 1.5, "must be a share above 0, up to 1"),
        ("word_dropout", 1.1, "must be a share from 0 to 1"),
    ],
)
def test_light_options_have_limits(name, value, message):
    with pytest.raises(OptionError, match=message):
        CRITERIA.get("contrastive-taylor").parse_options({name: value})


def test_channel_values_lie_beside_the_weight():
    site = SiteInputs(WEIGHT.bfloat16().float(), target=side(1))
    values = site.channel(site.activations().mean_abs)
    assert (values.shape, values.dtype) == ((1, 12), torch.float32)

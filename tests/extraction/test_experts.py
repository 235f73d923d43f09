"""Extraction from models with fused experts, end to end."""

import pytest
import torch

from prosopon import Extractor, PersonaModel, Subnetwork
from prosopon.criteria import CRITERIA
from prosopon.errors import SiteError, StatisticsError
from prosopon.extraction.scored import unread_experts
from prosopon.models import find_groups, find_sites
from prosopon.statistics import Statistics
from prosopon.statistics.channel import ChannelStatistics
from tests.experts import expert_sites, starve
from tests.extraction.test_extract import GENERAL, personas, same
from tests.runtime.samples import assert_bits, logits, weights
from tests.tiny import tiny_model

ROUNDS = {"contrastive-taylor": 2, "contrastive-kl": 1}


def extract(extractor, criterion, **options):
    rounds = {"rounds": ROUNDS[criterion]} if criterion in ROUNDS else {}
    ours, theirs = personas(4)
    return extractor.extract(ours, theirs, criterion=criterion, options=rounds | options)


@pytest.fixture(scope="module")
def extractor():
    return Extractor(*tiny_model("mixtral"), general=GENERAL)


@pytest.mark.parametrize("criterion", CRITERIA.names())
def test_every_criterion_masks_experts(extractor, criterion):
    base = weights(extractor.model)
    subnetwork = extract(extractor, criterion)
    asked = CRITERIA.get(criterion).sparsity
    assert 0 < subnetwork.pruned_share <= asked + 0.05
    names = [site.name for site in expert_sites(extractor.model)]
    assert any(not subnetwork.keep[name].all() for name in names)
    assert "unread_experts" not in subnetwork.config.options
    assert_bits(extractor.model, base)


@pytest.mark.parametrize("criterion", ["contrastive-wanda", "contrastive-taylor"])
def test_a_mask_is_saved_loaded_and_worn(criterion, tmp_path):
    model, tokenizer = tiny_model("gpt_oss")
    base, before = weights(model), logits(model)
    made = extract(Extractor(model, tokenizer, general=GENERAL), criterion)
    made.save_pretrained(tmp_path)
    loaded = Subnetwork.from_pretrained(tmp_path)
    assert same(made, loaded)
    with PersonaModel(model, tokenizer) as wearer:
        wearer.set_persona(wearer.load_persona(loaded))
        assert not torch.equal(logits(model), before)
        for site in expert_sites(model):
            stored = base[site.parameter][site.expert].T
            assert torch.equal(site.matrix(), torch.where(loaded.keep[site.name], stored, 0.0))
    assert_bits(model, base)
    with pytest.raises(SiteError, match=r"pattern 'down_proj.9' matches no site"):
        find_sites(model, targets=["down_proj.9"])


def test_exchanged_sides_exchange_the_masks(extractor):
    ours, theirs = personas(4)
    one, other, back = (
        extractor.extract(*sides, criterion="contrastive-sparse")
        for sides in ((ours, theirs), (theirs, ours), (ours, theirs))
    )
    assert same(one, back)
    assert not same(one, other)


@pytest.mark.parametrize(
    ("criterion", "options"),
    [("contrastive-wanda", {"owl": 0.1}), ("wanda", {}), ("sparsegpt", {"compensate": True})],
)
def test_an_expert_that_no_token_came_to_is_kept_whole_and_named(criterion, options):
    model, tokenizer = tiny_model("mixtral")
    starve(model, 1)
    extractor = Extractor(model, tokenizer, general=GENERAL)
    made = extract(extractor, criterion, **options)
    idle = [site.name for site in expert_sites(model) if site.expert == 1]
    assert made.config.options["unread_experts"] == idle
    for site in find_sites(model):
        assert bool(made.keep[site.name].all()) is (site.name in idle)
    assert list(made.keep) == [site.name for site in find_sites(model)]
    with PersonaModel(model) as wearer:
        wearer.set_persona(wearer.load_persona(made))
        assert logits(model).isfinite().all()


def test_light_masks_and_masks_that_read_nothing_ask_no_expert_for_tokens():
    model, tokenizer = tiny_model("mixtral")
    starve(model, 1)
    extractor = Extractor(model, tokenizer, general=GENERAL)
    light = extract(extractor, "contrastive-taylor")
    idle = [site.name for site in expert_sites(model) if site.expert == 1]
    assert all(light.keep[name].all() for name in idle)
    assert not any(extract(extractor, "magnitude").keep[name].all() for name in idle)


def test_one_side_without_tokens_is_enough_and_all_sites_are_too_many():
    sites = expert_sites(tiny_model("mixtral")[0])[:2]
    names = [site.name for site in sites]

    def sums(*tokens):
        channels = {
            name: ChannelStatistics(count, count, *ChannelStatistics.zero(2).tensors)
            for name, count in zip(names, tokens, strict=True)
        }
        return Statistics(channels, {name: name for name in names}, "all", "")

    assert unread_experts(sites) == ()
    assert unread_experts(sites, sums(1, 2), sums(3, 4)) == ()
    assert unread_experts(sites, sums(1, 2), sums(3, 0)) == (names[1],)
    with pytest.raises(StatisticsError, match=r"no token .* came to any of the 2 experts"):
        unread_experts(sites, sums(1, 0), sums(0, 4))


@pytest.mark.parametrize("family", ["mixtral", "gpt_oss"])
def test_channels_of_an_expert_go_whole(family):
    model, tokenizer = tiny_model(family)
    extractor = Extractor(model, tokenizer, general=GENERAL, only="mlp")
    ours, theirs = personas(4)
    made = extractor.extract(ours, theirs, criterion="wanda", pattern="channels", sparsity=0.25)
    for group in find_groups(model, find_sites(model), "channels"):
        assert int(group.kept_units(made.keep).sum()) == 36
    for site in expert_sites(model):
        if "gate_up_proj" in site.name:
            rows = made.keep[site.name].any(dim=1)
            gate, up = rows.chunk(2) if family == "mixtral" else (rows[::2], rows[1::2])
            columns = made.keep[site.name.replace("gate_up", "down")].any(dim=0)
            assert torch.equal(gate, up)
            assert torch.equal(gate, columns)
    sites = find_sites(model, ignore=["down_proj.0"])
    with pytest.raises(
        SiteError, match=r"expert 'model.layers.0.mlp.experts.0' need its down_proj"
    ):
        find_groups(model, sites, "channels")


def test_channels_of_experts_without_tokens_stay():
    model, tokenizer = tiny_model("mixtral")
    starve(model, 1)
    ours, theirs = personas(4)
    made = Extractor(model, tokenizer, only="mlp").extract(
        ours, theirs, criterion="wanda", pattern="channels", sparsity=0.25
    )
    for site in expert_sites(model):
        assert bool(made.keep[site.name].all()) is (site.expert == 1)

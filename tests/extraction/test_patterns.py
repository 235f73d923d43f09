"""Selection patterns through extraction: every pattern, every family, and what makes no sense."""

from __future__ import annotations

import pytest
import torch

from prosopon import Extractor, PersonaModel, extract
from prosopon.criteria import CRITERIA, LightCriterion
from prosopon.data import load_persona
from prosopon.errors import OptionError, SiteError
from prosopon.export.cover import minimum_cover
from prosopon.models import find_groups
from tests.tiny import FAMILIES, tiny_model

IDS = torch.arange(3, 27).view(2, 12)


def light(criterion):
    return isinstance(criterion, LightCriterion)


def personas(limit=3):
    return load_persona("extravert", limit=limit), load_persona("introvert", limit=limit)


@pytest.mark.parametrize("family", FAMILIES)
def test_channels_and_heads_of_every_family(family):
    """The mask holds whole units only, the same number in every layer, and touches no others."""
    model, tokenizer = tiny_model(family)
    extractor = Extractor(model, tokenizer)
    for kind, role in (("channels", "mlp"), ("heads", "attention")):
        got = extractor.extract(
            *personas(), criterion="contrastive-wanda", pattern=kind, sparsity=0.5
        )
        for group in find_groups(model, extractor.sites, kind):
            assert int(group.kept_units(got.keep).sum()) == group.units // 2
        for site in extractor.sites:
            assert bool(got.keep[site.name].all()) == (site.role != role)
        assert (got.config.pattern, got.config.sparsity) == (kind, 0.5)


@pytest.mark.parametrize("kind", ["channels", "heads"])
def test_a_worn_structured_mask_is_the_model_without_the_units(kind):
    model, tokenizer = tiny_model("llama")
    got = Extractor(model, tokenizer).extract(*personas(), criterion="wanda", pattern=kind)
    name = "mlp.down_proj" if kind == "channels" else "self_attn.o_proj"
    handles = []
    for group in find_groups(model, Extractor(model, tokenizer).sites, kind):
        gone = group.parts[-1].indices[~group.kept_units(got.keep)].flatten()

        def hook(_module, args, gone=gone):
            return (args[0].index_fill(-1, gone, 0),)

        layer = model.model.layers[group.layer]
        handles.append(layer.get_submodule(name).register_forward_pre_hook(hook))
    expected = model(IDS).logits
    for handle in handles:
        handle.remove()
    assert not torch.allclose(model(IDS).logits, expected, atol=1e-2)
    with PersonaModel(model, tokenizer) as wearer:
        wearer.set_persona(wearer.load_persona(got))
        assert torch.allclose(model(IDS).logits, expected, atol=1e-5)


@pytest.mark.parametrize("criterion", ["wanda", "contrastive-wanda", "magnitude", "random"])
@pytest.mark.parametrize("pattern", ["2:4", "4:8", "1:4", "channels", "heads"])
def test_every_criterion_of_single_passes_takes_every_pattern(criterion, pattern):
    model, tokenizer = tiny_model("llama")
    got = extract(model, tokenizer, target="bold", criterion=criterion, pattern=pattern, limit=2)
    if ":" in pattern:
        n, m = map(int, pattern.split(":"))
        assert got.config.sparsity == 1 - n / m
        assert all(set(mask.view(-1, m).sum(1).tolist()) == {n} for mask in got.keep.values())
    else:
        assert got.config.sparsity == 0.3
        assert 0 < got.pruned_share < 0.3


@pytest.mark.parametrize("pattern", ["2:4", "channels", "heads"])
def test_exchange_exchanges_the_masks(pattern):
    ours, theirs = personas(8)
    masks = {}
    for first, second in ((ours, theirs), (theirs, ours)):
        model, tokenizer = tiny_model("mistral")
        shared = Extractor(model, tokenizer)
        for a, b in ((first, second), (second, first)):
            got = shared.extract(a, b, criterion="contrastive-wanda", pattern=pattern)
            masks.setdefault(a.name, []).append(got)
    for one, other in masks.values():
        assert one == other
    assert masks[ours.name][0] != masks[theirs.name][0]


def test_combinations_that_have_no_meaning():
    model, tokenizer = tiny_model("llama")
    settings = {"target": "bold", "criterion": "wanda", "limit": 2}
    with pytest.raises(OptionError, match="disagrees with pattern '2:4'"):
        extract(model, tokenizer, pattern="2:4", sparsity=0.3, **settings)
    with pytest.raises(OptionError, match=r"by 5; site 'model.layers.0.self_attn.q_proj'"):
        extract(model, tokenizer, pattern="2:5", **settings)
    with pytest.raises(OptionError, match=r"none of the 2 heads of .*: at most 0.5"):
        extract(model, tokenizer, pattern="heads", sparsity=0.6, **settings)
    with pytest.raises(SiteError, match=r"need the site 'model.layers.0.mlp.gate_proj'"):
        extract(model, tokenizer, pattern="channels", ignore=["gate_proj"], **settings)
    for pattern in ("2:4", "channels", "heads"):
        with pytest.raises(OptionError, match=f"pattern 'global' or lora:R only, not '{pattern}'"):
            extract(model, tokenizer, target="bold", pattern=pattern, limit=2)


def test_what_does_not_fit_is_said_before_anything_is_read():
    model, tokenizer = tiny_model("llama")
    stages = []
    extractor = Extractor(model, tokenizer, report=lambda *said: stages.append(said))
    with pytest.raises(OptionError, match="divisible by 5"):
        extractor.extract(*personas(), criterion="wanda", pattern="2:5")
    assert not stages


@pytest.fixture(scope="module")
def reading():
    model, tokenizer = tiny_model("llama")
    return Extractor(model, tokenizer, general=["well then", "so it is", "yes no", "ing"])


@pytest.mark.parametrize("criterion", [name for name, item in CRITERIA.items() if not light(item)])
def test_every_criterion_keeps_to_few_rows_and_columns(reading, criterion):
    made = reading.extract(*personas(), criterion=criterion, pattern="lora:2", sparsity=0.05)
    assert made.pruned > 0
    for keep in made.keep.values():
        assert sum(map(len, minimum_cover(~keep))) <= 2
    rows = reading.extract(*personas(), criterion=criterion, pattern="lora:500", sparsity=0.05)
    assert sum(map(len, minimum_cover(~next(iter(rows.keep.values()))))) > 2


def test_sparsegpt_cannot_change_the_rest_of_a_site_and_keep_to_few_lines(reading):
    with pytest.raises(OptionError, match="compensate changes weights all over a site"):
        reading.extract(
            *personas(), criterion="sparsegpt", pattern="lora:2", options={"compensate": True}
        )


def test_layers_may_lose_different_shares_in_few_lines(reading):
    made = reading.extract(
        *personas(), criterion="wanda", pattern="lora:4", sparsity=0.03, options={"owl": 0.02}
    )
    assert all(sum(map(len, minimum_cover(~keep))) <= 4 for keep in made.keep.values())

"""Rows of one batch that wear different personas, against each row under its persona alone."""

from __future__ import annotations

import copy
import gc

import pytest
import torch

from prosopon.errors import OptionError, PersonaError, UnknownNameError
from prosopon.models import find_sites
from prosopon.runtime import PersonaModel
from prosopon.runtime.blocks import block, diagonal
from tests.runtime import samples
from tests.tiny import FAMILIES, tiny_model

GREEDY = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
ROWS = ["light", None, {"light": 0.5, "heavy": 0.25}, "heavy", "light", {"unranked": 0.5}]


def attach(model, backend="inplace"):
    attached = PersonaModel(model, backend=backend)
    for seed, (name, share) in enumerate({"light": 0.02, "heavy": 0.3, "unranked": 0.1}.items()):
        persona = samples.subnetwork(model, name, seed=seed, share=share, ranked=name != "unranked")
        attached.load_persona(persona)
    return attached


def wear(attached, row):
    if isinstance(row, dict):
        attached.set_blend(row)
    else:
        attached.set_persona(row)


@torch.no_grad()
def one_by_one(attached, rows, work):
    """Return what ``work`` gives for each row under its persona alone."""
    results = []
    for number, row in enumerate(rows):
        wear(attached, row)
        results.append(work(number))
    attached.disable()
    return results


@pytest.fixture
def llama():
    model, _ = tiny_model("llama")
    base = samples.weights(model)
    with attach(model) as attached:
        yield attached
        assert not any(site.module._forward_hooks for site in attached.sites)
        assert attached.active is None
    samples.assert_bits(model, base)


@pytest.mark.parametrize("family", [*FAMILIES, "mixtral", "gpt_oss"])
def test_every_row_gets_the_logits_and_tokens_of_its_persona(family):
    model, _ = tiny_model(family)
    ids = samples.tokens(model, rows=len(ROWS), length=7)
    base = samples.weights(model)
    with attach(model) as attached:
        logits = one_by_one(attached, ROWS, lambda n: model(ids[n : n + 1]).logits[0])
        tokens = one_by_one(
            attached, ROWS, lambda n: attached.generate(ids[n : n + 1], **GREEDY)[0]
        )
        with attached.mixed(ROWS), torch.no_grad():
            samples.assert_bits(model, base)
            together = model(ids).logits
        assert torch.allclose(together, torch.stack(logits), atol=2e-4, rtol=1e-4)
        assert not torch.allclose(together[0], together[1], atol=1e-2)
        written = attached.generate(ids, personas=ROWS, **GREEDY)
    width = max(len(row) for row in tokens)
    padded = [torch.nn.functional.pad(row, (0, width - len(row))) for row in tokens]
    assert torch.equal(written, torch.stack(padded))


@pytest.mark.parametrize(
    "rows",
    [["heavy"] * 4, ["light", "heavy"], ["heavy", "heavy", "light", "light"], [None, None]],
    ids=str,
)
@pytest.mark.parametrize("family", ["llama", "opt", "gpt2"])
def test_rows_in_any_arrangement(family, rows):
    model, _ = tiny_model(family)
    ids = samples.tokens(model, rows=len(rows))
    with attach(model) as attached:
        expected = one_by_one(attached, rows, lambda n: model(ids[n : n + 1]).logits[0])
        with attached.mixed(rows), torch.no_grad():
            for length in (ids.shape[1], 1):
                together = model(ids[:, :length]).logits
                alone = torch.stack(expected)[:, :length]
                assert torch.allclose(together, alone, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("backend", ["correction", "functional", "inplace"])
def test_every_backend(backend):
    model, _ = tiny_model("gpt2")
    ids = samples.tokens(model, rows=len(ROWS))
    with attach(model, backend) as attached:
        expected = one_by_one(attached, ROWS, lambda n: model(ids[n : n + 1]).logits[0])
        with attached.mixed(ROWS), torch.no_grad():
            together = model(ids).logits
    assert torch.allclose(together, torch.stack(expected), atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_every_precision(dtype):
    model, _ = tiny_model("llama", dtype=dtype)
    ids = samples.tokens(model, rows=len(ROWS))
    with attach(model) as attached:
        expected = torch.stack(
            one_by_one(attached, ROWS, lambda n: model(ids[n : n + 1]).logits[0])
        )
        with attached.mixed(ROWS), torch.no_grad():
            together = model(ids).logits
    assert together.dtype == dtype
    scale = expected.abs().max()
    assert (together - expected).abs().max() < 8 * torch.finfo(dtype).eps * scale


@pytest.mark.parametrize("family", ["llama", "opt", "gpt2"])
def test_beams_and_several_sequences_wear_what_their_row_wears(family):
    model, _ = tiny_model(family)
    ids = samples.tokens(model, rows=3, length=5)
    rows = ["heavy", None, "light"]
    options = GREEDY | {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 5}
    with attach(model) as attached:
        expected = one_by_one(
            attached, rows, lambda n: attached.generate(ids[n : n + 1], **options)
        )
        written = attached.generate(ids, personas=rows, **options)
        model.generation_config.num_beams = 3
        del options["num_beams"]
        assert torch.equal(attached.generate(ids, personas=rows, **options), written)
    assert written.shape[0] == 6
    for number, each in enumerate(expected):
        ours = written[2 * number : 2 * number + 2, : each.shape[1]]
        assert torch.equal(ours, each)


def test_left_padded_rows(llama):
    model, ids = llama.model, samples.tokens(llama.model, rows=3, length=6)
    rows, lengths = ["heavy", "light", None], [6, 3, 4]
    mask = torch.tensor([[0] * (6 - n) + [1] * n for n in lengths])
    alone = one_by_one(
        llama, rows, lambda n: llama.generate(ids[n : n + 1, 6 - lengths[n] :], **GREEDY)[0]
    )
    together = llama.generate(ids * mask, attention_mask=mask, personas=rows, **GREEDY)
    for row, expected, length in zip(together, alone, lengths, strict=True):
        told = expected[length:]
        assert torch.equal(row[6 : 6 + len(told)], told)
    assert model.training is False


def test_what_was_worn_is_worn_again(llama):
    llama.set_persona("heavy", gamma=0.5)
    with pytest.raises(PersonaError, match="the batch"), llama.mixed(["light", None]):
        llama(samples.tokens(llama.model, rows=1))
    assert (llama.active, llama.gamma) == ("heavy", 0.5)
    llama.set_blend({"light": 0.5})
    with llama.mixed([None]):
        llama.unload_persona("light")
    assert llama.active is None


def test_wrong_rows_are_refused(llama):
    ids = samples.tokens(llama.model, rows=3)
    with llama.mixed(["light", None]):
        with pytest.raises(
            PersonaError, match="the batch has 3 rows, but personas were given for 2"
        ):
            llama(ids)
        llama(ids[:2])
    with pytest.raises(PersonaError, match="the batch has 3 rows, but"):
        llama.generate(ids, personas=["light", None], num_beams=4, **GREEDY)
    with pytest.raises(OptionError, match="at least one row"), llama.mixed([]):
        pass
    with pytest.raises(OptionError, match="copies"), llama.mixed(["light"], copies=0):
        pass
    with pytest.raises(UnknownNameError, match="unknown persona 'x'"), llama.mixed(["light", "x"]):
        pass


def test_nothing_else_is_worn_meanwhile(llama):
    with llama.mixed(["light", None]):
        for call in (
            lambda: llama.set_persona("heavy"),
            lambda: llama.set_blend({"heavy": 1}),
            llama.disable,
            lambda: llama.mixed(["light"]).__enter__(),
            lambda: llama.persona("light").__enter__(),
        ):
            with pytest.raises(PersonaError, match="mixed batch is under way"):
                call()
        assert llama.model.model.layers[0].mlp.up_proj._forward_hooks
    llama.set_persona("heavy")
    llama.disable()


def test_closing_meanwhile_takes_the_hooks_away():
    model, _ = tiny_model("llama")
    before = samples.logits(model)
    attached = attach(model)
    with attached.mixed(["heavy"]):
        attached.close()
        assert torch.equal(samples.logits(model), before)


def test_a_row_of_the_base_is_the_base_to_the_bit(llama):
    ids = samples.tokens(llama.model, rows=3)
    with torch.no_grad():
        dense = llama(ids).logits
        with llama.mixed([None, "heavy", None]):
            mixed = llama(ids).logits
    assert torch.equal(mixed[0], dense[0])
    assert torch.equal(mixed[2], dense[2])
    assert not torch.allclose(mixed[1], dense[1], atol=1e-2)


def test_blocks_are_kept_until_weights_or_personas_change():
    model, _ = tiny_model("llama")
    ids = samples.tokens(model, rows=2)
    rows = ["heavy", {"light": 0.5, "heavy": 0.5}]

    def check(attached):
        expected = one_by_one(attached, rows, lambda n: model(ids[n : n + 1]).logits[0])
        with attached.mixed(rows), torch.no_grad():
            found = model(ids).logits
        assert torch.allclose(found, torch.stack(expected), atol=2e-4, rtol=1e-4)

    with attach(model) as attached:
        check(attached)
        kept = dict(attached._dresser.blocks.cache._entries)
        check(attached)
        assert all(attached._dresser.blocks.cache._entries[key] is kept[key] for key in kept)
        for parameter in model.parameters():
            parameter.data.mul_(1.1)
        check(attached)
        model.double()
        check(attached)
        attached.unload_persona("heavy")
        assert not attached._dresser.blocks.cache._entries
        assert not attached._dresser.blocks.cache.nbytes
        attached._dresser.blocks.cache.limit = 1000
        attached.load_persona(samples.subnetwork(model, "heavy", seed=7, ranked=True))
        check(attached)
        assert attached._dresser.blocks.cache.nbytes <= 1000


def test_experts_are_refused():
    model, _ = tiny_model("llama")
    mlp = model.model.layers[0].mlp
    mlp.experts = torch.nn.ModuleList([torch.nn.Linear(32, 32)])
    with attach(model) as attached, pytest.raises(PersonaError, match=r"experts\.0' is an expert"):
        attached.mixed(["heavy"]).__enter__()
    gc.collect()
    assert not any(module._forward_hooks for module in model.modules())


def test_blocks_are_the_difference_of_the_weights():
    model, _ = tiny_model("gpt2")
    site = find_sites(model)[0]
    with attach(model) as attached:
        looks = [attached._dresser.wardrobe.row(row).look for row in ROWS if row]
        blocks = [block(site, attached._dresser.backend.gating(look, site)) for look in looks]
        dense = diagonal(site, blocks).to_dense()
        expected = copy.deepcopy(dense).zero_()
        before = site.matrix().clone()
        for place, row in enumerate(filter(None, ROWS)):
            wear(attached, row)
            lines, columns = place * site.out_features, place * site.in_features
            expected[lines : lines + site.out_features, columns : columns + site.in_features] = (
                before - site.matrix()
            )
    assert torch.equal(dense, expected)


def test_beams_that_the_model_asks_for_and_settings_that_do_not_say(llama):
    """Settings of one's own leave out the beams, and the model's configuration adds them."""
    from transformers import GenerationConfig

    ids = samples.tokens(llama.model, rows=2)
    expected = llama.generate(ids, personas=["light", None], num_beams=4, **GREEDY)
    before = llama.model.generation_config
    llama.model.generation_config = GenerationConfig(num_beams=4, pad_token_id=0)
    try:
        own = GenerationConfig(**GREEDY)
        found = llama.generate(ids, personas=["light", None], generation_config=own)
    finally:
        llama.model.generation_config = before
    assert torch.equal(found, expected)
    with pytest.raises(PersonaError, match="the batch has 2 rows, but personas were given for 1"):
        llama.generate(ids, personas=["light"], **GREEDY)

"""Masks worn by models that bitsandbytes and torchao really quantised: make quantised."""

import copy

import pytest
import torch

from prosopon import Extractor, PersonaModel, load_model
from prosopon.errors import ExportError, SiteError, SubnetworkError
from prosopon.export import export_persona
from prosopon.models import find_sites, fingerprint
from prosopon.models.quantised import dequantised, is_quantised
from prosopon.runtime.membership import QUANTISED_FROM
from tests.runtime import samples
from tests.tiny import tiny_model

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*:UserWarning", "ignore:.*:FutureWarning", "ignore:.*:DeprecationWarning"
)
# Kinds that round activations too compute with other numbers than x; their error is their own.
KINDS = {"int8 weights": 1e-5, "int8": 0.04, "bnb 8 bits": 0.04, "bnb nf4": 1e-5}


def settings(kind):
    from transformers import BitsAndBytesConfig, TorchAoConfig

    if kind.startswith("bnb"):
        pytest.importorskip("bitsandbytes")
        if kind == "bnb 8 bits":
            return BitsAndBytesConfig(load_in_8bit=True)
        return BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
        )
    ao = pytest.importorskip("torchao.quantization")
    chosen = {
        "int8 weights": ao.Int8WeightOnlyConfig,
        "int8": ao.Int8DynamicActivationInt8WeightConfig,
    }
    return TorchAoConfig(chosen[kind]())


@pytest.fixture(scope="module", params=list(KINDS))
def quantised(request, tmp_path_factory):
    """The kind, the plain model, its quantised copy, and the copy's folder."""
    from transformers import AutoModelForCausalLM

    quantisation = settings(request.param)
    folder = tmp_path_factory.mktemp("model")
    plain, tokenizer = tiny_model("llama")
    plain.save_pretrained(folder / "plain")
    model = AutoModelForCausalLM.from_pretrained(
        folder / "plain", quantization_config=quantisation, device_map="cpu"
    )
    model.save_pretrained(folder / "quantised")
    tokenizer.save_pretrained(folder / "quantised")
    return request.param, plain, model.eval().requires_grad_(False), folder / "quantised"


def distance(ours, theirs):
    return float((ours.float() - theirs).norm() / theirs.norm())


def masked_by_hand(plain, model, persona):
    """Return a plain model of the dequantised weights, masked."""
    other, copies = copy.deepcopy(plain), find_sites(model, quantised=True)
    for site, twin in zip(find_sites(other), copies, strict=True):
        weight = dequantised(twin.module).float()
        site.matrix().copy_(torch.where(persona.keep[site.name], weight, 0.0))
    return other


def test_worn_it_computes_what_its_dequantised_weights_masked_compute(quantised):
    kind, plain, model, _ = quantised
    persona = samples.subnetwork(plain)
    base = samples.logits(model)
    expected = samples.logits(masked_by_hand(plain, model, persona))
    with PersonaModel(model, quantised_from=persona.config.base_model) as wearer:
        assert all(site.quantised for site in wearer.sites)
        wearer.set_persona(wearer.load_persona(persona))
        worn = samples.logits(model)
        assert distance(worn, expected) < KINDS[kind]
        assert distance(base, expected) > 0.5
        with wearer.mixed([None, "introvert"]):
            both = samples.logits(model)
        assert distance(both[0], base[0]) < KINDS[kind]
        assert distance(both[1], worn[1]) < KINDS[kind]
    assert torch.equal(samples.logits(model), base)


def test_weights_are_read_in_their_shape_and_close_to_the_original(quantised):
    kind, plain, model, _ = quantised
    for site, twin in zip(find_sites(plain), find_sites(model, quantised=True), strict=True):
        assert (site.name, site.shape) == (twin.name, twin.shape)
        assert is_quantised(twin.module)
        assert not is_quantised(site.module)
        assert twin.matrix().shape == site.shape
        assert distance(twin.matrix(), site.matrix()) < (0.15 if kind == "bnb nf4" else 0.01)
    signs = fingerprint(find_sites(plain)), fingerprint(find_sites(model, quantised=True))
    assert signs[0].architecture == signs[1].architecture
    assert signs[0].weights != signs[1].weights  # which is why the copy has to say what it is of


def test_nothing_but_wearing_is_done_with_it(quantised, tmp_path):
    _, plain, model, _ = quantised
    persona = samples.subnetwork(plain)
    for refused in (
        lambda: Extractor(model, None),
        lambda: PersonaModel(model, backend="inplace"),
        lambda: PersonaModel(model, backend="functional"),
    ):
        with pytest.raises(SiteError, match="only wear masks of the unquantised model"):
            refused()
    with pytest.raises(ExportError, match="is quantised"):
        export_persona(model, None, persona, format="checkpoint", output=tmp_path / "out")
    with pytest.raises(SubnetworkError, match="fingerprint says nothing"), PersonaModel(model) as w:
        w.load_persona(persona)
    other = samples.subnetwork(tiny_model("gpt2")[0])
    says = {"quantised_from": other.config.base_model}
    with pytest.raises(SubnetworkError, match="has no site"), PersonaModel(model, **says) as w:
        w.load_persona(other)


def test_a_saved_copy_that_says_what_it_is_of_is_loaded_and_worn(quantised):
    _, plain, _, folder = quantised
    persona = samples.subnetwork(plain)
    loaded = load_model(folder, device="cpu").model
    setattr(loaded.config, QUANTISED_FROM, persona.config.base_model)
    loaded.config.save_pretrained(folder)
    again = load_model(folder, device="cpu").model
    with PersonaModel(again) as wearer:
        base = samples.logits(again)
        wearer.set_persona(wearer.load_persona(persona))
        assert distance(samples.logits(again), base) > 0.5

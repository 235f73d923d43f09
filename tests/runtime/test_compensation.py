"""A compensated persona through every door: the destructive result, and the base bit for bit."""

import copy
from contextlib import contextmanager

import pytest
import torch

from prosopon import Extractor, PersonaModel, Subnetwork
from prosopon.data import load_persona
from prosopon.errors import PersonaError, SubnetworkError
from prosopon.models import find_sites
from prosopon.runtime import attach, worn
from prosopon.subnetwork import COMPENSATION_NAME, Compensation
from tests.runtime import samples
from tests.tiny import tiny_model

BACKENDS = ("inplace", "functional")


def extracted(model, tokenizer, **options):
    return Extractor(model, tokenizer).extract(
        load_persona("bold", limit=6), criterion="sparsegpt", options=options
    )


def destroyed(model, subnetwork):
    """Write the new weights into a copy of the model, by hand and for good."""
    other = copy.deepcopy(model)
    modules = dict(other.named_modules())
    for name, keep in subnetwork.keep.items():
        module = modules[name]
        weight = torch.zeros(keep.shape, dtype=module.weight.dtype)
        weight[keep] = subnetwork.compensation.values[name]
        turned = weight.T if module.weight.shape != keep.shape or is_conv1d(module) else weight
        module.weight.data = turned.contiguous()
    return other


def is_conv1d(module):
    return type(module).__name__ == "Conv1D"


@pytest.fixture(scope="module")
def model():
    return tiny_model("llama")[0]


@pytest.fixture(scope="module")
def made(model):
    return extracted(*tiny_model("llama"), compensate="true", block="8")


@contextmanager
def by_worn(model, subnetwork, backend):
    with worn(model, None, subnetwork):
        yield


@contextmanager
def by_persona(model, subnetwork, backend):
    with PersonaModel(model, backend=backend) as attached:
        name = attached.load_persona(subnetwork)
        with attached.persona(name):
            assert (attached.active, attached.gamma, attached.strength) == (name, 0.0, 1.0)
            yield


@contextmanager
def by_blend(model, subnetwork, backend):
    with PersonaModel(model, backend=backend) as attached:
        attached.load_persona(subnetwork, "it")
        attached.load_persona(samples.subnetwork(model, "other"))
        attached.set_persona("other")
        attached.set_blend({"it": 1.0})
        yield


DOORS = [by_worn, by_persona, by_blend]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_worn_is_the_destructive_result(model, made, door, backend):
    base, expected = samples.weights(model), samples.logits(destroyed(model, made))
    mask = Subnetwork(made.keep, made.config)
    with door(model, made, backend):
        assert torch.equal(samples.logits(model), expected)
    samples.assert_bits(model, base)
    with worn(model, None, mask):  # what was worn before this: the mask alone
        assert float((samples.logits(model) - expected).abs().max()) > 0.1
    with pytest.raises(RuntimeError, match="midway"), door(model, made, backend):
        raise RuntimeError("midway")
    samples.assert_bits(model, base)


@pytest.mark.parametrize(
    ("family", "dtype"), [("gpt2", torch.float32), ("opt", torch.bfloat16)], ids=str
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_other_layouts_and_dtypes_from_a_folder(family, dtype, backend, tmp_path):
    model, tokenizer = tiny_model(family, dtype=dtype)
    base, places = samples.weights(model), samples.pointers(model)
    subnetwork = extracted(model, tokenizer, compensate="true", block="8")
    samples.assert_bits(model, base)
    subnetwork.save_pretrained(tmp_path)
    with PersonaModel(model, backend=backend) as attached:
        attached.set_persona(attached.load_persona(tmp_path))
        assert torch.equal(samples.logits(model), samples.logits(destroyed(model, subnetwork)))
        assert samples.pointers(model) == places
    samples.assert_bits(model, base)


@pytest.mark.parametrize("backend", BACKENDS)
def test_switching_to_and_fro_among_masks(model, made, backend):
    base = samples.weights(model)
    other = samples.subnetwork(model, "other", seed=3)
    with PersonaModel(model, backend=backend) as attached:
        attached.load_persona(made, "it")
        attached.set_persona("it")
        attached.load_persona(other)  # its fingerprint and its originals are the base's
        assert attached.active == "it"
        compensated = samples.logits(model)
        attached.set_persona("other")
        alone = samples.logits(model)
        with attached.persona("it"):
            assert torch.equal(samples.logits(model), compensated)
            with attached.mixed([None, "other"]):
                assert torch.equal(samples.weights(model)["lm_head.weight"], base["lm_head.weight"])
            assert torch.equal(samples.logits(model), compensated)
        assert torch.equal(samples.logits(model), alone)
        attached.set_persona("it", gamma=1.0)
        samples.assert_bits(model, base)
        attached.set_persona("it")
        attached.unload_persona("it")
        assert attached.active is None
        samples.assert_bits(model, base)


def test_in_part_it_is_refused_and_nothing_changes(model, made):
    with PersonaModel(model) as attached:
        attached.load_persona(made, "it")
        attached.load_persona(samples.subnetwork(model, "other", ranked=True))
        attached.set_persona("other")
        before = samples.weights(model)
        for refused in (
            lambda: attached.set_persona("it", strength=0.5),
            lambda: attached.set_persona("it", gamma=0.5),
            lambda: attached.set_blend({"it": 0.5}),
            lambda: attached.set_blend({"it": 1, "other": 0.5}, mode="gate"),
            lambda: attached.mixed(["it", None]).__enter__(),
        ):
            with pytest.raises(PersonaError, match="'it' has new values for its kept weights"):
                refused()
            assert attached.active == "other"
            samples.assert_bits(model, before)
    with pytest.raises(SubnetworkError, match="one strength only: the new values"):
        made.at_strength(0.5)


def test_the_outputs_of_a_layer_are_closer_than_with_the_mask_alone(made):
    """At the first site, whose input no pruning has changed."""
    model, tokenizer = tiny_model("llama")
    site = find_sites(model)[0]
    seen = []
    handle = site.module.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    for example in load_persona("bold", limit=6).examples:
        model(input_ids=torch.tensor([tokenizer(example.response).input_ids]))
    handle.remove()
    x = torch.cat([each.flatten(0, 1) for each in seen]).double()
    weight, keep = site.matrix().double(), made.keep[site.name]
    update = made.compensation.matrix(site.name, keep).double()
    alone = ((weight * ~keep) @ x.T).square().sum()
    assert ((weight - update) @ x.T).square().sum() < 0.7 * alone


def test_restored_when_writing_breaks_off(model, made, monkeypatch):
    base = samples.weights(model)
    with PersonaModel(model) as attached:
        attached.load_persona(made, "it")
        sites, whole = [], Compensation.matrix

        def failing(self, name, keep):
            sites.append(name)
            if len(sites) == 4:
                raise RuntimeError("midway")
            return whole(self, name, keep)

        monkeypatch.setattr(Compensation, "matrix", failing)
        with pytest.raises(RuntimeError, match="midway"):
            attached.set_persona("it")
        assert attached.active is None
        samples.assert_bits(model, base)
        attached.set_persona("it")
        assert not torch.equal(
            samples.weights(model)[f"{sites[0]}.weight"], base[f"{sites[0]}.weight"]
        )
    samples.assert_bits(model, base)


def test_a_model_that_is_cast_meanwhile_has_the_base_of_the_new_dtype():
    model, tokenizer = tiny_model("llama")
    made = extracted(model, tokenizer, compensate="true", block="8")
    expected = samples.weights(copy.deepcopy(model).to(torch.bfloat16))
    with PersonaModel(model) as attached:
        attached.set_persona(attached.load_persona(made))
        model.to(torch.bfloat16)
    samples.assert_bits(model, expected)


def test_values_of_another_mask_and_another_model_are_refused(model, made):
    broken = Subnetwork(made.keep, made.config)
    values = dict(made.compensation.values)
    last = list(values)[-1]
    for wrong in ({last: values[last][:-1]}, {"nowhere": values[last]}):
        broken.compensation = Compensation(values | wrong)
        for backend in BACKENDS:
            with (
                PersonaModel(model, backend=backend) as attached,
                pytest.raises(SubnetworkError, match="belongs to another mask"),
            ):
                attached.load_persona(broken)
            assert attached.personas == []
    other, _ = tiny_model("llama", seed=1)
    with pytest.raises(SubnetworkError, match="weights fingerprint differs"):
        worn(other, None, made).__enter__()


def test_one_owner_at_a_time_and_the_base_for_none(model, made):
    with worn(model, None, made) as attached:
        assert attached.active == "bold"
        with pytest.raises(PersonaError, match="belongs to another"):
            PersonaModel(model)
    with worn(model, None, None) as attached:
        assert attached is None
        attach(model, None, made).close()  # nobody owns the sites


def test_a_damaged_file_and_one_of_other_masks(made, tmp_path):
    made.save_pretrained(tmp_path)
    path = tmp_path / COMPENSATION_NAME
    whole = path.read_bytes()
    for damaged in (b"", whole[:50], whole[:-2], whole[:-1] + bytes([whole[-1] ^ 1])):
        path.write_bytes(damaged)
        with pytest.raises(SubnetworkError, match=COMPENSATION_NAME):
            Subnetwork.from_pretrained(tmp_path)
    path.write_bytes(whole.replace(b'\\"format_version\\": 1', b'\\"format_version\\": 9'))
    with pytest.raises(SubnetworkError, match="format_version is 9"):
        Subnetwork.from_pretrained(tmp_path)
    path.unlink()
    alone = Subnetwork.from_pretrained(tmp_path)
    assert alone.compensation is None
    keep = {name: mask.clone() for name, mask in alone.keep.items()}
    next(iter(keep.values()))[0] = True
    Subnetwork(keep, alone.config.model_copy(update={"sites": {}})).save_pretrained(tmp_path)
    path.write_bytes(whole)
    with pytest.raises(SubnetworkError, match="belongs to other masks"):
        Subnetwork.from_pretrained(tmp_path)
    alone.save_pretrained(tmp_path)  # takes the older update away
    assert not path.exists()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_name_given_anew_has_nothing_of_the_persona_before(model, made, backend):
    plain = Subnetwork(made.keep, made.config)
    ids = torch.arange(6, 22).view(1, -1)
    with PersonaModel(model, backend=backend) as wearer:
        first = wearer.load_persona(plain)
        with wearer.persona(first):
            expected = model(ids).logits
        wearer.unload_persona(first)
        wearer.unload_persona(wearer.load_persona(made, "one"))
        with wearer.persona(wearer.load_persona(plain, "one")):
            assert torch.equal(model(ids).logits, expected)


def test_a_mask_of_some_sites_is_worn_where_others_cannot_have_one():
    model, tokenizer = tiny_model("mixtral")
    targets = ["*self_attn*"]
    mask = Extractor(model, tokenizer, targets=targets).extract(
        load_persona("bold", limit=3), criterion="magnitude", sparsity=0.5
    )
    ids = torch.arange(6, 22).view(1, -1)
    base = model(ids).logits
    with worn(model, None, mask) as wearer:
        assert {site.name for site in wearer.sites} == set(mask.sites)
        assert not torch.equal(model(ids).logits, base)
    assert torch.equal(model(ids).logits, base)

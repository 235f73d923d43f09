"""The update beside a mask: file, application, and the way back bit for bit."""

import pytest
import torch

from prosopon import Extractor, PersonaModel, Subnetwork
from prosopon.data import load_persona
from prosopon.errors import PersonaError, SubnetworkError
from prosopon.models import find_sites
from prosopon.runtime import Compensated
from prosopon.subnetwork import COMPENSATION_NAME
from tests.tiny import tiny_model


def extracted(model, tokenizer, **options):
    return Extractor(model, tokenizer).extract(
        load_persona("bold", limit=6), criterion="sparsegpt", options=options
    )


def snapshot(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_base(model, before):
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
        assert torch.equal(value.signbit(), before[name].signbit()), name


@pytest.fixture(scope="module")
def made():
    model, tokenizer = tiny_model("llama")
    return extracted(model, tokenizer, compensate="true", block="8")


@pytest.mark.parametrize(
    ("family", "dtype"),
    [("llama", torch.float32), ("gpt2", torch.float32), ("opt", torch.bfloat16)],
)
def test_applied_and_restored_bit_for_bit(family, dtype, tmp_path):
    model, tokenizer = tiny_model(family, dtype=dtype)
    before = snapshot(model)
    subnetwork = extracted(model, tokenizer, compensate="true", block="8")
    assert_base(model, before)
    subnetwork.save_pretrained(tmp_path)
    loaded = Subnetwork.from_pretrained(tmp_path)
    assert loaded == subnetwork
    places = {name: p.data_ptr() for name, p in model.named_parameters()}
    with Compensated(model, loaded):
        changed = 0
        for site in find_sites(model):
            keep, matrix = loaded.keep[site.name], site.matrix()
            whole = subnetwork.compensation.matrix(site.name, keep)
            assert whole.dtype == dtype
            assert torch.equal(matrix[keep], whole[keep])
            assert not matrix[~keep].any()
            base = site.oriented(before[f"{site.name}.weight"])
            changed += int((matrix[keep] != base[keep]).sum())
        assert changed > 100
        assert {name: p.data_ptr() for name, p in model.named_parameters()} == places
    assert_base(model, before)


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


def test_restored_after_an_exception_and_again(made):
    model, _ = tiny_model("llama")
    before = snapshot(model)
    with pytest.raises(RuntimeError, match="midway"), Compensated(model, made):
        raise RuntimeError("midway")
    assert_base(model, before)
    worn = Compensated(model, made)
    worn.restore()
    worn.restore()
    assert_base(model, before)


def test_restored_when_writing_breaks_off(made, monkeypatch):
    model, _ = tiny_model("llama")
    before = snapshot(model)
    broken = Subnetwork(made.keep, made.config)
    broken.compensation = type(made.compensation)(dict(made.compensation.values))
    last = list(broken.keep)[-1]
    broken.compensation.values[last] = broken.compensation.values[last][:-1]
    with pytest.raises(SubnetworkError, match="belongs to another mask"):
        Compensated(model, broken)
    assert_base(model, before)
    with Compensated(model, made):
        pass  # the sites were let go


def test_one_owner_at_a_time(made):
    model, tokenizer = tiny_model("llama")
    with Compensated(model, made), pytest.raises(PersonaError, match="belongs to another"):
        PersonaModel(model)
    with PersonaModel(model, tokenizer) as wearer:
        wearer.set_persona(wearer.load_persona(made))  # the mask alone
        with pytest.raises(PersonaError, match="belongs to another"):
            Compensated(model, made)


def test_refused(made):
    other, _ = tiny_model("llama", seed=1)
    with pytest.raises(SubnetworkError, match="weights fingerprint differs"):
        Compensated(other, made)
    model, tokenizer = tiny_model("llama")
    alone = extracted(model, tokenizer)
    assert alone.compensation is None
    with pytest.raises(PersonaError, match="has no compensation: extract it with"):
        Compensated(model, alone)


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

from __future__ import annotations

import pytest
import torch

from prosopon.errors import PersonaError, SubnetworkError
from prosopon.runtime import PersonaModel
from prosopon.subnetwork import Subnetwork
from tests.runtime import samples
from tests.tiny import tiny_model

NOT_OURS = "subnetwork 'introvert' does not belong to this model: "


@pytest.fixture
def model():
    return tiny_model("llama")[0]


@pytest.fixture
def attached(model):
    with PersonaModel(model) as attached:
        yield attached


def altered(subnetwork, **changes):
    return Subnetwork(subnetwork.keep, subnetwork.config.model_copy(update=changes))


def test_loads_from_a_folder_under_its_own_or_another_name(model, attached, tmp_path):
    samples.subnetwork(model).save_pretrained(tmp_path / "folder")
    assert attached.load_persona(tmp_path / "folder") == "introvert"
    assert attached.load_persona(str(tmp_path / "folder"), "shy") == "shy"
    assert attached.personas == ["introvert", "shy"]
    assert attached.config("shy").persona == "introvert"
    with pytest.raises(PersonaError, match="'shy' is loaded already"):
        attached.load_persona(tmp_path / "folder", "shy")


def test_a_damaged_folder_is_refused(attached, tmp_path):
    with pytest.raises(SubnetworkError, match="no such folder"):
        attached.load_persona(tmp_path / "nowhere")
    assert attached.personas == []


def test_other_weights(attached):
    other = samples.subnetwork(tiny_model("llama", seed=1)[0])
    with pytest.raises(
        SubnetworkError,
        match=NOT_OURS + r"the architecture is the same, but the weights .* load 'org/model' at "
        r"revision '0123abc', or extract",
    ):
        attached.load_persona(other)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_same_weights_in_another_precision_fit(model, dtype):
    made = samples.subnetwork(model)
    with PersonaModel(model.to(dtype)) as attached:
        attached.load_persona(made)


def test_another_family(attached):
    with pytest.raises(SubnetworkError, match=NOT_OURS + r"it has no site 'transformer.* and \d"):
        attached.load_persona(samples.subnetwork(tiny_model("gpt2")[0]))


def test_another_shape(model, attached):
    name = "model.layers.0.mlp.up_proj"
    right = samples.subnetwork(model)
    config = right.config.model_copy(update={"sites": {}})
    wrong = Subnetwork(right.keep | {name: right.keep[name].T.contiguous()}, config)
    with pytest.raises(
        SubnetworkError, match=rf"{NOT_OURS}its site '{name}' is \[48, 32\], not \[32, 48\]"
    ):
        attached.load_persona(wrong)


def test_another_architecture_fingerprint(model, attached):
    right = samples.subnetwork(model)
    record = right.config.fingerprint.model_copy(update={"architecture": "0" * 64})
    with pytest.raises(SubnetworkError, match=NOT_OURS + "the architecture fingerprint differs"):
        attached.load_persona(altered(right, fingerprint=record))


def test_a_subnetwork_of_some_sites_fits_a_model_with_more(model, attached):
    attached.load_persona(samples.subnetwork(model, targets=["*.mlp.*"]))


def test_a_model_attached_by_fewer_sites_refuses_a_subnetwork_of_all(model):
    with (
        PersonaModel(model, targets=["*.mlp.*"]) as attached,
        pytest.raises(
            SubnetworkError, match=r"q_proj.*targets and ignore that leave those sites in"
        ),
    ):
        attached.load_persona(samples.subnetwork(model))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_loads_while_another_persona_is_worn(dtype):
    """The fingerprint reads signs, which a gate of any strength leaves alone."""
    model, _ = tiny_model("llama", dtype=dtype)
    first, second = samples.subnetwork(model), samples.subnetwork(model, "second", seed=1)
    with PersonaModel(model) as attached:
        attached.load_persona(first)
        for gamma in (0.0, 1e-30, 0.5):
            attached.set_persona("introvert", gamma=gamma)
            attached.load_persona(second)
            attached.unload_persona("second")

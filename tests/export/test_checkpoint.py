"""Plain checkpoints: what anyone loads computes exactly what the worn persona computes."""

from __future__ import annotations

import json

import pytest
import torch

from prosopon.errors import ExportError, SubnetworkError
from prosopon.export import checkpoint, export_persona
from prosopon.models import find_sites, fingerprint
from prosopon.runtime import PersonaModel
from prosopon.subnetwork import Subnetwork
from tests.export.samples import (
    half_model,
    loaded_logits,
    structured_keep,
    subnetwork_of,
    worn_logits,
)
from tests.runtime.samples import assert_bits, bits, logits, pointers, subnetwork, weights
from tests.subnetwork.samples import config
from tests.tiny import FAMILIES, tiny_model


@pytest.mark.parametrize("family", FAMILIES)
def test_the_logits_are_the_worn_personas(family, tmp_path):
    model, tokenizer = tiny_model(family)
    persona = subnetwork(model)
    base, before = weights(model), pointers(model)
    report = export_persona(model, tokenizer, persona, format="checkpoint", output=tmp_path / "out")
    assert_bits(model, base)
    assert pointers(model) == before
    expected = worn_logits(model, persona)
    assert torch.equal(loaded_logits(tmp_path / "out"), expected)
    assert not torch.equal(logits(model), expected)
    assert report["pruned"] == persona.pruned


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays(dtype, tmp_path):
    model, tokenizer = half_model(dtype, tmp_path / "base")
    persona = subnetwork(model)
    export_persona(model, tokenizer, persona, format="checkpoint", output=tmp_path / "out")
    assert torch.equal(loaded_logits(tmp_path / "out"), worn_logits(model, persona))
    assert json.loads((tmp_path / "out/config.json").read_text())["dtype"] in str(dtype)


def test_tied_weights_and_shards(tmp_path):
    model, tokenizer = tiny_model("gemma")
    assert model.config.tie_word_embeddings
    persona = subnetwork(model)
    options = {"max-shard-size": "20KB"}
    export_persona(
        model, tokenizer, persona, format="checkpoint", output=tmp_path / "out", options=options
    )
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 1
    assert torch.equal(loaded_logits(tmp_path / "out"), worn_logits(model, persona))


def test_the_tokenizer_and_the_settings_of_generation_come_along(tmp_path):
    from transformers import AutoTokenizer, GenerationConfig

    model, tokenizer = tiny_model(chat=True)
    model.generation_config.max_new_tokens = 7
    export_persona(
        model, tokenizer, subnetwork(model), format="checkpoint", output=tmp_path / "out"
    )
    loaded = AutoTokenizer.from_pretrained(tmp_path / "out")
    text = "Yes, the people; größe"
    assert loaded(text).input_ids == tokenizer(text).input_ids
    assert loaded.chat_template == tokenizer.chat_template
    assert GenerationConfig.from_pretrained(tmp_path / "out").max_new_tokens == 7


def test_the_live_configuration_stays(tmp_path):
    model, tokenizer = tiny_model()
    before = model.config.to_dict()
    export_persona(
        model, tokenizer, subnetwork(model), format="checkpoint", output=tmp_path / "out"
    )
    assert model.config.to_dict() == before


@pytest.mark.parametrize("kind", ["checkpoint", "structured"])
def test_another_persona_is_refused_on_an_exported_checkpoint(kind, tmp_path):
    from transformers import AutoModelForCausalLM

    model, tokenizer = tiny_model()
    keep = structured_keep(model, channels=[[0], [1]])
    first, second = subnetwork_of(model, keep), subnetwork(model, "other", seed=1)
    export_persona(model, tokenizer, first, format=kind, output=tmp_path / "out")
    assert not hasattr(model.config, "prosopon_persona")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    if kind == "checkpoint":
        assert fingerprint(find_sites(loaded)) == fingerprint(find_sites(model))
    with PersonaModel(loaded) as wearer:
        with pytest.raises(SubnetworkError, match="persona 'introvert' was exported, and would"):
            wearer.load_persona(second)
        changes = {"base_model": "out", "fingerprint": second.config.fingerprint}
        own = Subnetwork(second.keep, config(**changes))
        if kind == "checkpoint":  # found on this very checkpoint
            wearer.load_persona(own)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_in_the_middle_leaves_the_base_and_no_folder(monkeypatch, tmp_path, error):
    model, tokenizer = tiny_model()
    base = weights(model)

    def fail(job, live, *args, **options):
        name = find_sites(live)[0].name + ".weight"
        assert not torch.equal(bits(live.state_dict()[name]), bits(base[name]))  # it is worn
        raise error

    monkeypatch.setattr(checkpoint, "save_worn", fail)
    kind = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else ExportError
    with pytest.raises(kind):
        export_persona(
            model, tokenizer, subnetwork(model), format="checkpoint", output=tmp_path / "out"
        )
    assert_bits(model, base)
    assert list(tmp_path.iterdir()) == []
    PersonaModel(model).close()  # the model is free again


def test_what_the_writer_refuses_is_one_line(tmp_path):
    model, tokenizer = tiny_model()
    model.generation_config.num_beams = 0
    model.generation_config.temperature = -1.0
    with pytest.raises(ExportError, match="cannot be saved: "):
        export_persona(
            model, tokenizer, subnetwork(model), format="checkpoint", output=tmp_path / "out"
        )

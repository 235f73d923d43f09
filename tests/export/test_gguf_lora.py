"""llama.cpp adapters, read back with the gguf package and turned back by hand."""

import numpy as np
import pytest
import torch

from prosopon.errors import ExportError
from prosopon.export import export_persona
from prosopon.models import find_sites
from tests.export.samples import half_model, loaded_logits
from tests.export.test_lora import in_lines
from tests.runtime.samples import assert_bits, logits, subnetwork, weights
from tests.tiny import tiny_model

NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # fmt: skip


def export(model, tokenizer, persona, folder, **more):
    return export_persona(model, tokenizer, persona, format="gguf-lora", output=folder, **more)


def read(folder):
    """Return the fields, and every tensor in torch's order of dimensions, bfloat16 as float32."""
    from gguf import GGMLQuantizationType, GGUFReader

    reader = GGUFReader(folder / "adapter.gguf")
    tensors = {}
    for tensor in reader.tensors:
        values = torch.from_numpy(np.array(tensor.data))
        if tensor.tensor_type == GGMLQuantizationType.BF16:
            values = values.contiguous().view(torch.bfloat16)
        tensors[tensor.name] = values.view(*reversed(tensor.shape.tolist())).float()
    return {name: field.contents() for name, field in reader.fields.items()}, tensors


def turned_back(rows, heads):
    """Undo llama.cpp's order of the rows of queries and keys, row by row."""
    size, back = rows.shape[0] // heads, torch.empty_like(rows)
    for head in range(heads):
        for row in range(size // 2):
            back[head * size + row] = rows[head * size + 2 * row]
            back[head * size + size // 2 + row] = rows[head * size + 2 * row + 1]
    return back


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2"])
def test_the_product_is_the_mask_once_the_rows_are_turned_back(family, tmp_path):
    model, tokenizer = tiny_model(family)
    persona, base = in_lines(model), weights(model)
    report = export(model, tokenizer, persona, tmp_path / "out")
    assert_bits(model, base)
    assert (report["exact"], report["rank"], report["tensors"]) == (True, 5, 2 * 14)
    fields, tensors = read(tmp_path / "out")
    expected = {
        "general.architecture": "qwen2" if family == "qwen2" else "llama",
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": 5.0,
    }
    assert {name: fields[name] for name in expected} == expected
    assert len(tensors) == 2 * 14
    for site in find_sites(model):
        _, _, layer, *rest = site.name.split(".")
        name = f"blk.{layer}.{NAMES['.'.join(rest)]}.weight"
        wide, tall = tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"]
        heads = {"attn_q": 4, "attn_k": 2}.get(NAMES[".".join(rest)])
        if heads and family != "qwen2":
            tall = turned_back(tall, heads)
        change = torch.where(persona.keep[site.name], 0.0, -site.matrix())
        assert torch.equal(tall @ wide, change)


def test_half_precision_and_half_strength(tmp_path):
    model, tokenizer = half_model(torch.bfloat16, tmp_path / "base")
    persona = in_lines(model)
    export(model, tokenizer, persona, tmp_path / "out")
    _, tensors = read(tmp_path / "out")
    site = next(site for site in find_sites(model) if site.name.endswith("down_proj"))
    wide, tall = (tensors[f"blk.0.ffn_down.weight.lora_{part}"] for part in "ab")
    change = torch.where(persona.keep[site.name], 0.0, -site.matrix()).float()
    assert torch.equal(tall @ wide, change)
    assert torch.equal(0.5 * tall @ wide, 0.5 * change)


def test_a_mask_of_full_rank_is_approximated(tmp_path):
    model, tokenizer = tiny_model()
    report = export(model, tokenizer, subnetwork(model), tmp_path / "out", options={"rank": "8"})
    assert (report["exact"], report["rank"]) == (False, 8)
    fields, tensors = read(tmp_path / "out")
    assert fields["adapter.lora.alpha"] == 8.0
    assert {tensor.shape[0] for name, tensor in tensors.items() if name.endswith("_a")} == {8}


def test_what_llama_cpp_does_not_know_is_refused(tmp_path):
    model, tokenizer = tiny_model("gpt_neox")
    with pytest.raises(ExportError, match="gpt_neox is not supported; supported are llama"):
        export(model, tokenizer, subnetwork(model), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_card_says_how_to_load_it(tmp_path):
    model, tokenizer = tiny_model()
    export(model, tokenizer, in_lines(model), tmp_path / "out")
    card = (tmp_path / "out/README.md").read_text()
    assert "--lora path/to/this/folder/adapter.gguf" in card
    assert "library_name: transformers" in card
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md", "adapter.gguf", "prosopon.json",
    ]  # fmt: skip


def test_the_base_model_can_be_written_beside_it(tmp_path):
    model, tokenizer = tiny_model(chat=True)
    report = export(model, tokenizer, in_lines(model), tmp_path / "out", options={"base": "true"})
    assert report["base"] == "base.gguf"
    assert torch.equal(loaded_logits(tmp_path / "out", gguf_file="base.gguf"), logits(model))

"""Tensors by name from one file or from shards; what is not there is said."""

import json

import pytest
import torch
from safetensors.torch import save_file

from prosopon.errors import ModelError
from prosopon.layerwise import Checkpoint

TENSORS = {
    "a.weight": torch.arange(12.0).reshape(4, 3),
    "b.weight": torch.ones(2, 2, dtype=torch.bfloat16),
    "ids": torch.arange(3),
}


def single(folder):
    save_file(TENSORS, folder / "model.safetensors")


def sharded(folder):
    names = {"a.weight": "one.safetensors", "b.weight": "two.safetensors", "ids": "two.safetensors"}
    for file in set(names.values()):
        save_file({n: TENSORS[n] for n in names if names[n] == file}, folder / file)
    index = {"metadata": {}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("write", [single, sharded])
def test_reads_what_was_written(tmp_path, write):
    write(tmp_path)
    checkpoint = Checkpoint(tmp_path)
    assert all(name in checkpoint for name in TENSORS)
    assert "ids" in checkpoint
    assert "c.weight" not in checkpoint
    for name, tensor in checkpoint.read(TENSORS).items():
        assert torch.equal(tensor, TENSORS[name])
        assert tensor.dtype == TENSORS[name].dtype
        assert tensor.data_ptr() % 64 == 0
    rows = torch.tensor([3, 0, 3])
    assert torch.equal(checkpoint.rows("a.weight", rows), TENSORS["a.weight"][rows])
    assert checkpoint.dtype().is_floating_point
    with pytest.raises(ModelError, match=r"no tensor 'c\.weight'"):
        checkpoint.read(["c.weight"])


@pytest.mark.parametrize("write", [single, sharded])
def test_identity_changes_with_the_files(tmp_path, write):
    write(tmp_path)
    first = Checkpoint(tmp_path).identity()
    assert first == Checkpoint(tmp_path).identity()
    assert set(first) == {path.name for path in tmp_path.glob("*.safetensors")}
    path = Checkpoint(tmp_path).files[0]
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    assert first != Checkpoint(tmp_path).identity()


def test_what_is_missing_or_damaged(tmp_path):
    with pytest.raises(ModelError, match=r"neither model\.safetensors nor"):
        Checkpoint(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match=r"model\.safetensors: cannot be read"):
        Checkpoint(tmp_path)
    sharded(tmp_path)
    whole = (tmp_path / "two.safetensors").read_bytes()
    (tmp_path / "two.safetensors").write_bytes(whole[:-3])
    with pytest.raises(ModelError, match=r"two\.safetensors: cannot be read"):
        Checkpoint(tmp_path).read(["ids"])
    (tmp_path / "two.safetensors").unlink()
    with pytest.raises(ModelError, match=r"the shard 'two\.safetensors' is missing"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"weight_map": 3}', "{}"])
def test_a_damaged_index(tmp_path, text):
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ModelError, match="damaged index"):
        Checkpoint(tmp_path)


def test_a_shard_outside_the_folder_is_refused(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    save_file(TENSORS, tmp_path / "model.safetensors")
    index = {"weight_map": {"ids": "../model.safetensors"}}
    (inside / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="missing from the folder"):
        Checkpoint(inside)


def test_no_floating_point_tensor(tmp_path):
    save_file({"ids": torch.arange(3)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="no floating point tensor"):
        Checkpoint(tmp_path).dtype()

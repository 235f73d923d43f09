"""Headers of files, against what the files' own libraries say."""

import json
import struct

import pytest
import torch
from safetensors.torch import save_file

from prosopon.doctor.headers import gguf_header, safetensors_header
from prosopon.errors import ModelError


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = {
        "a.weight": torch.zeros(3, 5), "b.weight": torch.zeros(7, dtype=torch.bfloat16),
        "c": torch.zeros(2, 3, 4, dtype=torch.uint8), "d": torch.tensor(1.0, dtype=torch.float16),
    }  # fmt: skip
    save_file(tensors, path, metadata={"format": "pt"})
    return path, tensors


def test_a_safetensors_header_names_every_tensor(weights):
    path, tensors = weights
    read = {tensor.name: tensor for tensor in safetensors_header(path)}
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].shape == tuple(tensor.shape)
        assert read[name].nbytes == tensor.nbytes
        assert read[name].numbers == tensor.numel()
    assert [read[name].dtype for name in "cd"] == ["U8", "F16"]


def test_no_tensor_is_read(weights, tmp_path):
    """The file may end behind its header, as one that is still being fetched does."""
    path, tensors = weights
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    (tmp_path / "head").write_bytes(content[: 8 + length])
    assert len(safetensors_header(tmp_path / "head")) == len(tensors)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it ends too early"),
        (b"\x05\0\0", "it ends too early"),
        (struct.pack("<Q", 10**12), "a header of 1,000,000,000,000 bytes"),
        (struct.pack("<Q", 400) + b"{}", "it ends too early"),
        (struct.pack("<Q", 4) + b"{{{{", "Expecting property name"),
        (struct.pack("<Q", 2) + b"[]", "no attribute 'items'"),
        (struct.pack("<Q", 8) + b'{"a": 1}', "not subscriptable"),
    ],
)
def test_a_damaged_safetensors_header_is_one_line(tmp_path, content, reason):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="no readable safetensors header") as caught:
        safetensors_header(path)
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_entry_without_offsets_is_an_error(tmp_path):
    entry = json.dumps({"a": {"dtype": "F32", "shape": [1]}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(entry)) + entry)
    with pytest.raises(ModelError, match="data_offsets"):
        safetensors_header(path)


@pytest.fixture
def gguf_path(tmp_path):
    """A file with every kind of field, and tensors of three types."""
    gguf = pytest.importorskip("gguf")
    import numpy as np

    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_embedding_length(64)
    writer.add_float32("llama.eps", 0.5)
    writer.add_bool("own.flag", True)
    writer.add_array("own.numbers", [1, 2, 3])
    writer.add_token_list(["a", "longer", "ü"])
    writer.add_tensor("blk.0.attn_q.weight", np.zeros((64, 32), np.float32))
    writer.add_tensor("output_norm.weight", np.zeros(5, np.float16))
    packed = gguf.quants.quantize(np.zeros((4, 64), np.float32), gguf.GGMLQuantizationType.Q4_1)
    writer.add_tensor("blk.0.ffn_up.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q4_1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_gguf_header_is_what_the_library_reads(gguf_path):
    import gguf

    reader = gguf.GGUFReader(gguf_path)
    fields, tensors = gguf_header(gguf_path)
    theirs = {t.name: t for t in reader.tensors}
    assert [t.name for t in tensors] == [t.name for t in reader.tensors]
    for tensor in tensors:
        assert tensor.shape == tuple(map(int, theirs[tensor.name].shape))[::-1]
        assert tensor.dtype == theirs[tensor.name].tensor_type.name
        # What fills a tensor up to the next one's place is counted to it.
        assert 0 <= tensor.nbytes - theirs[tensor.name].n_bytes < 32
    assert fields["general.architecture"] == "llama"
    assert fields["llama.block_count"] == 1
    assert fields["llama.eps"] == 0.5
    assert fields["own.flag"] is True
    assert fields["own.numbers"] == fields["tokenizer.ggml.tokens"] == 3


def test_every_cut_of_a_gguf_header_is_one_line(gguf_path, tmp_path):
    content = gguf_path.read_bytes()
    part = tmp_path / "part.gguf"
    for length in range(0, 400, 7):
        part.write_bytes(content[:length])
        with pytest.raises(ModelError, match="no readable GGUF header"):
            gguf_header(part)


def test_a_gguf_file_cut_off_in_its_data_says_so(gguf_path, tmp_path):
    part = tmp_path / "part.gguf"
    part.write_bytes(gguf_path.read_bytes()[:-8000])
    with pytest.raises(ModelError, match="is it cut off"):
        gguf_header(part)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PK\x03\x04aaaa", "does not begin as a GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 10**10), "a text of 10,000,000,000 bytes"),
        (
            b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"a", 77) + bytes(20),
            "a field of an unknown type",
        ),
        (
            b"GGUF" + struct.pack("<IQQQ1sI", 3, 1, 0, 1, b"a", 200) + bytes(20),
            "a tensor of 200 dimensions",
        ),
    ],
)
def test_a_damaged_gguf_header_says_what_is_wrong(tmp_path, content, reason):
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=reason):
        gguf_header(path)

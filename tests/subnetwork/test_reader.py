"""docs/format.md is enough to read what prosopon writes: a reader of its own, and its figures."""

import dataclasses
import hashlib
import importlib.util
import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prosopon.models import find_sites, fingerprint
from prosopon.subnetwork import Pack, Subnetwork, SubnetworkConfig, encode_gaps, write_pack
from prosopon.subnetwork.compensation import Compensation
from prosopon.subnetwork.config import FingerprintRecord, SiteRecord
from prosopon.subnetwork.encodings import ENCODINGS
from prosopon.subnetwork.evaluation import Evaluation, MeasureRecord
from prosopon.subnetwork.gaps import MAX_WEIGHTS
from prosopon.subnetwork.index import PackIndex, PartRecord, PersonaHead, PersonaRecord
from prosopon.subnetwork.pack import PACK_VERSION
from prosopon.subnetwork.storage import READS
from tests.subnetwork.samples import bool_matrices, config, levels, masks, subnetwork
from tests.tiny import tiny_model

DOCS = Path(__file__).resolve().parents[2] / "docs"
GOLDEN = Path(__file__).parent / "golden"
PAGE = (DOCS / "format.md").read_text("utf-8")


def load_reader():
    spec = importlib.util.spec_from_file_location("read_mask", DOCS / "examples/read_mask.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reader = load_reader()


def assert_same(ours, theirs):
    """Compare what prosopon reads with what the reader of the page does."""
    read, keep, ranking = theirs
    assert SubnetworkConfig.model_validate(read) == ours.config
    assert list(keep) == list(ours.keep)
    for name, mask in ours.keep.items():
        assert keep[name].tolist() == mask.tolist()
        assert (ranking[name] is None) == (ours.levels is None)
        if ours.levels is not None:
            assert ranking[name].tolist() == ours.levels[name].tolist()


@pytest.mark.parametrize("folder", ["v1", "v2-packed", "v2-gaps"])
def test_folders_of_every_version(folder):
    assert_same(Subnetwork.from_pretrained(GOLDEN / folder), reader.read_folder(GOLDEN / folder))


def test_the_first_pack():
    pack, theirs = Pack(GOLDEN / "v1.pack"), reader.read_pack(GOLDEN / "v1.pack")
    assert tuple(theirs) == pack.names
    for name in pack.names:
        assert_same(pack.load(name), theirs[name])


@settings(max_examples=20, deadline=None)
@given(
    mask=bool_matrices(),
    encoding=st.sampled_from(ENCODINGS),
    ranked=st.booleans(),
    seed=st.integers(0, 9),
)
def test_folders_of_any_shape(tmp_path_factory, mask, encoding, ranked, seed):
    keep = {"a": mask, **masks(seed)}
    ours = Subnetwork(keep, config(), levels(keep) if ranked else None)
    folder = tmp_path_factory.mktemp("any")
    ours.save_pretrained(folder, encoding=encoding)
    assert_same(Subnetwork.from_pretrained(folder), reader.read_folder(folder))


def test_packs_of_any_personas(tmp_path):
    for share in (0.5, 0.99, 1.0):
        many = {
            str(seed): Subnetwork(
                keep := masks(seed, share=share, shapes={"a": (7, 33), "b.c": (40, 5)}),
                config(persona=f"p{seed}"),
                levels(keep) if seed else None,
            )
            for seed in range(3)
        }
        write_pack(tmp_path / "any.pack", many, force=True)
        pack, theirs = Pack(tmp_path / "any.pack"), reader.read_pack(tmp_path / "any.pack")
        for name in pack.names:
            assert_same(pack.load(name), theirs[name])


def test_a_changed_byte_is_refused(tmp_path):
    subnetwork(ranked=True).save_pretrained(tmp_path)
    file = tmp_path / "subnetwork.safetensors"
    content = bytearray(file.read_bytes())
    for place in range(0, len(content), 7):
        content[place] ^= 1
        file.write_bytes(content)
        with pytest.raises(ValueError, match="the checksum of the masks"):
            reader.read_folder(tmp_path)
        content[place] ^= 1


def test_the_example_of_gaps():
    text = re.search(r"mask `\[(\d+), (\d+)\]` that prunes the weights ([\d, and]+), with k", PAGE)
    shape, pruned = (int(text[1]), int(text[2])), [int(n) for n in re.findall(r"\d+", text[3])]
    code = bytes.fromhex(re.search(r"```text\n([0-9a-f ]+)\n```", PAGE)[1])
    assert encode_gaps(np.array(pruned), shape).tobytes() == code
    record = {"shape": shape, "pruned": len(pruned)}
    mask = reader.decode(np.frombuffer(code, np.uint8), record, "gaps")
    assert np.flatnonzero(~mask).tolist() == pruned


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_the_fingerprint_of_the_page(family):
    model, _ = tiny_model(family)
    sites = find_sites(model)
    sites[0].matrix()[0, 0] = -0.0
    block = re.search(r"```python\n(import hashlib.*?)```", PAGE, re.DOTALL)[1]
    names = {}
    exec(block, names)
    theirs = names["fingerprint"]({site.name: site.matrix().numpy() for site in sites})
    assert theirs == dataclasses.astuple(fingerprint(sites))


def test_the_checksums_of_a_compensation(tmp_path):
    keep = masks()
    values = {name: torch.randn(int(mask.sum())) for name, mask in keep.items()}
    Compensation(values).save(tmp_path, keep)
    content = (tmp_path / "compensation.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])
    stated = json.loads(header["__metadata__"]["prosopon"])
    hashes = {"masks": hashlib.sha256(), "values": hashlib.sha256()}
    for name in sorted(keep):
        mask, value = keep[name].numpy(), values[name].numpy()
        hashes["masks"].update(f"{name}\0{list(mask.shape)}\0".encode())
        hashes["masks"].update(np.packbits(mask, axis=1).tobytes())
        hashes["values"].update(f"{name}\0torch.float32\0{len(value)}\0".encode() + value.tobytes())
    assert stated == {"format_version": 1} | {n: h.hexdigest() for n, h in hashes.items()}
    assert header[name]["shape"] == [len(values[name])]


def test_every_field_and_number_stands_on_the_page():
    for record in (SubnetworkConfig, SiteRecord, FingerprintRecord, PackIndex, PartRecord,
                   PersonaRecord, PersonaHead, Evaluation, MeasureRecord):  # fmt: skip
        for field in record.model_fields:
            assert re.search(rf'[`"]{field}[`"]', PAGE), field
    assert MAX_WEIGHTS == 2**31
    assert "at most 2^31 weights" in PAGE
    assert f"| folder | {READS[-1]} | {', '.join(map(str, READS))} |" in PAGE
    assert f"| pack | {PACK_VERSION} | {PACK_VERSION} |" in PAGE


def test_the_reader_is_as_long_as_the_page_says():
    lines = (DOCS / "examples/read_mask.py").read_text("utf-8").splitlines()
    assert f"a reader of {sum(map(bool, lines))} lines" in PAGE

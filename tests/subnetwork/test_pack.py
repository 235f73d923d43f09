"""Packs: round trips, one persona at a time, sizes, and what is refused."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import numpy as safetensors
from safetensors import safe_open

from prosopon.errors import OptionError, SubnetworkError, UnknownNameError
from prosopon.subnetwork import (
    Compensation,
    Pack,
    Subnetwork,
    majority,
    unpack,
    write_pack,
)
from tests.subnetwork.samples import config, levels, load_pack, masks, subnetwork

SHAPES = {"a": (3, 10), "b.mask": (2, 8), "b": (1, 1)}


@st.composite
def personas(draw):
    made = {}
    for number in range(draw(st.integers(1, 4))):
        share = draw(st.sampled_from([0.0, 0.2, 0.5, 0.98, 1.0]))
        keep = masks(draw(st.integers(0, 20)), share=share, shapes=SHAPES)
        ranked = levels(keep) if draw(st.booleans()) else None
        made[f"p{number}"] = Subnetwork(keep, config(persona=f"p{number}"), ranked)
    return made


@pytest.fixture
def path(tmp_path):
    made = [subnetwork(0, ranked=True), subnetwork(1, persona="bold"), subnetwork(2, persona="z")]
    write_pack(tmp_path / "personas.pack", made)
    return tmp_path / "personas.pack"


@settings(max_examples=30, deadline=None)
@given(personas())
def test_unpacking_undoes_packing(tmp_path_factory, made):
    path = tmp_path_factory.mktemp("pack") / "personas.pack"
    index = write_pack(path, made)
    assert load_pack(path) == made
    pack = Pack(path)
    assert pack.index == index
    assert pack.names == tuple(made)
    for name, one in made.items():
        assert Pack(path).load(name) == one
        assert pack.load(name).config == one.config
        record = index.personas[name]
        differs = sum(
            int((one.keep[s] ^ m).sum()) for s, m in majority(*made.values()).keep.items()
        )
        assert (record.pruned, record.changed) == (one.pruned, differs)


def test_packing_is_deterministic_and_takes_a_sequence_or_names(tmp_path):
    a, b = subnetwork(0), subnetwork(1, persona="bold")
    write_pack(tmp_path / "one", [a, b])
    write_pack(tmp_path / "two", {"introvert": a, "bold": b})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    write_pack(tmp_path / "one", {"x": a, "y": a}, force=True)
    assert load_pack(tmp_path / "one") == {"x": a, "y": a}


def test_half_pruned_masks_that_differ_a_little_take_little(tmp_path):
    """0.02 bytes a weight a persona at 1.3 percent difference is the goal."""
    generator = torch.Generator().manual_seed(0)
    shape = (500, 1000)
    common = torch.rand(shape, generator=generator) < 0.5
    made = {
        f"p{number}": Subnetwork({"a": common ^ (torch.rand(shape, generator=generator) < 0.013)},
                                 config())
        for number in range(5)
    }  # fmt: skip
    index = write_pack(tmp_path / "pack", made)
    weights = shape[0] * shape[1]
    assert all(record.record.bytes < 0.02 * weights for record in index.personas.values())
    assert (tmp_path / "pack").stat().st_size < (0.126 + 5 * 0.02) * weights


def test_one_persona_is_read_without_the_others(path):
    """The bytes of another may be anything."""
    with safe_open(path, framework="numpy") as file:
        second = file.get_tensor("1").tobytes()
    content = path.read_bytes()
    assert content.count(second) == 1
    path.write_bytes(content.replace(second, bytes(len(second))))
    assert Pack(path).load("introvert") == subnetwork(0, ranked=True)
    with pytest.raises(SubnetworkError, match=r"pack: persona 'bold': damaged \(its checksum"):
        Pack(path).load("bold")
    with pytest.raises(UnknownNameError, match=r"'bald'. Did you mean 'bold'\? Choices: bold, in"):
        Pack(path).load("bald")


def test_what_cannot_be_packed(tmp_path):
    a = subnetwork()
    with pytest.raises(SubnetworkError, match="at least one"):
        write_pack(tmp_path / "pack", [])
    with pytest.raises(SubnetworkError, match="two subnetworks are called 'introvert'"):
        write_pack(tmp_path / "pack", [a, a])
    other = subnetwork(persona="bold", fingerprint={"architecture": "a", "weights": "x"})
    with pytest.raises(SubnetworkError, match="belong to different models"):
        write_pack(tmp_path / "pack", [a, other])
    with pytest.raises(SubnetworkError, match="cannot be written"):
        write_pack(tmp_path, [a])
    a.compensation = Compensation.of(a.keep, {n: torch.ones(m.shape) for n, m in a.keep.items()})
    with pytest.raises(SubnetworkError, match="'introvert' has new values for its kept weights"):
        write_pack(tmp_path / "pack", [a])
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_pack(tmp_path):
    subnetwork().save_pretrained(tmp_path)
    cases = {
        tmp_path / "nothing": "no such file",
        tmp_path: "no regular file with content",
        tmp_path / "subnetwork.safetensors": "no pack of personas; give a file that",
        tmp_path / "subnetwork_config.json": "no pack of personas: not safetensors",
    }
    for path, message in cases.items():
        with pytest.raises(SubnetworkError, match=message) as caught:
            Pack(path)
        assert str(caught.value).startswith(str(path))


def test_every_few_bytes(path):
    """Whatever byte changes, every persona is refused or the very same."""
    whole = path.read_bytes()
    expected = load_pack(path)
    for at in [*range(0, 64, 2), *range(65, len(whole), 11)]:
        flipped = bytes([whole[at] ^ (1 << at % 8)])
        path.write_bytes(whole[:at] + flipped + whole[at + 1 :])
        assert_refused_or_same(path, expected)
    for at in range(0, len(whole), 61):
        path.write_bytes(whole[:at])
        with pytest.raises(SubnetworkError):
            load_pack(path)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_damage(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damage") / "pack"
    expected = {"a": subnetwork(0, ranked=True), "b": subnetwork(1)}
    write_pack(path, expected)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, min(start + 8, len(content))))
        content[start:end] = data.draw(st.binary(max_size=8))
    path.write_bytes(content)
    assert_refused_or_same(path, expected)


def assert_refused_or_same(path, expected):
    messages = []
    try:
        pack = Pack(path)
    except SubnetworkError as error:
        messages.append(str(error))
    for name in () if messages else pack.names:
        try:
            loaded = pack.load(name)
        except SubnetworkError as error:
            messages.append(str(error))
        else:
            assert loaded == expected[name]
    assert all(str(path) in message and "\n" not in message for message in messages)


def forge(path, change=lambda index: None, parts=lambda parts: None, entry=None):
    """Write the pack again with checksums that fit, as someone hostile would.

    ``change`` edits the index, ``parts`` the parts before compression.
    """
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118
    index = json.loads(tensors.pop("index"))
    raw = {name: zstandard.decompress(data) for name, data in tensors.items()}
    parts(raw)
    records = {"shared": index["shared"]}
    records |= {persona["part"]: persona["record"] for persona in index["personas"].values()}
    for name, data in raw.items():
        tensors[name] = zstandard.compress(data)
        digest = hashlib.sha256(tensors[name]).hexdigest()
        records[name].update(sha256=digest, size=len(data), bytes=len(tensors[name]))
    change(index)
    tensors["index"] = json.dumps(index).encode()
    arrays = {name: np.frombuffer(data, np.uint8) for name, data in tensors.items()}
    entry = entry or f"1 {hashlib.sha256(tensors['index']).hexdigest()}"
    path.write_bytes(safetensors.save(arrays, {"prosopon_pack": entry}))


def test_a_forged_pack_that_is_right_is_read(path):
    expected = load_pack(path)
    forge(path)
    assert load_pack(path) == expected


@pytest.mark.parametrize(
    ("entry", "message"),
    [("2 abc", "pack format '2', and this prosopon reads 1; install"), ("1 abc", "checksum does")],
)
def test_another_version_or_checksum(path, entry, message):
    forge(path, entry=entry)
    with pytest.raises(SubnetworkError, match=message):
        Pack(path)


Q = "model.layers.0.attn.q"
HUGE = [1 << 40, 1 << 40]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i.update(surprise=1), "index is damaged: 'surprise'"),
        (lambda i: i.update(sites={}), "index is damaged: 'sites'"),
        (lambda i: i["personas"].clear(), "index is damaged: 'personas'"),
        (lambda i: i["sites"][Q].update(shape=HUGE), "GB of masks, and"),
        (lambda i: i["sites"][Q].update(shape=[3, 8]), "sites differ from those of"),
        (lambda i: i["sites"][Q].update(pruned=16), "prunes .* not the 16"),
        (lambda i: i["sites"].pop(Q), "sites differ"),
        (lambda i: i["shared"].update(size=1), "does not decompress to 1 bytes"),
        (lambda i: i["shared"].update(size=1 << 50), "more than its shapes can need"),
        (lambda i: i["shared"].update(sha256="0" * 64), "checksum is not the one"),
        (lambda i: i["personas"]["introvert"].update(ranked=False), "disagree on its ranking"),
        (lambda i: i["personas"]["introvert"].update(part="7"), "part '7' is missing"),
        (lambda i: i["personas"]["introvert"].update(part="shared"), "checksum"),
    ],
)
def test_a_forged_index(path, change, message):
    forge(path, change)
    with pytest.raises(SubnetworkError, match=message) as caught:
        Pack(path).load("introvert")
    assert str(path) in str(caught.value)


def edit(value, key, new):
    """Set an entry, or take it out for None."""
    value[key] = new
    if new is None:
        del value[key]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: edit(h["config"], "surprise", 1), "its provenance: 'config.surprise'"),
        (lambda h: edit(h["config"], "ranked", False), "disagree on its ranking"),
        (lambda h: edit(h["config"]["sites"], Q, None), "sites differ from those of"),
        (lambda h: edit(h["config"]["sites"][Q], "pruned", 0), "levels must"),
        (lambda h: edit(h["changed"], Q, None), "numbers of differences"),
        (lambda h: edit(h["changed"], Q, -1), "greater than or equal to 0"),
        (lambda h: edit(h["changed"], Q, True), "not the 1 that"),
        (lambda h: edit(h["changed"], Q, 16), "not the 16"),
        (lambda h: edit(h, "changed", None), "'changed': Field required"),
        (lambda h: edit(h, "changed", 1), "'changed': Input should be an object"),
        (lambda h: edit(h, "config", []), "its provenance: "),
    ],
)
def test_a_forged_persona(path, change, message):
    def reheaded(raw):
        end = 4 + int.from_bytes(raw[:4], "little")
        head = json.loads(raw[4:end])
        change(head)
        content = json.dumps(head).encode()
        return len(content).to_bytes(4, "little") + content + raw[end:]

    forge(path, parts=lambda raw: raw.update({"0": reheaded(raw["0"])}))
    with pytest.raises(SubnetworkError, match=f"persona 'introvert': .*{message}.*; copy or"):
        Pack(path).load("introvert")


@pytest.mark.parametrize("content", [b"", b"\0", b"\xff" * 9, b"\1\0\0\0{", b"\2\0\0\0{}"])
def test_a_persona_of_other_bytes(path, content):
    forge(path, parts=lambda raw: raw.update({"0": content}))
    with pytest.raises(SubnetworkError, match="persona 'introvert': "):
        Pack(path).load("introvert")
    assert Pack(path).load("bold") == subnetwork(1)


def test_a_bomb_is_not_unpacked(path):
    """60 GB of zeros in a part of a few kilobytes: refused by its size, not by its content."""
    size = 60_000_000_000
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 20))
    digest = hashlib.sha256(bomb).hexdigest()
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    index = json.loads(tensors["index"].tobytes())
    for stated, message in (
        (size, "more than its shapes can need"),
        (99, "decompress to 99 bytes"),
    ):
        index["personas"]["bold"]["record"].update(sha256=digest, size=stated)
        content = json.dumps(index).encode()
        tensors |= {"index": np.frombuffer(content, np.uint8), "1": np.frombuffer(bomb, np.uint8)}
        entry = f"1 {hashlib.sha256(content).hexdigest()}"
        path.write_bytes(safetensors.save(tensors, {"prosopon_pack": entry}))
        with pytest.raises(SubnetworkError, match=message):
            Pack(path).load("bold")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (b"x", "not Zstandard"),
        (b"", "not Zstandard"),
        (zstandard.compress(b"12345678") + b"x", "not Zstandard"),
        (zstandard.ZstdCompressor(write_content_size=False).compress(b"12345678"), "decompress to"),
    ],
)
def test_frames_that_are_none(path, frame, message):
    digest = hashlib.sha256(frame).hexdigest()
    forge(path, lambda index: index["shared"].update(sha256=digest, size=8))
    replace(path, "shared", np.frombuffer(frame, np.uint8))
    with pytest.raises(SubnetworkError, match=f"persona 'bold': damaged: .*{message}"):
        Pack(path).load("bold")


def replace(path, name, array):
    """Write the pack again with another tensor and nothing else changed."""
    with safe_open(path, framework="numpy") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    path.write_bytes(safetensors.save(tensors | {name: array}, metadata))


@pytest.mark.parametrize("array", [np.zeros(3, np.int8), np.zeros((2, 2), np.uint8)])
def test_parts_of_another_kind(path, array):
    replace(path, "1", array)
    with pytest.raises(SubnetworkError, match="part '1' is not uint8"):
        Pack(path).load("bold")


def test_nothing_is_written_over_without_force(path, tmp_path):
    before = path.read_bytes()
    with pytest.raises(OptionError, match="is there already; give --force"):
        write_pack(path, [subnetwork(5)])
    assert path.read_bytes() == before
    write_pack(path, [subnetwork(5)], force=True)
    assert Pack(path).load("introvert") == subnetwork(5)
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear all")
    with pytest.raises(OptionError, match="no pack wrote it, so that it is not replaced"):
        write_pack(letter, [subnetwork(5)], force=True)
    assert letter.read_text() == "Dear all"


def test_unpacking_into_folders(path, tmp_path):
    folder = tmp_path / "all"
    assert unpack(path, folder) == [folder / "introvert", folder / "bold", folder / "z"]
    assert Subnetwork.from_pretrained(folder / "bold") == subnetwork(1)
    subnetwork(9).save_pretrained(folder / "bold")
    with pytest.raises(OptionError, match=r"bold: is not empty; give --force"):
        unpack(path, folder, ["bold"])
    assert Subnetwork.from_pretrained(folder / "bold") == subnetwork(9)
    assert unpack(path, folder, ["bold"], force=True) == [folder / "bold"]
    assert Subnetwork.from_pretrained(folder / "bold") == subnetwork(1)
    with pytest.raises(UnknownNameError, match="'nobody'"):
        unpack(path, tmp_path / "none", ["nobody"])
    write_pack(tmp_path / "evil", {"fine": subnetwork(), "../../evil": subnetwork()})
    with pytest.raises(SubnetworkError, match=r"'\.\./\.\./evil' cannot be the name of a folder"):
        unpack(tmp_path / "evil", tmp_path / "none")
    assert not (tmp_path / "none").exists()

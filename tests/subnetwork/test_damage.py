"""A damaged folder is refused, or gives the very same masks; there is no third way."""

from __future__ import annotations

import hashlib
import json
import os
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import torch as safetensors

from prosopon.errors import SubnetworkError
from prosopon.subnetwork import CONFIG_NAME, MASKS_NAME, Pack, Subnetwork, encode_gaps, pack_rows
from tests.subnetwork.samples import masks, subnetwork

KINDS = {
    "packed": {"encoding": "packed", "ranked": False},
    "gaps": {"encoding": "gaps", "ranked": False},
    "ranked": {"encoding": "gaps", "ranked": True},
}


def save(folder, kind):
    """Write the folder that a test damages."""
    made = subnetwork(ranked=KINDS[kind]["ranked"])
    made.save_pretrained(folder, encoding=KINDS[kind]["encoding"])


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "folder", "packed")
    return tmp_path / "folder"


def edit_config(folder, change):
    """Apply ``change`` to the JSON and write it back."""
    path = folder / CONFIG_NAME
    value = json.loads(path.read_text())
    path.write_text(json.dumps(change(value) or value))


def replace_masks(folder, tensors):
    """Write other tensors with a checksum that fits, as someone hostile would."""
    content = tensors if isinstance(tensors, bytes) else safetensors.save(tensors)
    (folder / MASKS_NAME).write_bytes(content)
    checksum = hashlib.sha256(content).hexdigest()
    edit_config(folder, lambda value: value.update(checksum=checksum))


def packed():
    return {f"{name}.mask": pack_rows(mask) for name, mask in masks().items()}


def assert_refused_or_same(folder, kind="packed"):
    """Load; True if it was refused."""
    message = None
    try:
        loaded = Subnetwork.from_pretrained(folder)
    except SubnetworkError as error:
        message = str(error)
    if message is not None:
        assert str(folder) in message
        assert "\n" not in message
        return True
    assert loaded == subnetwork(ranked=KINDS[kind]["ranked"])
    assert loaded.sites == subnetwork().sites
    return False


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("ranked", CONFIG_NAME),
        ("packed", MASKS_NAME),
        ("gaps", MASKS_NAME),
        ("ranked", MASKS_NAME),
    ],
)
def test_every_single_byte(tmp_path, kind, file):
    """Flip one bit of every byte, take every byte out, cut the file at every byte."""
    folder = tmp_path / "folder"
    save(folder, kind)
    path = folder / file
    whole = path.read_bytes()
    refused = 0
    # The configuration is long and slow to read: one of the three at each of its bytes.
    ways = 3 if file == MASKS_NAME else 1
    for at in range(len(whole)):
        flipped = whole[at] ^ (1 << at % 8)
        damages = (
            whole[:at] + bytes([flipped]) + whole[at + 1 :],
            whole[:at] + whole[at + 1 :],
            whole[:at],
        )
        for way in range(ways):
            path.write_bytes(damages[(at + way) % 3])
            refused += assert_refused_or_same(folder, kind)
    if file == MASKS_NAME:
        assert refused == 3 * len(whole)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_damage(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damage")
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    save(folder, kind)
    path = folder / data.draw(st.sampled_from([CONFIG_NAME, MASKS_NAME]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, min(start + 8, len(content))))
        content[start:end] = data.draw(st.binary(max_size=8))
    path.write_bytes(content)
    assert_refused_or_same(folder, kind)
    shutil.rmtree(folder)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damage_inside_the_masks_with_a_checksum_that_fits(tmp_path_factory, data):
    """Bits of a mask may then differ, but what loads agrees with the config about every site."""
    folder = tmp_path_factory.mktemp("hostile")
    save(folder, data.draw(st.sampled_from(sorted(KINDS))))
    content = bytearray((folder / MASKS_NAME).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    replace_masks(folder, bytes(content))
    try:
        loaded = Subnetwork.from_pretrained(folder)
    except SubnetworkError:
        pass
    else:
        assert loaded.config.sites == subnetwork().config.sites
    shutil.rmtree(folder)


def test_missing_folder_and_files(folder, tmp_path):
    with pytest.raises(SubnetworkError, match="nowhere: no such folder"):
        Subnetwork.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(SubnetworkError, match="no such folder"):
        Subnetwork.from_pretrained(folder / CONFIG_NAME)
    for name in (MASKS_NAME, CONFIG_NAME):
        (folder / name).unlink()
        with pytest.raises(SubnetworkError, match=f"{name} is missing; give a folder"):
            Subnetwork.from_pretrained(folder)


def test_a_folder_in_the_place_of_a_file(folder):
    (folder / MASKS_NAME).unlink()
    (folder / MASKS_NAME).mkdir()
    with pytest.raises(SubnetworkError, match=f"{MASKS_NAME}: no regular file"):
        Subnetwork.from_pretrained(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": ' + b"9" * 10_000 + b"}", b"NaN garbage"],
)
def test_config_that_is_not_json(folder, content):
    (folder / CONFIG_NAME).write_bytes(content)
    with pytest.raises(SubnetworkError, match=f"{CONFIG_NAME}: not JSON"):
        Subnetwork.from_pretrained(folder)


@pytest.mark.parametrize("content", ["[]", "null", "{}", '{"format_version": 3}', '"text"'])
def test_unknown_version_comes_before_everything_else(folder, content):
    (folder / CONFIG_NAME).write_text(content)
    with pytest.raises(SubnetworkError, match=r"format_version is .* reads 1 and 2; install"):
        Subnetwork.from_pretrained(folder)


def test_config_names_the_field_at_fault(folder):
    edit_config(folder, lambda value: value["calibration"].update(target_count="many"))
    with pytest.raises(SubnetworkError, match=r"'calibration.target_count': .* again"):
        Subnetwork.from_pretrained(folder)
    edit_config(folder, lambda value: value.update(surprise=1))
    with pytest.raises(SubnetworkError, match=f"{CONFIG_NAME}: "):
        Subnetwork.from_pretrained(folder)


def test_a_config_without_sites_describes_no_mask(folder):
    edit_config(folder, lambda value: value.update(sites={}))
    with pytest.raises(SubnetworkError, match="sites differ"):
        Subnetwork.from_pretrained(folder)


@pytest.mark.parametrize("checksum", ["", "0" * 64])
def test_wrong_checksum(folder, checksum):
    edit_config(folder, lambda value: value.update(checksum=checksum))
    with pytest.raises(SubnetworkError, match=f"{MASKS_NAME}: damaged, truncated"):
        Subnetwork.from_pretrained(folder)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 8, b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{]", b"not safetensors at all"]
)
def test_masks_that_are_not_safetensors(folder, content):
    replace_masks(folder, content)
    with pytest.raises(SubnetworkError, match=f"{MASKS_NAME}: not safetensors"):
        Subnetwork.from_pretrained(folder)


def test_a_header_that_promises_more_than_there_is_allocates_nothing(folder):
    huge = {"dtype": "U8", "shape": [1 << 40, 1 << 20], "data_offsets": [0, 1 << 60]}
    header = json.dumps(dict.fromkeys(packed(), huge)).encode()
    replace_masks(folder, len(header).to_bytes(8, "little") + header)
    with pytest.raises(SubnetworkError, match="not safetensors"):
        Subnetwork.from_pretrained(folder)


def test_shapes_that_promise_more_than_there_is_allocate_nothing(folder):
    def grow(value):
        value["sites"]["model.layers.0.mlp.up"]["shape"] = [1 << 50, 1 << 50]

    edit_config(folder, grow)
    with pytest.raises(SubnetworkError, match=r"shapes need .* GB of masks, and this machine has"):
        Subnetwork.from_pretrained(folder)


@pytest.mark.parametrize("kind", ["gaps", "ranked"])
def test_a_few_bytes_of_gaps_cannot_ask_for_more_memory_than_there_is(tmp_path, kind):
    """Many sites, each of an allowed size; and one site that is not."""
    save(tmp_path, kind)
    count = 500
    empty = encode_gaps(np.empty(0, np.int64), (1 << 15, 1 << 16))
    sites = {f"{index}": {"shape": [1 << 15, 1 << 16], "pruned": 0} for index in range(count)}
    tensors = {f"{name}.mask": torch.from_numpy(empty.copy()) for name in sites}
    if kind == "ranked":
        tensors |= {f"{name}.levels": torch.zeros(0, dtype=torch.uint8) for name in sites}
    replace_masks(tmp_path, tensors)
    edit_config(tmp_path, lambda value: value.update(sites=sites))
    with pytest.raises(SubnetworkError, match=r"need 1,073.7 GB of masks"):
        Subnetwork.from_pretrained(tmp_path)


def test_one_mask_of_gaps_has_a_limit(tmp_path):
    """It is refused before two gigabytes are taken for it."""
    save(tmp_path, "gaps")
    name = "model.layers.0.mlp.up"
    edit_config(tmp_path, lambda value: value["sites"][name].update(shape=[1 << 16, 1 + (1 << 15)]))
    with pytest.raises(SubnetworkError, match=f"'{name}': a mask of gaps is damaged: .* bytes for"):
        Subnetwork.from_pretrained(tmp_path)


def test_the_stated_shape_bounds_what_is_allocated(folder):
    def grow(value):
        value["sites"]["model.layers.0.mlp.up"]["shape"] = [1000, 1000]

    edit_config(folder, grow)
    with pytest.raises(SubnetworkError, match=r"mlp.up': \[3, 2\] bytes are no mask of the stated"):
        Subnetwork.from_pretrained(folder)


def test_missing_and_extra_sites(folder):
    tensors = packed()
    tensors["extra.mask"] = torch.zeros(1, 1, dtype=torch.uint8)
    del tensors["model.layers.0.attn.q.mask"]
    replace_masks(folder, tensors)
    with pytest.raises(SubnetworkError, match=r"sites differ .*: extra.mask, model"):
        Subnetwork.from_pretrained(folder)


def test_many_odd_sites_are_counted_not_listed(folder):
    edit_config(
        folder,
        lambda value: value["sites"].update(
            {f"more.{index}": {"shape": [1, 1], "pruned": 0} for index in range(9)}
        ),
    )
    with pytest.raises(SubnetworkError, match="and 4 more; "):
        Subnetwork.from_pretrained(folder)


def test_shape_dtype_padding_and_count(folder):
    name = "model.layers.0.mlp.up"
    right = packed()[f"{name}.mask"]
    cases = {
        r"\[2, 3\] bytes are no mask": right.T.contiguous(),
        r"must be uint8 .* not int8": right.view(torch.int8),
        "bits set beyond its 10 columns": right | 1,
        r"prunes \d+ weights, not the": right ^ 128,
    }
    for message, tensor in cases.items():
        replace_masks(folder, packed() | {f"{name}.mask": tensor.clone()})
        with pytest.raises(SubnetworkError, match=f"site '{name}'.*{message}"):
            Subnetwork.from_pretrained(folder)


def test_levels_that_are_none(tmp_path):
    save(tmp_path, "ranked")
    path = tmp_path / MASKS_NAME
    whole = safetensors.load(path.read_bytes())
    name = "model.layers.0.mlp.up"
    right = whole[f"{name}.levels"]
    for wrong in (right[:-1], right.view(torch.int8), right.view(1, -1)):
        replace_masks(tmp_path, whole | {f"{name}.levels": wrong.clone()})
        with pytest.raises(SubnetworkError, match=f"{name}': levels must be uint8 .{len(right)}."):
            Subnetwork.from_pretrained(tmp_path)
    del whole[f"{name}.levels"]
    replace_masks(tmp_path, whole)
    with pytest.raises(SubnetworkError, match=f"sites differ .*: {name}.levels"):
        Subnetwork.from_pretrained(tmp_path)


def test_gaps_of_another_dtype_or_shape(tmp_path):
    save(tmp_path, "gaps")
    whole = safetensors.load((tmp_path / MASKS_NAME).read_bytes())
    name = "model.layers.0.mlp.up.mask"
    for wrong in (whole[name].view(torch.int8), whole[name].view(1, -1)):
        replace_masks(tmp_path, whole | {name: wrong.clone()})
        with pytest.raises(SubnetworkError, match=r"gaps must be uint8 \[bytes\], not"):
            Subnetwork.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["subnetwork_config.json", "subnetwork.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_regular_file_is_not_read(name, kind, tmp_path):
    """A pipe would wait for ever, and a device has no end."""
    subnetwork().save_pretrained(tmp_path)
    path = tmp_path / name
    path.unlink()
    {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
    }[kind]()
    with pytest.raises(SubnetworkError, match=rf"{name}: no regular file"):
        Subnetwork.from_pretrained(tmp_path)


@pytest.mark.parametrize("target", [None, "/dev/zero"])
def test_a_compensation_and_a_pack_that_are_no_regular_file(target, tmp_path):
    subnetwork().save_pretrained(tmp_path)
    path = tmp_path / "compensation.safetensors"
    if target is None:
        os.mkfifo(path)
    else:
        path.symlink_to(target)
    with pytest.raises(SubnetworkError, match=r"compensation\.safetensors: no regular file"):
        Subnetwork.from_pretrained(tmp_path)
    with pytest.raises(SubnetworkError, match="no regular file"):
        Pack(path)

"""A damaged folder is refused, or gives the very same masks; there is no third way."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import torch as safetensors

from prosopon.errors import SubnetworkError
from prosopon.subnetwork import CONFIG_NAME, MASKS_NAME, Subnetwork, pack_rows
from tests.subnetwork.making import masks, subnetwork


@pytest.fixture
def folder(tmp_path):
    subnetwork().save_pretrained(tmp_path / "folder")
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
    return {name: pack_rows(mask) for name, mask in masks().items()}


def assert_refused_or_same(folder):
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
    assert loaded == subnetwork()
    assert loaded.sites == subnetwork().sites
    return False


@pytest.mark.parametrize("file", [CONFIG_NAME, MASKS_NAME])
def test_every_single_byte(folder, file):
    """Flip one bit of every byte, take every byte out, cut the file at every byte."""
    path = folder / file
    whole = path.read_bytes()
    refused = 0
    for at in range(len(whole)):
        flipped = whole[at] ^ (1 << at % 8)
        for damaged in (
            whole[:at] + bytes([flipped]) + whole[at + 1 :],
            whole[:at] + whole[at + 1 :],
            whole[:at],
        ):
            path.write_bytes(damaged)
            refused += assert_refused_or_same(folder)
    if file == MASKS_NAME:
        assert refused == 3 * len(whole)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_damage(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damage")
    subnetwork().save_pretrained(folder)
    path = folder / data.draw(st.sampled_from([CONFIG_NAME, MASKS_NAME]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, min(start + 8, len(content))))
        content[start:end] = data.draw(st.binary(max_size=8))
    path.write_bytes(content)
    assert_refused_or_same(folder)
    shutil.rmtree(folder)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damage_inside_the_masks_with_a_checksum_that_fits(tmp_path_factory, data):
    """Bits of a mask may then differ, but what loads agrees with the config about every site."""
    folder = tmp_path_factory.mktemp("hostile")
    subnetwork().save_pretrained(folder)
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
    with pytest.raises(SubnetworkError, match=f"{MASKS_NAME}: cannot be read"):
        Subnetwork.from_pretrained(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": ' + b"9" * 10_000 + b"}", b"NaN garbage"],
)
def test_config_that_is_not_json(folder, content):
    (folder / CONFIG_NAME).write_bytes(content)
    with pytest.raises(SubnetworkError, match=f"{CONFIG_NAME}: not JSON"):
        Subnetwork.from_pretrained(folder)


@pytest.mark.parametrize("content", ["[]", "null", "{}", '{"format_version": 2}', '"text"'])
def test_unknown_version_comes_before_everything_else(folder, content):
    (folder / CONFIG_NAME).write_text(content)
    with pytest.raises(SubnetworkError, match=r"format_version is .* reads 1; install"):
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
    header = json.dumps(dict.fromkeys(masks(), huge)).encode()
    replace_masks(folder, len(header).to_bytes(8, "little") + header)
    with pytest.raises(SubnetworkError, match="not safetensors"):
        Subnetwork.from_pretrained(folder)


def test_shapes_that_promise_more_than_there_is_allocate_nothing(folder):
    def grow(value):
        value["sites"]["model.layers.0.mlp.up"]["shape"] = [1 << 50, 1 << 50]

    edit_config(folder, grow)
    with pytest.raises(SubnetworkError, match=r"site 'model.layers.0.mlp.up' is \[3, 2\] bytes"):
        Subnetwork.from_pretrained(folder)


def test_missing_and_extra_sites(folder):
    tensors = packed()
    tensors["extra"] = torch.zeros(1, 1, dtype=torch.uint8)
    del tensors["model.layers.0.attn.q"]
    replace_masks(folder, tensors)
    with pytest.raises(SubnetworkError, match=r"sites differ .*: extra, model"):
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
    cases = {
        r"is \[2, 3\] bytes": packed()[name].T.contiguous(),
        r"must be uint8 .* not int8": packed()[name].view(torch.int8),
        "bits set beyond its 10 columns": packed()[name] | 1,
        r"prunes \d+ weights, not the": packed()[name] ^ 128,
    }
    for message, tensor in cases.items():
        replace_masks(folder, packed() | {name: tensor.clone()})
        with pytest.raises(SubnetworkError, match=f"site '{name}'.*{message}"):
            Subnetwork.from_pretrained(folder)

"""The work folder: what is finished comes back, and nothing is believed that does not fit."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prosopon.errors import StatisticsError
from prosopon.layerwise.extraction import PackedMasks
from prosopon.layerwise.workfolder import LayerPart, WorkFolder
from prosopon.models import Sample
from prosopon.statistics import ChannelStatistics, Statistics
from prosopon.statistics.channel import SUMS

MANIFEST = {"model": "abc", "files": {"a": "b"}, "scope": "response"}


def statistics(seed=0, name="layer.q", width=3):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(2, 4, width, generator=generator)
    sums = ChannelStatistics.of_batch(values, torch.ones(2, 4, dtype=torch.bool))
    groups = {name: name, f"{name}.again": name}
    return Statistics({name: sums}, groups, "response", "", ("source",))


def part(seed=0):
    both = {"target": statistics(seed), "opposite": statistics(seed + 100)}
    return LayerPart(both, {"layer.q": Sample(3, 3, bytes([seed, 255]))})


def assert_same(one, other):
    assert one.samples == other.samples
    assert one.statistics.keys() == other.statistics.keys()
    for name, side in one.statistics.items():
        again = other.statistics[name]
        assert side.groups == again.groups
        assert (side.scope, side.sources) == (again.scope, again.sources)
        for group, sums in side.sums.items():
            for key in SUMS:
                assert torch.equal(getattr(sums, key), getattr(again.sums[group], key))


@pytest.fixture
def work(tmp_path):
    return WorkFolder(tmp_path / "work", MANIFEST)


def test_nothing_is_finished_at_the_start(work):
    assert work.finished() == []
    assert [path.name for path in work.folder.iterdir()] == ["manifest.json"]


def test_finished_layers_come_back_in_their_order(work):
    for number in range(3):
        work.finish(number, part(number))
    again = WorkFolder(work.folder, MANIFEST).finished()
    assert len(again) == 3
    for number, one in enumerate(again):
        assert_same(part(number), one)


def test_a_layer_behind_a_gap_is_not_finished(work):
    """The input of layer 1 is needed whatever was written behind it."""
    work.finish(0, part(0))
    work.finish(2, part(2))
    assert len(work.finished()) == 1


def test_a_layer_without_its_record_is_not_finished(work):
    """The record is written last: statistics alone may be half of a layer."""
    work.finish(0, part())
    (work.folder / "layers" / "00000.json").unlink()
    assert work.finished() == []


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(allow_nan=True, width=32), min_size=1, max_size=24),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.float64]),
)
def test_a_state_comes_back_bit_for_bit(tmp_path_factory, numbers, dtype):
    work = WorkFolder(tmp_path_factory.mktemp("states"), MANIFEST)
    hidden = torch.tensor(numbers, dtype=torch.float64).to(dtype).view(1, -1, 1)
    work.put(4, "target-00000", hidden)
    again = work.get(4, "target-00000")
    assert (again.dtype, again.shape) == (hidden.dtype, hidden.shape)
    assert again.view(torch.uint8).equal(hidden.view(torch.uint8))


def test_states_of_layers_and_batches_are_apart(work):
    for layer in (1, 2):
        for batch in ("a", "b"):
            work.put(layer, batch, torch.full((1, 1, 1), layer + ord(batch)))
    assert work.get(1, "b").item() == 1 + ord("b")
    assert work.get(2, "a").item() == 2 + ord("a")
    work.put(2, "a", torch.zeros(2, 1, 1))
    assert work.get(2, "a").shape == (2, 1, 1)


def test_a_view_of_a_larger_tensor_is_written_as_itself(work):
    whole = torch.arange(24.0).view(4, 3, 2)
    work.put(1, "a", whole[1:3].transpose(1, 2))
    assert torch.equal(work.get(1, "a"), whole[1:3].transpose(1, 2))


def test_the_input_of_a_finished_layer_goes_and_the_next_one_stays(work):
    for layer in (0, 1):
        work.put(layer, "a", torch.ones(1, 1, 1))
    work.finish(0, part())
    with pytest.raises(StatisticsError, match="missing or damaged"):
        work.get(0, "a")
    assert work.get(1, "a").item() == 1


@pytest.mark.parametrize("content", [b"", b"half a file", None])
def test_a_state_that_is_damaged_or_missing(work, content):
    work.put(3, "a", torch.ones(1, 1, 1))
    (path,) = work.folder.rglob("a.safetensors")
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(StatisticsError, match=r"a\.safetensors: hidden .* delete the work folder"):
        work.get(3, "a")


@pytest.mark.parametrize(
    "record",
    ["", "[]", "{}", '{"samples": {}}', '{"samples": {"a": [1]}, "checksums": {}}',
     '{"samples": {"a": [1, 2, "zz"]}, "checksums": {}}'],
)  # fmt: skip
def test_a_damaged_record(work, record):
    work.finish(0, part())
    (work.folder / "layers" / "00000.json").write_text(record)
    with pytest.raises(StatisticsError, match=r"00000\.json: damaged .*delete the work folder"):
        work.finished()


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data + b"\0"])
def test_statistics_with_another_checksum(work, damage):
    work.finish(0, part())
    path = work.folder / "layers" / "00000.opposite.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StatisticsError, match=r"opposite\.safetensors: missing or damaged"):
        work.finished()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scope": "all"}, 'its scope is "response", this run\'s "all"'),
        ({"files": {"a": "c"}}, 'its files is {"a": "b"}, this run\'s {"a": "c"}'),
        ({"more": 1}, "its more is null, this run's 1"),
        ({"model": "x" * 200}, "this run's \"x{56}\\.\\.\\.; give another --work-dir"),
    ],
)
def test_another_run_is_named_by_the_first_thing_that_differs(work, change, message):
    with pytest.raises(StatisticsError, match=message):
        WorkFolder(work.folder, MANIFEST | change)
    assert WorkFolder(work.folder, MANIFEST).finished() == []  # and nothing was changed


def test_a_manifest_that_holds_more_is_another_run(work):
    less = {name: MANIFEST[name] for name in ("model", "scope")}
    with pytest.raises(StatisticsError, match="its files is"):
        WorkFolder(work.folder, less)


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_damaged_manifest(work, content):
    (work.folder / "manifest.json").write_text(content)
    with pytest.raises(StatisticsError, match=r"manifest\.json: damaged.*delete the work folder"):
        WorkFolder(work.folder, MANIFEST)


def test_tuples_and_lists_are_the_same_manifest(tmp_path):
    """What is compared is what JSON makes of it."""
    WorkFolder(tmp_path / "work", {"sites": ("a", "b")})
    WorkFolder(tmp_path / "work", {"sites": ["a", "b"]})
    text = (tmp_path / "work" / "manifest.json").read_text()
    assert json.loads(text) == {"sites": ["a", "b"]}


def test_hidden_files_do_not_make_a_folder_full(tmp_path):
    (tmp_path / ".DS_Store").touch()
    assert WorkFolder(tmp_path, MANIFEST).finished() == []
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").touch()
    with pytest.raises(StatisticsError, match=r"other: is not empty and no work folder"):
        WorkFolder(other, MANIFEST)
    assert [path.name for path in Path(other).iterdir()] == ["thesis.txt"]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 20), st.integers(0, 2**20))
def test_packed_masks_are_the_masks_in_an_eighth_of_the_memory(rows, columns, seed):
    keep = torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed)) < 0.5
    masks = PackedMasks()
    masks.add("b", keep)
    masks.add("a", ~keep)
    assert list(masks) == ["b", "a"]
    assert len(masks) == 2
    assert torch.equal(masks["b"], keep)
    assert torch.equal(masks["a"], ~keep)
    packed, width = masks._packed["b"]
    assert (packed.numel(), width) == (rows * math.ceil(columns / 8), columns)
    with pytest.raises(KeyError):
        masks["c"]

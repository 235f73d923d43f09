"""Statistics on disk: round trip, and every damage an error."""

import pytest
import torch

from prosopon.errors import StatisticsError
from prosopon.models import find_sites
from prosopon.statistics import Statistics, collect_statistics
from prosopon.statistics.channel import SUMS
from tests.tiny import tiny_model


@pytest.fixture
def statistics(examples):
    model, _ = tiny_model("gpt2")
    return collect_statistics(model, find_sites(model), examples, source="abc")


def test_round_trip(tmp_path, statistics):
    statistics.save(tmp_path / "s.safetensors")
    loaded = Statistics.load(tmp_path / "s.safetensors")
    assert loaded.groups == statistics.groups
    assert (loaded.scope, loaded.sources) == ("response", ("abc",))
    assert loaded.fingerprint == statistics.fingerprint
    for name, channel in statistics.channels.items():
        for key in SUMS:
            assert torch.equal(getattr(loaded.channels[name], key), getattr(channel, key))
        assert loaded.channels[name].tokens == channel.tokens
    assert (loaded + statistics).samples == 2 * statistics.samples
    assert [p.name for p in tmp_path.iterdir()] == ["s.safetensors"]


def test_missing_and_damaged_files(tmp_path, statistics):
    path = tmp_path / "s.safetensors"
    with pytest.raises(StatisticsError, match="no such statistics file"):
        Statistics.load(path)
    statistics.save(path)
    whole = path.read_bytes()
    for cut in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(StatisticsError, match=r"s\.safetensors"):
            Statistics.load(path)


def test_another_format_version(tmp_path, statistics):
    path = tmp_path / "s.safetensors"
    statistics.save(path)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'\\"format_version\\": 1', b'\\"format_version\\": 9'))
    with pytest.raises(StatisticsError, match="format 9"):
        Statistics.load(path)

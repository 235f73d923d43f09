from __future__ import annotations

import pytest
import torch
from torch import nn

from prosopon.models import find_sites
from prosopon.runtime.homes import Home, equal, write
from tests.runtime import samples
from tests.tiny import tiny_model

LAYOUTS = {
    "plain": lambda weight: weight.contiguous(),
    "turned": lambda weight: weight.T.contiguous().T,
    "with gaps": lambda weight: weight.repeat_interleave(2, 1)[:, ::2],
}


def site_of(layout, dtype=torch.float32):
    model = nn.ModuleDict({"up": nn.Linear(5, 7)}).to(dtype)
    model["up"].weight = nn.Parameter(LAYOUTS[layout](model["up"].weight.detach()))
    return find_sites(model)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_reads_and_writes_row_major_positions_of_any_layout(layout, dtype):
    site = site_of(layout, dtype)
    where, home = site.weight.data_ptr(), Home(site)
    expected = site.matrix().clone(memory_format=torch.contiguous_format)
    indices = torch.tensor([1, 5, 11, 34])
    assert torch.equal(home.read(indices), expected.reshape(-1)[indices])
    values = torch.tensor([-0.0, 1e-40, 2.5, -3.0], dtype=dtype)
    offsets, bits = home.outward(home.offsets(indices), values)
    assert list(offsets) == sorted(offsets)
    write(home.flat, offsets, bits)
    expected.view(-1)[indices] = values
    assert torch.equal(samples.bits(site.matrix()), samples.bits(expected))
    assert equal(home.flat[offsets], bits)
    assert not equal(home.flat[offsets], -1 - bits)
    assert site.weight.data_ptr() == where


def test_reading_copies():
    home = Home(site_of("plain"))
    values = home.read(torch.arange(4))
    kept = values.clone()
    home.site.matrix().zero_()
    assert torch.equal(values, kept)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_view_of_other_devices_writes_the_same(family):
    """Off the CPU the view is a tensor: the same writes through one give the same weights."""
    model, _ = tiny_model(family)
    site = find_sites(model)[0]
    home = Home(site)
    before = site.matrix().clone(memory_format=torch.contiguous_format)
    indices = torch.tensor([3, 40, 41, 200])
    offsets, bits = (
        torch.from_numpy(each)
        for each in home.outward(home.offsets(indices), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    )
    view = torch.from_numpy(home.flat)
    assert not equal(view[offsets], bits)
    write(view, offsets, bits)
    before.view(-1)[indices] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert torch.equal(site.matrix(), before)
    assert equal(view[offsets], bits)
    assert torch.equal(home.inward(bits), home.inward(bits.numpy()))

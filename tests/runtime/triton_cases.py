"""Run by test_triton_mixed.py, in a process of its own: the fused kernel against masks by hand."""

from __future__ import annotations

import pytest
import torch

from prosopon.errors import OptionError
from prosopon.runtime import triton_mixed


def case(rows, tokens, out, width, *, share=0.3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(rows + out)
    x = torch.randn(rows, tokens, width, generator=generator).to(dtype)
    weight = torch.randn(out, width, generator=generator).to(dtype)
    keep = [torch.rand(out, width, generator=generator) >= share for _ in range(3)]
    masks = torch.randint(4, (rows,), generator=generator)
    gates = torch.tensor([0.0, 0.3, 1.0, 0.0])[masks]
    return x, weight, keep, masks, gates


def by_hand(x, weight, keep, masks, gates, bias=0.0):
    keep = [*keep, torch.ones_like(keep[0])]
    rows = []
    for given, mask, gate in zip(x, masks, gates, strict=True):
        gated = torch.where(keep[mask], weight.double(), weight.double() * gate.double())
        rows.append(given.double() @ gated.T + bias)
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("rows", "tokens", "out", "width"),
    [(8, 1, 16, 64), (1, 1, 1, 1), (3, 5, 33, 70), (9, 2, 17, 129)],
)
def test_every_row_gets_its_mask(rows, tokens, out, width):
    x, weight, keep, masks, gates = case(rows, tokens, out, width)
    bits, bias = triton_mixed.pack_masks(keep), torch.randn(out)
    found = triton_mixed.mixed_linear(x, weight, bits, masks, gates, bias)
    expected = by_hand(x, weight, keep, masks, gates, bias.double())
    assert torch.allclose(found.double(), expected, atol=1e-4)
    alone = triton_mixed.mixed_linear(x[:, 0], weight, bits, masks, gates, bias)
    assert torch.allclose(alone.double(), expected[:, 0], atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_weights(dtype):
    x, weight, keep, masks, gates = case(4, 1, 20, 40, dtype=dtype)
    found = triton_mixed.mixed_linear(x, weight, triton_mixed.pack_masks(keep), masks, gates)
    expected = by_hand(x, weight, keep, masks, gates)
    assert found.dtype == dtype
    assert (found.double() - expected).abs().max() < 4 * torch.finfo(
        dtype
    ).eps * expected.abs().max()


def test_what_does_not_fit_is_refused():
    x, weight, keep, masks, gates = case(4, 1, 20, 40)
    bits = triton_mixed.pack_masks(keep)
    for arguments in (
        (x[..., :39], weight, bits, masks, gates),
        (x, weight, bits[:, :, :4], masks, gates),
        (x, weight, bits.int(), masks, gates),
        (x, weight, bits, masks[:3], gates),
        (x, weight, bits, masks + 4, gates),
        (x, weight, bits, masks - 4, gates),
    ):
        with pytest.raises(OptionError):
            triton_mixed.mixed_linear(*arguments)

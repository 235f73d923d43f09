"""A fused kernel for mixed batches on a GPU: every row under the packed bits of its own mask.

    y[r, o] = bias[o] + sum_k x[r, k] W[o, k] (1 if row r's persona keeps (o, k), else its gate)

A tile of weights is read once for all rows, and of the masks one bit a weight and row, so that
light and heavy masks cost the same. The products are summed in float32.

Not wired to :meth:`PersonaModel.mixed <prosopon.runtime.PersonaModel.mixed>`, which takes the
sparse way: the kernel is proved right under Triton's interpreter on the CPU, and its speed on a
GPU has not been measured. Needs the extra ``gpu``; nothing else imports this module.
"""

# No postponed annotations here: Triton has to see tl.constexpr itself, not its name.
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from prosopon.errors import OptionError
from prosopon.subnetwork import pack_rows

_ROWS, _OUT, _IN = 8, 16, 64  # of a tile: 8192 products


def _kernel(
    x: Any,
    weight: Any,
    bits: Any,
    masks: Any,
    gates: Any,
    y: Any,
    rows: Any,
    out_features: Any,
    in_features: Any,
    width: Any,
    rows_: tl.constexpr,
    out_: tl.constexpr,
    in_: tl.constexpr,
) -> None:
    """Compute a tile [rows_, out_] of y; all matrices are contiguous."""
    row = tl.program_id(0) * rows_ + tl.arange(0, rows_)
    out = tl.program_id(1) * out_ + tl.arange(0, out_)
    there = row < rows
    mask = tl.load(masks + row, mask=there, other=0)
    gate = tl.load(gates + row, mask=there, other=1.0)
    lines = (mask[:, None].to(tl.int64) * out_features + out[None, :]) * width
    total = tl.zeros([rows_, out_], dtype=tl.float32)
    for start in range(0, in_features, in_):
        column = start + tl.arange(0, in_)
        inside = column < in_features
        given = tl.load(
            x + row[:, None].to(tl.int64) * in_features + column[None, :],
            mask=there[:, None] & inside[None, :],
            other=0.0,
        ).to(tl.float32)
        tile = tl.load(
            weight + out[:, None].to(tl.int64) * in_features + column[None, :],
            mask=(out < out_features)[:, None] & inside[None, :],
            other=0.0,
        ).to(tl.float32)
        # Eight neighbours read one byte; bit 7 is the first of them.
        byte = tl.load(
            bits + lines[:, :, None] + (column // 8)[None, None, :],
            mask=(out < out_features)[None, :, None] & inside[None, None, :],
            other=0,
        )
        kept = (byte.to(tl.int32) >> (7 - column % 8)[None, None, :]) & 1
        factor = tl.where(kept == 1, 1.0, gate[:, None, None])
        total += tl.sum(tile[None, :, :] * factor * given[:, None, :], axis=2)
    place = row[:, None].to(tl.int64) * out_features + out[None, :]
    tl.store(y + place, total, mask=there[:, None] & (out < out_features)[None, :])


_compiled = triton.jit(_kernel)


def pack_masks(masks: list[Tensor]) -> Tensor:
    """Pack keep-masks for :func:`mixed_linear`.

    Args:
        masks: Bool [out, in] each, True where the weight is kept.

    Returns:
        Uint8 [masks + 1, out, ceil(in / 8)] on the CPU; the last one keeps everything.
    """
    return torch.stack([pack_rows(each) for each in [*masks, torch.ones_like(masks[0])]])


def mixed_linear(
    x: Tensor,
    weight: Tensor,
    bits: Tensor,
    masks: Tensor,
    gates: Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    """Compute a linear layer with a mask of its own for every row.

    Args:
        x: Floating point [rows, in] or [rows, tokens, in].
        weight: Floating point [out, in], dense.
        bits: Uint8 [masks, out, ceil(in / 8)], as :func:`pack_masks` makes it.
        masks: Int32 [rows]: the number of each row's mask.
        gates: Float32 [rows]: what a pruned weight is multiplied by; 0 is the hard mask.
        bias: [out].

    Returns:
        [..., out] in the dtype of ``x``.

    Raises:
        OptionError: Shapes or dtypes that do not fit, or a mask that is not there.
    """
    out_features, in_features = weight.shape
    width = -(-in_features // 8)
    if x.shape[-1] != in_features or bits.shape[1:] != (out_features, width):
        raise OptionError(
            f"x {list(x.shape)}, weight {list(weight.shape)} and bits {list(bits.shape)} do not "
            "fit: give [..., in], [out, in] and [masks, out, ceil(in / 8)]"
        )
    if bits.dtype != torch.uint8 or masks.shape != x.shape[:1] or gates.shape != x.shape[:1]:
        raise OptionError("bits must be uint8, masks and gates one for every row of x")
    if len(masks) and not 0 <= int(masks.min()) <= int(masks.max()) < len(bits):
        raise OptionError(f"masks: numbers must lie between 0 and {len(bits) - 1}")
    tokens = x.shape[1] if x.ndim == 3 else 1
    flat = x.reshape(-1, in_features).contiguous()
    y = torch.empty(len(flat), out_features, dtype=torch.float32, device=x.device)
    grid = (triton.cdiv(len(flat), _ROWS), triton.cdiv(out_features, _OUT))
    if len(flat):
        _compiled[grid](
            flat,
            weight.contiguous(),
            bits.contiguous(),
            masks.int().repeat_interleave(tokens).contiguous(),
            gates.float().repeat_interleave(tokens).contiguous(),
            y,
            len(flat),
            out_features,
            in_features,
            width,
            rows_=_ROWS,
            out_=_OUT,
            in_=_IN,
        )
    if bias is not None:
        y += bias
    return y.to(x.dtype).reshape(*x.shape[:-1], out_features)

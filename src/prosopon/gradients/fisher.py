"""The diagonal of the true Fisher matrix, per token: what general text loses with a weight.

F_ii = E (d log p(y | x) / d w_i)^2 per token, labels y drawn from the model itself. Given the
context the labels of a text are independent draws, so the expected square of the gradient summed
over a text equals the sum of the tokens' expected squares: one backward pass a text is unbiased.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from prosopon import ranks
from prosopon.data import Batch, Encoded, length_buckets
from prosopon.errors import StatisticsError
from prosopon.lm.forward import by_row, inputs
from prosopon.lm.reading import response_mask
from prosopon.models import Site
from prosopon.models.experts import apart

if TYPE_CHECKING:
    from torch import Tensor, nn

Progress = Callable[[int], None]


def fisher_diagonal(
    model: nn.Module,
    sites: Sequence[Site],
    texts: Sequence[Encoded],
    *,
    seed: int = 0,
    draws: int = 1,
    max_tokens: int = 2048,
    at: Mapping[str, Tensor] | None = None,
    progress: Progress | None = None,
) -> dict[str, Tensor]:
    """Return F_ii per token of every site's weights, ``[out, in]``, float32, not negative.

    Args:
        model: A causal LM; it is not changed.
        sites: The sites.
        texts: Encoded general texts; every token in scope but the first is predicted.
        seed: Seeds the labels. Those of a text depend on its place in ``texts`` only, not on
            batches.
        draws: Label draws per text.
        max_tokens: Most tokens, padding included, in one backward pass.
        at: Flat positions in the canonical matrix of every site, int64 ``[n]``; then only these
            values are kept and returned, ``[n]``.
        progress: Called with the number of texts done since the last call.

    Raises:
        StatisticsError: There are no texts, or a value is NaN or infinite.
    """
    tokens = draws * sum(sum(text.scope[1:]) for text in texts)
    if not tokens:
        raise StatisticsError("no general text to measure damage on")
    shapes = {s.name: s.shape if at is None else at[s.name].shape for s in sites}
    totals = {s.name: torch.zeros(shapes[s.name], device=s.weight.device) for s in sites}
    for draw in range(draws):
        for batch in length_buckets(texts, max_tokens=max_tokens, max_rows=64, shared=True):
            uniform = _uniform(batch, seed, draw)
            shape = batch.input_ids.shape
            with torch.enable_grad(), _squares(model, sites, totals, at, shape) as roots:
                logits = model(**inputs(model, batch)).logits[:, :-1].float()
                loss = _sampled_log_likelihood(logits, uniform, response_mask(batch, every=True))
                torch.autograd.grad(loss, roots)
            if progress is not None:
                progress(len(batch.index))
    ranks.add_up(*totals.values())
    for name, total in totals.items():
        total /= tokens
        if not torch.isfinite(total).all():
            raise StatisticsError(f"the Fisher diagonal of site {name!r} is NaN or infinite")
    return totals


def _uniform(batch: Batch, seed: int, draw: int) -> Tensor:
    """Return numbers in [0, 1), [rows, length - 1], that depend on each text alone."""
    rows, length = batch.input_ids.shape
    values = torch.zeros(rows, length - 1)
    for row, index in enumerate(batch.index):
        generator = torch.Generator().manual_seed((seed * 1_000_003 + draw) * 1_000_003 + index)
        drawn = torch.rand(length, generator=generator)  # a prefix of one stream, any padding
        columns = response_mask(batch, every=True)[row].nonzero().squeeze(1)
        values[row, columns] = drawn[: len(columns)]
    return values


def _sampled_log_likelihood(logits: Tensor, uniform: Tensor, mask: Tensor) -> Tensor:
    mask = mask.to(logits.device)
    probabilities = logits.detach().softmax(-1).double().cumsum(-1)
    limit = uniform.to(logits.device).double().unsqueeze(-1) * probabilities[..., -1:]
    labels = torch.searchsorted(probabilities, limit).clamp_max(logits.shape[-1] - 1)
    chosen = logits.gather(-1, labels).squeeze(-1) - logits.logsumexp(-1)
    return (chosen * mask).sum()


@contextmanager
def _squares(
    model: nn.Module,
    sites: Sequence[Site],
    totals: dict[str, Tensor],
    at: Mapping[str, Tensor] | None,
    shape: Sequence[int],
) -> Iterator[list[Tensor]]:
    """Add each text's squared gradient to ``totals`` during a backward pass.

    Gradients flow from the embeddings (the yielded list holds their output), so that no
    gradient of a weight is ever kept: each is built, squared and dropped text by text.
    """
    roots: list[Tensor] = []

    def start(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
        root = output.detach().requires_grad_(True)
        roots.append(root)
        return root

    def watch(site: Site) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_module: nn.Module, args: Any, output: Tensor) -> None:
            values = by_row(site, args[0].detach(), shape).float()

            def add(gradient: Tensor) -> None:
                deltas = by_row(site, gradient, shape).float()
                for row, delta in zip(values, deltas, strict=True):
                    square = delta.T @ row
                    if at is not None:
                        square = square.view(-1)[at[site.name]]
                    totals[site.name].add_(square.square_())

            output.register_hook(add)  # type: ignore[no-untyped-call]

        return hook

    with ExitStack() as stack:
        stack.enter_context(apart(site.module for site in sites))
        stack.callback(model.get_input_embeddings().register_forward_hook(start).remove)  # type: ignore[operator]
        for site in sites:
            stack.callback(site.module.register_forward_hook(watch(site)).remove)
        yield roots

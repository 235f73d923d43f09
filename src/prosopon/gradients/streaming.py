"""Gradients of the persona objective with respect to the weights of every site.

They are handed on site by site, micro-batch by micro-batch, and dropped: never more than one
site's gradient is in memory, whatever the model's size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch

from prosopon import ranks
from prosopon.errors import StatisticsError
from prosopon.models import Site
from prosopon.models.experts import apart

if TYPE_CHECKING:
    from torch import Tensor

Consume = Callable[[Site, "Tensor"], None]


def stream_gradients(sites: Sequence[Site], terms: Iterable[Tensor], consume: Consume) -> float:
    """Run each term backward, hand every site's gradient to ``consume``, return the terms' sum.

    Args:
        sites: The sites to differentiate; their weights, ``grad`` and ``requires_grad`` are as
            before afterwards.
        terms: Scalars; made while this runs, so that one graph lives at a time.
        consume: Called with (site, gradient): canonical [out, in], in the weight's dtype, valid
            during the call only, once for every term that reaches the site.
    """
    loss = 0.0
    weights = [site.weight for site in sites]
    with differentiable(sites, consume):
        for term in terms:
            loss += float(term.detach())
            torch.autograd.backward(term, inputs=weights)
    return loss


def sum_gradients(
    sites: Sequence[Site], terms: Iterable[Tensor]
) -> tuple[dict[str, Tensor], float]:
    """Return the sum of the terms' gradients of every site, ``[out, in]``, float32, and their sum.

    Under torchrun the sums are over all ranks.

    For the arguments see :func:`stream_gradients`; a gradient that is NaN or infinite is a
    StatisticsError.
    """
    totals = {site.name: torch.zeros(site.shape, device=site.weight.device) for site in sites}

    def add(site: Site, gradient: Tensor) -> None:
        totals[site.name] += gradient

    loss = ranks.total(stream_gradients(sites, terms, add))
    ranks.add_up(*totals.values())
    for name, total in totals.items():
        check_gradient(name, total)
    return totals, loss


def check_gradient(site: str, values: Tensor) -> None:
    """Raise :class:`StatisticsError` unless every value is finite."""
    if not torch.isfinite(values).all():
        raise StatisticsError(
            f"the gradient of site {site!r} is NaN or infinite; try --dtype float32"
        )


@contextmanager
def differentiable(sites: Sequence[Site], consume: Consume) -> Iterator[None]:
    """Let gradients reach the sites' weights and ``consume``; all is as before on exit."""
    before = [(site.weight.requires_grad, site.weight.grad) for site in sites]

    def hook_for(site: Site) -> Callable[[Tensor], None]:
        def hook(parameter: Tensor) -> None:
            gradient, parameter.grad = parameter.grad, None
            assert gradient is not None
            consume(site, site.oriented(gradient))

        return hook

    with ExitStack() as stack:
        stack.enter_context(apart(site.module for site in sites))
        try:
            for site in sites:
                site.weight.grad = None
                site.weight.requires_grad_(True)
                handle = site.weight.register_post_accumulate_grad_hook(hook_for(site))  # type: ignore[no-untyped-call]
                stack.callback(handle.remove)
            with torch.enable_grad():
                yield
        finally:
            for site, (flag, gradient) in zip(sites, before, strict=True):
                site.weight.requires_grad_(flag)
                site.weight.grad = gradient

"""Gradients of the persona objective with respect to the weights of every site.

They are handed on site by site, micro-batch by micro-batch, and dropped: never more than one
site's gradient is in memory, whatever the model's size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from prosopon.errors import StatisticsError
from prosopon.gradients.objective import Material, Objective, objective_terms
from prosopon.models import Site

Consume = Callable[[Site, Tensor], None]


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


def objective_gradients(
    model: nn.Module,
    sites: Sequence[Site],
    material: Material,
    objective: Objective,
    *,
    max_tokens: int = 2048,
) -> tuple[dict[str, Tensor], float]:
    """Return dL/dW of every site, canonical ``[out, in]``, float32, and the loss L.

    Args:
        model: A causal LM; its weights and their ``requires_grad`` are as before afterwards.
        sites: The sites to differentiate.
        material: What the loss is computed on.
        objective: The weights of the terms.
        max_tokens: Most tokens, padding included, in one backward pass.

    Raises:
        StatisticsError: A gradient is NaN or infinite.
    """
    totals = {
        s.name: torch.zeros(s.out_features, s.in_features, device=s.weight.device) for s in sites
    }

    def add(site: Site, gradient: Tensor) -> None:
        totals[site.name] += gradient

    terms = objective_terms(model, material, objective, max_tokens=max_tokens)
    loss = stream_gradients(sites, terms, add)
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

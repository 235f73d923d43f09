"""Collecting sums over the inputs of sites in one pass over the examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from prosopon.data import Batch, Encoded, PaddingSide, collate, length_buckets
from prosopon.errors import StatisticsError
from prosopon.lm.forward import in_scope, inputs, trunk
from prosopon.models import Site, fingerprint
from prosopon.models.experts import apart
from prosopon.models.memory import trim
from prosopon.statistics.channel import ChannelStatistics
from prosopon.statistics.container import S, Sums
from prosopon.statistics.gram import Grams, GramStatistics
from prosopon.statistics.statistics import Statistics

if TYPE_CHECKING:
    from torch import Tensor, nn

Progress = Callable[[int], None]
T = TypeVar("T")

_PROBE = 8  # tokens that show which sites share an input


def collect_statistics(
    model: nn.Module,
    sites: Sequence[Site],
    examples: Sequence[Encoded],
    *,
    max_tokens: int = 1024,
    **options: Any,
) -> Statistics:
    """Run the examples through the model once and return the statistics of every site's input.

    Batches are made of examples of similar length; padding and tokens out of scope are left out
    exactly, so neither batch size nor padding side nor order changes a result beyond rounding.

    Args:
        model: A causal LM; it is not changed.
        sites: The sites to watch.
        examples: Encoded examples with at least one token in scope each.
        max_tokens: Most tokens, padding included, in one batch. 1024 are enough to keep a
            processor busy; what a forward pass needs beside the weights grows with it.
        options: ``scope`` (default ``response``), what the examples' ``scope`` masks stand for,
            recorded; ``source``, content hash of the examples, recorded; ``max_rows`` (64), most
            examples in one batch; ``padding_side`` (``right``); and ``progress``, called with
            the number of examples done since the last call.

    Raises:
        StatisticsError: There are no examples, a site is not reached by the forward pass, or an
            activation is NaN or infinite.
    """
    collect = partial(_collect, model, sites, examples, max_tokens=max_tokens)
    return Statistics(*collect(ChannelStatistics, **options))


def collect_grams(
    model: nn.Module,
    sites: Sequence[Site],
    examples: Sequence[Encoded],
    *,
    max_tokens: int = 4096,
    **options: Any,
) -> Grams:
    """Do the same for Gram matrices.

    Memory: 8 bytes times the squared width of every distinct input; see
    :func:`~prosopon.statistics.gram_portions`. Arguments and errors are those of
    :func:`collect_statistics`.
    """
    collect = partial(_collect, model, sites, examples, max_tokens=max_tokens)
    return Grams(*collect(GramStatistics, **options))


def _collect(
    model: nn.Module,
    sites: Sequence[Site],
    examples: Sequence[Encoded],
    kind: type[S],
    *,
    scope: str = "response",
    source: str = "",
    max_tokens: int,
    max_rows: int = 64,
    padding_side: PaddingSide = "right",
    progress: Progress | None = None,
) -> tuple[dict[str, S], dict[str, str], str, str, tuple[str, ...]]:
    """Return the fields of a SiteSums: one kind of sums of every distinct input, and so on."""
    if not examples:
        raise StatisticsError("no examples to collect statistics from")
    body = trunk(model)
    batches = length_buckets(
        examples, max_tokens=max_tokens, max_rows=max_rows, padding_side=padding_side, shared=True
    )
    # The beginning of one row shows which sites share an input; where it does not reach every
    # site (an expert that no token was sent to), the whole row is looked at.
    row = collate([min(examples, key=len)])
    beginning = row.columns(slice(_PROBE))
    runs = [partial(body, **inputs(body, part)) for part in (beginning, row)]
    groups = group_by_input(sites, *runs)
    watched = first_readers(sites, groups)
    sums = {site.name: kind.zero(site.in_features) for site in watched}
    for batch in batches:
        collect_batch(watched, sums, batch, partial(body, **inputs(body, batch)))
        if progress is not None:
            progress(len(batch.index))
    sums = {name: part.over_ranks() for name, part in sums.items()}
    trim()  # what the forward passes needed beside the weights
    check_activations(sums)
    return sums, groups, scope, fingerprint(sites).weights, (source,) if source else ()


def first_readers(sites: Sequence[Site], groups: Mapping[str, str]) -> list[Site]:
    """Return one site of every group, in model order."""
    return [site for site in sites if groups[site.name] == site.name]


def collect_batch(
    watched: Sequence[Site], sums: dict[str, S], batch: Batch, run: Callable[[], T]
) -> T:
    """Add what the watched sites read during ``run()`` on a batch to ``sums``; return its result.

    Raises:
        StatisticsError: The tokens of a site's input cannot be told apart.
    """
    masks: dict[torch.device, Tensor] = {}

    def add(site: Site, value: Tensor) -> None:
        mask = masks.setdefault(value.device, batch.scope.to(value.device))
        before = sums[site.name]
        values, chosen = in_scope(site, value, mask)
        if len(values):
            sums[site.name] = before.absorb(type(before).of_batch(values, chosen))

    with torch.no_grad(), watch_inputs(watched, add):
        return run()


def group_by_input(sites: Sequence[Site], *runs: Callable[[], Any]) -> dict[str, str]:
    """Return, for each site, the first site that reads the very same tensor.

    Looked up in a run rather than by names, so that it holds for any architecture.

    Args:
        sites: Sites.
        runs: Forward passes; the next one is made where one does not reach every site.

    Raises:
        StatisticsError: A site gets no input in any of them. An expert of a fused parameter may:
            it shares its input with none.
    """
    seen: dict[str, Tensor] = {}  # held, so that no identity is used twice
    expected = [site.name for site in sites if site.expert is None]
    for run in runs:
        seen.clear()
        with torch.no_grad(), watch_inputs(sites, lambda site, x: seen.setdefault(site.name, x)):
            run()
        if seen.keys() >= set(expected):
            break
    missing = [name for name in expected if name not in seen]
    if missing:
        raise StatisticsError(
            f"site {missing[0]!r} gets no input in a forward pass ({len(missing)} such sites); "
            "leave it out with --ignore"
        )
    first: dict[int, str] = {}
    return {
        site.name: first.setdefault(id(seen[site.name]), site.name)
        if site.name in seen
        else site.name
        for site in sites
    }


@contextmanager
def watch_inputs(sites: Sequence[Site], call: Callable[[Site, Tensor], Any]) -> Iterator[None]:
    """Call ``call(site, input)`` whenever a site runs; hooks are removed on exit."""
    with ExitStack() as stack:
        stack.enter_context(apart(site.module for site in sites))
        for site in sites:

            def hook(_module: nn.Module, args: tuple[Any, ...], site: Site = site) -> None:
                call(site, args[0])

            stack.callback(site.module.register_forward_pre_hook(hook).remove)
        yield


def check_activations(sums: Mapping[str, Sums]) -> None:
    """Raise a StatisticsError that names the first site with a sum that is NaN or infinite."""
    for name, site_sums in sums.items():
        if not site_sums.is_finite:
            raise StatisticsError(
                f"the input of site {name!r} holds NaN or infinite activations; "
                "try --dtype float32 or bfloat16"
            )

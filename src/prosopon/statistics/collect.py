"""Collecting sums over the inputs of sites in one pass over the examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from prosopon.data import Batch, Encoded, PaddingSide, length_buckets
from prosopon.errors import StatisticsError
from prosopon.lm.forward import by_row, inputs, trunk
from prosopon.models import Site, fingerprint
from prosopon.models.memory import trim
from prosopon.statistics.channel import ChannelStatistics
from prosopon.statistics.container import S, Sums
from prosopon.statistics.gram import Grams, GramStatistics
from prosopon.statistics.statistics import Statistics

Progress = Callable[[int], None]

_PROBE = 8  # tokens that show which sites share an input


def collect_statistics(
    model: nn.Module,
    sites: Sequence[Site],
    examples: Sequence[Encoded],
    *,
    scope: str = "response",
    source: str = "",
    max_tokens: int = 1024,
    **batching: Any,
) -> Statistics:
    """Run the examples through the model once and return the statistics of every site's input.

    Batches are made of examples of similar length; padding and tokens out of scope are left out
    exactly, so neither batch size nor padding side nor order changes a result beyond rounding.

    Args:
        model: A causal LM; it is not changed.
        sites: The sites to watch.
        examples: Encoded examples with at least one token in scope each.
        scope: What the examples' ``scope`` masks stand for; recorded.
        source: Content hash of the examples; recorded.
        max_tokens: Most tokens, padding included, in one batch. 1024 are enough to keep a
            processor busy; what a forward pass needs beside the weights grows with it.
        batching: See :func:`collect_sums`.

    Raises:
        StatisticsError: There are no examples, a site is not reached by the forward pass, or an
            activation is NaN or infinite.
    """
    kind: type[ChannelStatistics] = ChannelStatistics
    sums, groups = collect_sums(model, sites, examples, kind, max_tokens=max_tokens, **batching)
    sources = (source,) if source else ()
    return Statistics(sums, groups, scope, fingerprint(sites).weights, sources)


def collect_grams(
    model: nn.Module,
    sites: Sequence[Site],
    examples: Sequence[Encoded],
    *,
    scope: str = "response",
    source: str = "",
    max_tokens: int = 4096,
    **batching: Any,
) -> Grams:
    """Do the same for Gram matrices.

    Memory: 8 bytes times the squared width of every distinct input; see
    :func:`~prosopon.statistics.gram_portions`. Arguments and errors are those of
    :func:`collect_statistics`.
    """
    kind: type[GramStatistics] = GramStatistics
    sums, groups = collect_sums(model, sites, examples, kind, max_tokens=max_tokens, **batching)
    sources = (source,) if source else ()
    return Grams(sums, groups, scope, fingerprint(sites).weights, sources)


def collect_sums(
    model: nn.Module,
    sites: Sequence[Site],
    examples: Sequence[Encoded],
    kind: type[S],
    *,
    max_tokens: int,
    max_rows: int = 64,
    padding_side: PaddingSide = "right",
    progress: Progress | None = None,
) -> tuple[dict[str, S], dict[str, str]]:
    """Return one kind of sums of every distinct input, and whose input each site reads.

    Args:
        model: A causal LM; it is not changed.
        sites: The sites to watch.
        examples: Encoded examples.
        kind: Which sums.
        max_tokens: Most tokens, padding included, in one batch.
        max_rows: Most examples in one batch.
        padding_side: ``"right"`` or ``"left"``.
        progress: Called with the number of examples done since the last call.

    Raises:
        StatisticsError: See :func:`collect_statistics`.
    """
    if not examples:
        raise StatisticsError("no examples to collect statistics from")
    body = trunk(model)
    batches = list(
        length_buckets(
            examples, max_tokens=max_tokens, max_rows=max_rows, padding_side=padding_side
        )
    )
    groups = shared_inputs(body, sites, batches[0])
    by_name = {site.name: site for site in sites}
    watched = [by_name[name] for name in dict.fromkeys(groups.values())]
    sums = {site.name: kind.zero(site.in_features) for site in watched}
    for batch in batches:
        collect_batch(watched, sums, batch, partial(body, **inputs(body, batch)))
        if progress is not None:
            progress(len(batch.index))
    trim()  # what the forward passes needed beside the weights
    check_activations(sums)
    return sums, groups


def collect_batch(
    watched: Sequence[Site], sums: dict[str, S], batch: Batch, run: Callable[[], Any]
) -> None:
    """Add what the watched sites read while ``run()`` works on a batch to ``sums``.

    Raises:
        StatisticsError: The tokens of a site's input cannot be told apart.
    """
    masks: dict[torch.device, Tensor] = {}

    def add(site: Site, value: Tensor) -> None:
        mask = masks.setdefault(value.device, batch.scope.to(value.device))
        before = sums[site.name]
        part = type(before).of_batch(by_row(site, value, mask.shape), mask)
        sums[site.name] = before.absorb(part)

    with torch.no_grad(), watch_inputs(watched, add):
        run()


def shared_inputs(body: nn.Module, sites: Sequence[Site], batch: Batch) -> dict[str, str]:
    """Return, for each site, the name of the first site that reads the very same input tensor.

    Found by looking at one forward pass over the beginning of one row of ``batch`` rather than by
    names, so that it holds for any architecture. Where that does not reach every site (an expert
    that no token was sent to), the whole row is looked at.

    Raises:
        StatisticsError: A site gets no input in a forward pass.
    """
    row = batch.row(0)
    seen = _inputs_of(sites, partial(body, **inputs(body, _beginning(row))))
    if len(seen) < len(sites):
        seen = _inputs_of(sites, partial(body, **inputs(body, row)))
    return _first_readers(sites, seen)


def group_by_input(sites: Sequence[Site], run: Callable[[], Any]) -> dict[str, str]:
    """Return, for each site, the first site that reads the very same tensor during ``run()``.

    Raises:
        StatisticsError: A site gets no input.
    """
    return _first_readers(sites, _inputs_of(sites, run))


def _first_readers(sites: Sequence[Site], seen: Mapping[str, Tensor]) -> dict[str, str]:
    missing = [site.name for site in sites if site.name not in seen]
    if missing:
        raise StatisticsError(
            f"site {missing[0]!r} gets no input in a forward pass ({len(missing)} such sites); "
            "leave it out with --ignore"
        )
    first: dict[int, str] = {}
    return {site.name: first.setdefault(id(seen[site.name]), site.name) for site in sites}


def _inputs_of(sites: Sequence[Site], run: Callable[[], Any]) -> dict[str, Tensor]:
    """Return every site's input during ``run()``, held so that no identity is used twice."""
    seen: dict[str, Tensor] = {}
    with torch.no_grad(), watch_inputs(sites, lambda site, x: seen.setdefault(site.name, x)):
        run()
    return seen


def _beginning(row: Batch) -> Batch:
    """Return the first tokens of a batch of one row, as a batch."""
    start = int(row.attention_mask[0].argmax())  # padding may be on the left
    part = slice(start, start + _PROBE)
    return replace(
        row,
        input_ids=row.input_ids[:, part],
        attention_mask=row.attention_mask[:, part],
        scope=row.scope[:, part],
        response=row.response[:, part],
        position_ids=row.position_ids[:, part],
    )


@contextmanager
def watch_inputs(sites: Sequence[Site], call: Callable[[Site, Tensor], Any]) -> Iterator[None]:
    """Call ``call(site, input)`` whenever a site runs; hooks are removed on exit."""
    handles = []

    def hook_for(site: Site) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
            call(site, args[0])

        return hook

    try:
        for site in sites:
            handles.append(site.module.register_forward_pre_hook(hook_for(site)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def check_activations(sums: Mapping[str, Sums]) -> None:
    """Check that no sum is NaN or infinite.

    Raises:
        StatisticsError: One is; names the first such site.
    """
    for name, site_sums in sums.items():
        if not site_sums.is_finite:
            raise StatisticsError(
                f"the input of site {name!r} holds NaN or infinite activations; "
                "try --dtype float32 or bfloat16"
            )

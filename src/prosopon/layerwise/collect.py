"""Channel statistics of a model that is larger than memory: one decoder layer at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from prosopon.data import Batch, Encoded, PaddingSide, length_buckets
from prosopon.errors import StatisticsError
from prosopon.layerwise.relay import Relay
from prosopon.layerwise.skeleton import Skeleton
from prosopon.layerwise.states import FolderStates, MemoryStates, States
from prosopon.layerwise.workfolder import LayerPart, WorkFolder
from prosopon.lm.forward import inputs
from prosopon.models import Sample, Site, check_finite, fingerprint_of, sample_signs
from prosopon.statistics.channel import ChannelStatistics
from prosopon.statistics.collect import check_activations, collect_batch, group_by_input
from prosopon.statistics.statistics import Statistics
from prosopon.version import __version__

FORMAT_VERSION = 1
SMALL = 64 * 2**20
"""Hidden states of up to this many bytes stay in memory where there is no work folder."""

Report = Callable[[int, int], None]


def collect_sequential(
    skeleton: Skeleton,
    sites: Sequence[Site],
    examples: Mapping[str, Sequence[Encoded]],
    *,
    scope: str = "response",
    sources: Mapping[str, str] | None = None,
    max_tokens: int = 4096,
    max_rows: int = 64,
    padding_side: PaddingSide = "right",
    work_dir: Path | None = None,
    report: Report | None = None,
) -> dict[str, Statistics]:
    """Return what ``collect_statistics`` returns, for every set of examples, layer by layer.

    Each layer is read from disk once, sees all batches of all sets, and leaves memory again.
    Batches are those of ``collect_statistics``, so the sums are the same. Layers behind the last
    site are not run.

    Args:
        skeleton: The model, not used for anything before.
        sites: Its sites, from ``skeleton.sites()``.
        examples: Encoded examples by the name of their set; the name becomes a file's.
        scope: What the examples' ``scope`` masks stand for; recorded.
        sources: Content hash of each set; recorded.
        max_tokens: Most tokens, padding included, in one batch.
        max_rows: Most examples in one batch.
        padding_side: ``"right"`` or ``"left"``.
        work_dir: Where finished layers and hidden states are kept. A run that was killed goes
            on at its layer when it is started again with the same arguments. None keeps hidden
            states in memory, or in a temporary folder where they are large.
        report: Called with (layers done, layers) at the start and after each one.

    Raises:
        StatisticsError: There are no examples; the model cannot be run layer by layer; a site
            is not reached or an activation NaN or infinite; or the work folder is damaged or
            holds another run's work.
        ModelError: A weight is missing from the checkpoint, NaN or infinite.
    """
    for name, items in examples.items():
        if not items:
            raise StatisticsError(f"no examples to collect statistics from ({name})")
    settings = {"max_tokens": max_tokens, "max_rows": max_rows, "padding_side": padding_side}
    batches = {
        f"{name}-{number:05}": (name, batch)
        for name, items in examples.items()
        for number, batch in enumerate(
            length_buckets(
                items, max_tokens=max_tokens, max_rows=max_rows, padding_side=padding_side
            )
        )
    }
    work = None
    if work_dir is not None:
        manifest = _manifest(skeleton, sites, examples, scope, sources or {}, settings)
        work = WorkFolder(work_dir, manifest)
    with ExitStack() as stack:
        states = work.states if work is not None else _states(skeleton, batches, stack)
        sweep = _Sweep(skeleton, sites, batches, states, scope, dict(sources or {}))
        parts = sweep.run(work, report)
    return _joined(sites, list(examples), parts)


class _Sweep:
    """One way through the layers."""

    def __init__(
        self,
        skeleton: Skeleton,
        sites: Sequence[Site],
        batches: Mapping[str, tuple[str, Batch]],
        states: States,
        scope: str,
        sources: Mapping[str, str],
    ) -> None:
        self.skeleton, self.batches, self.states = skeleton, batches, states
        self.scope, self.sources = scope, sources
        self.relay = Relay(skeleton.body, skeleton.layers)
        count = len(skeleton.layers)
        # Sites outside the layers come last, as if they were one more layer.
        self.by_layer: dict[int, list[Site]] = {}
        for site in sites:
            number = skeleton.layer_of(site)
            self.by_layer.setdefault(count if number is None else number, []).append(site)
        self.total = max(self.by_layer) + 1

    def run(self, work: WorkFolder | None, report: Report | None) -> list[LayerPart]:
        """Return the part of every layer, those of an earlier run included."""
        parts = work.finished() if work is not None else []
        if report is not None:
            report(len(parts), self.total)
        if len(parts) < self.total:
            self._prepare()
        for number in range(len(parts), self.total):
            part = self._layer(number)
            if work is not None:
                work.finish(number, part)
            parts.append(part)
            if report is not None:
                report(number + 1, self.total)
        return parts

    def _prepare(self) -> None:
        """Load what lies outside the layers and find out whether the model fits."""
        ids = [torch.unique(batch.input_ids) for _, batch in self.batches.values()]
        self.skeleton.load_outside(torch.cat(ids))
        _, first = next(iter(self.batches.values()))
        with self.skeleton.layer(0):
            self.relay.check(inputs(self.skeleton.body, first.row(0)))

    def _layer(self, number: int) -> LayerPart:
        """Run every batch through one layer; keep its statistics and its output."""
        sites = self.by_layer.get(number, [])
        outside = number == len(self.skeleton.layers)
        with nullcontext() if outside else self.skeleton.layer(number):
            if not outside:
                check_finite(sites)
            groups = self._groups(number, sites)
            by_name = {site.name: site for site in sites}
            watched = [by_name[name] for name in dict.fromkeys(groups.values())]
            names = dict.fromkeys(name for name, _ in self.batches.values())
            channels = {
                name: {site.name: ChannelStatistics.zero(site.in_features) for site in watched}
                for name in names
            }
            for key, (name, batch) in self.batches.items():
                self._batch(number, key, batch, watched, channels[name])
            samples = {site.name: sample_signs(site.matrix()) for site in sites}
        for moments in channels.values():
            check_activations(moments)
        return LayerPart(
            {name: self._statistics(name, channels[name], groups) for name in names}, samples
        )

    def _groups(self, number: int, sites: Sequence[Site]) -> dict[str, str]:
        if not sites:
            return {}
        key, (_, batch) = next(iter(self.batches.items()))
        hidden = self._input(number, key)
        arguments = inputs(self.skeleton.body, batch.row(0))
        row = None if hidden is None else hidden[:1]
        return group_by_input(sites, partial(self.relay.step, arguments, number, row))

    def _batch(
        self,
        number: int,
        key: str,
        batch: Batch,
        watched: Sequence[Site],
        channels: dict[str, ChannelStatistics],
    ) -> None:
        arguments = inputs(self.skeleton.body, batch)
        hidden = self._input(number, key)
        outputs: list[Tensor] = []
        collect_batch(
            watched,
            channels,
            batch,
            lambda: outputs.append(self.relay.step(arguments, number, hidden)),
        )
        if number + 1 < self.total:
            self.states.put(number + 1, key, outputs[0])

    def _input(self, number: int, key: str) -> Tensor | None:
        """Return a batch's input of a layer; the model itself makes that of the first."""
        return self.states.get(number, key) if number else None

    def _statistics(
        self, name: str, channels: Mapping[str, ChannelStatistics], groups: Mapping[str, str]
    ) -> Statistics:
        source = self.sources.get(name, "")
        return Statistics(channels, groups, self.scope, "", (source,) if source else ())


def _joined(
    sites: Sequence[Site], names: Sequence[str], parts: Sequence[LayerPart]
) -> dict[str, Statistics]:
    """Put the layers together, with the fingerprint of all sites."""
    samples: dict[str, Sample] = {}
    for part in parts:
        samples |= part.samples
    weights = fingerprint_of(samples).weights
    joined = {}
    for name in names:
        groups: dict[str, str] = {}
        channels: dict[str, ChannelStatistics] = {}
        for part in parts:
            groups |= part.statistics[name].groups
            channels |= part.statistics[name].channels
        first = parts[0].statistics[name]
        ordered = {site.name: groups[site.name] for site in sites}
        joined[name] = Statistics(
            {group: channels[group] for group in dict.fromkeys(ordered.values())},
            ordered,
            first.scope,
            weights,
            first.sources,
        )
    return joined


def _states(
    skeleton: Skeleton, batches: Mapping[str, tuple[str, Batch]], stack: ExitStack
) -> States:
    """Keep hidden states in memory while they are small, else in a temporary folder."""
    tokens = sum(batch.input_ids.numel() for _, batch in batches.values())
    weight = skeleton.model.get_input_embeddings().weight
    if tokens * weight.shape[1] * weight.element_size() <= SMALL:
        return MemoryStates()
    return FolderStates(Path(stack.enter_context(TemporaryDirectory(prefix="prosopon-"))))


def _manifest(
    skeleton: Skeleton,
    sites: Sequence[Site],
    examples: Mapping[str, Sequence[Encoded]],
    scope: str,
    sources: Mapping[str, str],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return everything the statistics depend on."""
    import transformers

    config = skeleton.model.config.to_dict()
    for elsewhere in ("_name_or_path", "_commit_hash", "dtype", "transformers_version"):
        config.pop(elsewhere, None)  # told elsewhere, or the same
    dtype = str(next(skeleton.model.parameters()).dtype).removeprefix("torch.")
    return {
        "format_version": FORMAT_VERSION,
        "model": _digest(config),
        "files": skeleton.checkpoint.identity(),
        "dtype": dtype,
        "device": skeleton.device.type,
        "scope": scope,
        "sites": _digest([site.name for site in sites]),
        "examples": {
            name: _digest([[item.input_ids, item.scope] for item in items])
            for name, items in examples.items()
        },
        "sources": dict(sources),
        **settings,
        "versions": {
            "prosopon": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


def _digest(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()

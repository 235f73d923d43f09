"""Channel statistics of a model that is larger than memory: one decoder layer at a time."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from prosopon.data import Batch, Encoded, length_buckets
from prosopon.errors import StatisticsError
from prosopon.layerwise.relay import Relay
from prosopon.layerwise.skeleton import Skeleton
from prosopon.layerwise.workfolder import LayerPart, WorkFolder
from prosopon.lm.forward import inputs
from prosopon.models import Site, check_finite, fingerprint_of, sample_signs
from prosopon.statistics.channel import ChannelStatistics
from prosopon.statistics.collect import (
    check_activations,
    collect_batch,
    first_readers,
    group_by_input,
)
from prosopon.statistics.statistics import Statistics
from prosopon.version import __version__

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 1

Report = Callable[[int, int], None]


def collect_sequential(
    skeleton: Skeleton,
    sites: Sequence[Site],
    examples: Mapping[str, Sequence[Encoded]],
    *,
    scope: str = "response",
    sources: Mapping[str, str] | None = None,
    work_dir: Path | None = None,
    report: Report | None = None,
    **batching: Any,
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
        work_dir: Where finished layers and hidden states are kept. A run that was killed goes
            on at its layer when it is started again with the same arguments. None takes a
            temporary folder.
        report: Called with (layers done, layers) at the start and after each one.
        batching: ``max_tokens``, ``max_rows`` and ``padding_side`` of the batches.

    Raises:
        StatisticsError: There are no examples; the model cannot be run layer by layer; a site
            is not reached or an activation NaN or infinite; or the work folder is damaged or
            holds another run's work.
        ModelError: A weight is missing from the checkpoint, NaN or infinite.
    """
    for name, items in examples.items():
        if not items:
            raise StatisticsError(f"no examples to collect statistics from ({name})")
    settings: dict[str, Any] = {"max_tokens": 4096, "max_rows": 64, "padding_side": "right"}
    settings |= batching
    batches = {
        f"{name}-{number:05}": (name, batch)
        for name, items in examples.items()
        for number, batch in enumerate(length_buckets(items, **settings))
    }
    sources = sources or {}
    blanks = {
        name: Statistics({}, {}, scope, "", (sources[name],) if sources.get(name) else ())
        for name in examples
    }
    manifest = _manifest(skeleton, sites, examples, scope, sources, settings)
    with ExitStack() as stack:
        if work_dir is None:
            work_dir = Path(stack.enter_context(TemporaryDirectory(prefix="prosopon-")))
        sweep = _Sweep(skeleton, sites, batches, blanks, WorkFolder(work_dir, manifest))
        return _merge(sites, sweep.run(report))


class _Sweep:
    """One way through the layers.

    ``batches`` are (set of examples, batch) by a name that can name a file; ``blanks`` are the
    statistics of every set, still empty.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        sites: Sequence[Site],
        batches: Mapping[str, tuple[str, Batch]],
        blanks: Mapping[str, Statistics],
        work: WorkFolder,
    ) -> None:
        self.skeleton, self.batches, self.blanks, self.work = skeleton, batches, blanks, work
        self.relay = Relay(skeleton.body, skeleton.layers)
        # Sites outside the layers come last, as if they were one more layer.
        self.by_layer: dict[int, list[Site]] = defaultdict(list)
        for site in sites:
            number = skeleton.layer_of(site)
            self.by_layer[len(skeleton.layers) if number is None else number].append(site)
        self.total = max(self.by_layer) + 1

    def run(self, report: Report | None) -> list[LayerPart]:
        """Return the part of every layer, those of an earlier run included."""
        parts = self.work.finished()
        if report is not None:
            report(len(parts), self.total)
        if len(parts) < self.total:
            self._prepare()
        for number in range(len(parts), self.total):
            parts.append(self._layer(number))
            self.work.finish(number, parts[-1])
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
        sites = self.by_layer[number]
        outside = number == len(self.skeleton.layers)
        with nullcontext() if outside else self.skeleton.layer(number):
            if not outside:
                check_finite(sites)
            key, (_, first) = next(iter(self.batches.items()))
            groups = group_by_input(sites, self._step(number, key, first.row(0))) if sites else {}
            watched = first_readers(sites, groups)
            sums = {
                name: {site.name: ChannelStatistics.zero(site.in_features) for site in watched}
                for name in self.blanks
            }
            for key, (name, batch) in self.batches.items():
                output = collect_batch(watched, sums[name], batch, self._step(number, key, batch))
                if number + 1 < self.total:
                    self.work.put(number + 1, key, output)
            samples = {site.name: sample_signs(site.matrix()) for site in sites}
        for channels in sums.values():
            check_activations(channels)
        return LayerPart(
            {
                name: Statistics(sums[name], groups, blank.scope, "", blank.sources)
                for name, blank in self.blanks.items()
            },
            samples,
        )

    def _step(self, number: int, key: str, batch: Batch) -> "Callable[[], Tensor]":
        """Return what runs a batch, or its first rows, through a layer."""
        # The model itself makes the input of the first layer.
        hidden = self.work.get(number, key)[: len(batch)] if number else None
        return partial(self.relay.step, inputs(self.skeleton.body, batch), number, hidden)


def _merge(sites: Sequence[Site], parts: Sequence[LayerPart]) -> dict[str, Statistics]:
    """Put the layers together, with the fingerprint of all sites."""
    samples = {name: sample for part in parts for name, sample in part.samples.items()}
    weights = fingerprint_of(samples).weights
    merged = {}
    for name, first in parts[0].statistics.items():
        every = [part.statistics[name] for part in parts]
        sums = {group: channels for part in every for group, channels in part.sums.items()}
        groups = {site: group for part in every for site, group in part.groups.items()}
        groups = {site.name: groups[site.name] for site in sites}
        sums = {site.name: sums[site.name] for site in first_readers(sites, groups)}
        merged[name] = Statistics(sums, groups, first.scope, weights, first.sources)
    return merged


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
        config.pop(elsewhere, None)
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

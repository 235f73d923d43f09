"""The Gram matrix X^T X of a site's input: what second-order pruning of a layer needs.

A monoid like the channel statistics, but of ``in * in`` numbers a site: 8 bytes each, 0.13 GB
for 4,096 channels. It is collected for the criteria that ask for it and for as many sites at
a time as fit a limit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prosopon.data import Encoded, PaddingSide, length_buckets
from prosopon.errors import StatisticsError
from prosopon.files import atomic_path
from prosopon.lm.forward import by_row, inputs, trunk
from prosopon.models import Site, fingerprint
from prosopon.statistics.collect import shared_inputs, watch_inputs

FORMAT_VERSION = 1
Progress = Callable[[int], None]


@dataclass(frozen=True)
class GramStatistics:
    """Sum of the outer products of one site's input over the tokens in scope.

    Attributes:
        tokens: Number of tokens counted.
        total: Sum over tokens of ``h h^T``, symmetric, ``[in, in]``, float64, on the CPU.
    """

    tokens: int
    total: Tensor

    @classmethod
    def zero(cls, channels: int) -> GramStatistics:
        """Return the neutral element for ``channels`` input channels."""
        return cls(0, torch.zeros(channels, channels, dtype=torch.float64))

    @classmethod
    def of_batch(cls, values: Tensor, mask: Tensor) -> GramStatistics:
        """Return the Gram matrix of one batch.

        Args:
            values: Inputs of a site, any floating dtype, ``[rows, length, channels]``.
            mask: The tokens in scope, bool, ``[rows, length]``.

        Products within a batch are float32 (float64 where the input is).
        """
        chosen = values[mask]  # excluded tokens may be NaN: picked out, not multiplied by zero
        wide = chosen if chosen.dtype == torch.float64 else chosen.float()
        return cls(len(wide), (wide.T @ wide).double().cpu())

    def __add__(self, other: GramStatistics) -> GramStatistics:
        """Merge: the Gram matrix of both sets of tokens together.

        Raises:
            StatisticsError: The numbers of channels differ.
        """
        if self.channels != other.channels:
            raise StatisticsError(
                f"cannot merge Gram matrices of {self.channels} and of {other.channels} channels"
            )
        return GramStatistics(self.tokens + other.tokens, self.total + other.total)

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return self.total.shape[0]

    @property
    def mean(self) -> Tensor:
        """Gram matrix per token, ``E h h^T``, ``[in, in]``, float64."""
        return self.total / self.tokens


@dataclass(frozen=True)
class Grams:
    """Gram matrices of sites for one set of examples; sites with the same input share one.

    Attributes:
        matrices: Gram matrices by group name.
        groups: Group name by site name, in model order.
        scope: ``"response"`` or ``"all"``: which tokens were counted.
        fingerprint: Fingerprint of the sites' weights (hexadecimal).
        sources: Content hashes of the sets of examples counted, sorted.
    """

    matrices: Mapping[str, GramStatistics]
    groups: Mapping[str, str]
    scope: str
    fingerprint: str
    sources: tuple[str, ...] = ()

    def __getitem__(self, site: str) -> GramStatistics:
        """Return the Gram matrix of a site's input.

        Raises:
            StatisticsError: The site was not collected.
        """
        if site not in self.groups:
            raise StatisticsError(
                f"no Gram matrix for site {site!r}: they were collected for {len(self.groups)} "
                "other sites"
            )
        return self.matrices[self.groups[site]]

    def __add__(self, other: Grams) -> Grams:
        """Merge the matrices of two sets of examples on the same model.

        Raises:
            StatisticsError: Model, scope or sites differ.
        """
        for what in ("fingerprint", "scope", "groups"):
            if getattr(self, what) != getattr(other, what):
                raise StatisticsError(f"cannot merge Gram matrices: their {what} differs")
        merged = {name: gram + other.matrices[name] for name, gram in self.matrices.items()}
        sources = tuple(sorted(self.sources + other.sources))
        return Grams(merged, self.groups, self.scope, self.fingerprint, sources)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, whole or not at all."""
        from safetensors.torch import save_file

        header = {
            "format_version": FORMAT_VERSION,
            "kind": "gram",
            "scope": self.scope,
            "fingerprint": self.fingerprint,
            "sources": list(self.sources),
            "groups": dict(self.groups),
            "tokens": {name: gram.tokens for name, gram in self.matrices.items()},
        }
        tensors = {name: gram.total.contiguous() for name, gram in self.matrices.items()}
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata={"prosopon": json.dumps(header)})

    @classmethod
    def load(cls, path: str | Path) -> Grams:
        """Read what :meth:`save` wrote.

        Raises:
            StatisticsError: No such file, or a damaged one, or one of another kind or version.
        """
        header, tensors = _read(Path(path))
        try:
            matrices = {
                name: GramStatistics(int(tokens), tensors[name])
                for name, tokens in header["tokens"].items()
            }
            groups = dict(header["groups"])
            if not set(groups.values()) <= set(matrices):
                raise KeyError("groups")
            sources = tuple(header["sources"])
            return cls(matrices, groups, header["scope"], header["fingerprint"], sources)
        except (KeyError, TypeError, ValueError) as error:
            raise StatisticsError(f"{path}: damaged file of Gram matrices ({error!r})") from None


def collect_grams(
    model: nn.Module,
    sites: Sequence[Site],
    examples: Sequence[Encoded],
    *,
    scope: str = "response",
    source: str = "",
    max_tokens: int = 4096,
    max_rows: int = 64,
    padding_side: PaddingSide = "right",
    progress: Progress | None = None,
) -> Grams:
    """Run the examples through the model once and return the Gram matrix of every site's input.

    Padding and tokens out of scope are left out exactly. Memory: 8 bytes times the squared
    width of every distinct input; see :func:`gram_portions`.

    Args:
        model: A causal LM; it is not changed.
        sites: The sites to watch.
        examples: Encoded examples.
        scope: What the examples' ``scope`` masks stand for; recorded.
        source: Content hash of the examples; recorded.
        max_tokens: Most tokens, padding included, in one batch.
        max_rows: Most examples in one batch.
        padding_side: ``"right"`` or ``"left"``.
        progress: Called with the number of examples done since the last call.

    Raises:
        StatisticsError: There are no examples, a site is not reached by the forward pass, or an
            activation is NaN or infinite.
    """
    if not examples:
        raise StatisticsError("no examples to collect Gram matrices from")
    body = trunk(model)
    batches = list(
        length_buckets(
            examples, max_tokens=max_tokens, max_rows=max_rows, padding_side=padding_side
        )
    )
    groups = shared_inputs(body, sites, batches[0])
    by_name = {site.name: site for site in sites}
    watched = [by_name[name] for name in dict.fromkeys(groups.values())]
    totals = {site.name: GramStatistics.zero(site.in_features) for site in watched}
    for batch in batches:
        # Bound as defaults: the hook outlives no iteration, but a closure would not know that.
        def add(site: Site, value: Tensor, scope: Tensor = batch.scope) -> None:
            rows = by_row(site, value, scope.shape)
            part = GramStatistics.of_batch(rows, scope.to(rows.device))
            before = totals[site.name]
            # In place: the sum may be the largest tensor there is.
            totals[site.name] = GramStatistics(
                before.tokens + part.tokens, before.total.add_(part.total)
            )

        with torch.no_grad(), watch_inputs(watched, add):
            body(**inputs(body, batch))
        if progress is not None:
            progress(len(batch.index))
    for name, gram in totals.items():
        if not torch.isfinite(gram.total).all():
            raise StatisticsError(
                f"the input of site {name!r} holds NaN or infinite activations; "
                "try --dtype float32 or bfloat16"
            )
    sources = (source,) if source else ()
    return Grams(totals, groups, scope, fingerprint(sites).weights, sources)


def gram_portions(sites: Sequence[Site], limit: int = 2 << 30) -> Iterator[list[Site]]:
    """Cut the sites into runs whose Gram matrices take at most ``limit`` bytes together.

    At least one site a run. A shared input is counted once for every site, so the estimate
    errs on the safe side.

    Args:
        sites: Sites in model order.
        limit: Bytes.
    """
    portion: list[Site] = []
    used = 0
    for site in sites:
        needed = 8 * site.in_features**2
        if portion and used + needed > limit:
            yield portion
            portion, used = [], 0
        portion.append(site)
        used += needed
    if portion:
        yield portion


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise StatisticsError(f"{path}: no such file of Gram matrices")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["prosopon"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError) as error:
        raise StatisticsError(f"{path}: not a file of Gram matrices ({error})") from None
    if header.get("kind") != "gram" or header.get("format_version") != FORMAT_VERSION:
        raise StatisticsError(
            f"{path}: holds {header.get('kind', 'statistics')!r} of format "
            f"{header.get('format_version')!r}, not Gram matrices of format {FORMAT_VERSION}"
        )
    for name, tensor in tensors.items():
        square = tensor.ndim == 2 and tensor.shape[0] == tensor.shape[1]
        if not square or tensor.dtype != torch.float64:
            raise StatisticsError(f"{path}: damaged Gram matrix of site {name!r}")
    return header, tensors

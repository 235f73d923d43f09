"""The statistics of a whole model: channel statistics of every site, merged, saved and loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import torch

from prosopon.errors import StatisticsError
from prosopon.files import atomic_path
from prosopon.statistics.channel import SUMS, ChannelStatistics

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Statistics:
    """Channel statistics of every site for one set of examples.

    Sites that read the same input share one entry: ``groups`` maps a site's name to the name of
    the first site with that input, and ``channels`` holds one entry for each of those.

    Attributes:
        channels: Statistics by group name.
        groups: Group name by site name, in model order.
        scope: ``"response"`` or ``"all"``: which tokens were counted.
        fingerprint: Fingerprint of the model's weights (hexadecimal).
        sources: Content hashes of the sets of examples counted, sorted.
    """

    channels: Mapping[str, ChannelStatistics]
    groups: Mapping[str, str]
    scope: str
    fingerprint: str
    sources: tuple[str, ...] = ()

    def __getitem__(self, site: str) -> ChannelStatistics:
        """Return the statistics of a site's input.

        Raises:
            StatisticsError: The site was not collected.
        """
        if site not in self.groups:
            raise StatisticsError(
                f"no statistics for site {site!r}: they were collected for {len(self.groups)} "
                "other sites; collect again with the same --targets and --ignore"
            )
        return self.channels[self.groups[site]]

    @property
    def tokens(self) -> int:
        """Number of tokens counted."""
        return max((c.tokens for c in self.channels.values()), default=0)

    @property
    def samples(self) -> int:
        """Number of samples counted."""
        return max((c.samples for c in self.channels.values()), default=0)

    def __add__(self, other: Statistics) -> Statistics:
        """Merge the statistics of two sets of examples on the same model.

        Raises:
            StatisticsError: Model, scope or sites differ.
        """
        for what in ("fingerprint", "scope", "groups"):
            if getattr(self, what) != getattr(other, what):
                raise StatisticsError(f"cannot merge statistics: their {what} differs")
        merged = {name: self.channels[name] + other.channels[name] for name in self.channels}
        sources = tuple(sorted(self.sources + other.sources))
        return Statistics(merged, self.groups, self.scope, self.fingerprint, sources)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, whole or not at all."""
        from safetensors.torch import save_file

        tensors = {
            name: torch.stack([getattr(channel, key) for key in SUMS])
            for name, channel in self.channels.items()
        }
        header = {
            "format_version": FORMAT_VERSION,
            "scope": self.scope,
            "fingerprint": self.fingerprint,
            "sources": list(self.sources),
            "groups": dict(self.groups),
            "counts": {n: [c.tokens, c.samples] for n, c in self.channels.items()},
        }
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata={"prosopon": json.dumps(header)})

    @classmethod
    def load(cls, path: str | Path) -> Statistics:
        """Read what :meth:`save` wrote.

        Raises:
            StatisticsError: No such file, or a damaged one, or one of another format version.
        """
        header, tensors = _read(Path(path))
        try:
            channels = {
                name: ChannelStatistics(int(tokens), int(samples), *tensors[name])
                for name, (tokens, samples) in header["counts"].items()
            }
            groups = dict(header["groups"])
            if not set(groups.values()) <= set(channels):
                raise KeyError("groups")
            sources = tuple(header["sources"])
            return cls(channels, groups, header["scope"], header["fingerprint"], sources)
        except (KeyError, TypeError, ValueError) as error:
            raise StatisticsError(f"{path}: damaged statistics file ({error!r})") from None


def merge(parts: Sequence[Statistics]) -> Statistics:
    """Merge statistics of any number of shards.

    Raises:
        StatisticsError: There are none, or they do not belong together.
    """
    if not parts:
        raise StatisticsError("no statistics to merge")
    return reduce(lambda a, b: a + b, parts)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise StatisticsError(f"{path}: no such statistics file")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["prosopon"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError) as error:
        raise StatisticsError(f"{path}: not a statistics file ({error})") from None
    if header.get("format_version") != FORMAT_VERSION:
        raise StatisticsError(
            f"{path}: statistics format {header.get('format_version')!r}, this version of "
            f"prosopon reads {FORMAT_VERSION}"
        )
    bad = [n for n, t in tensors.items() if t.ndim != 2 or t.shape[0] != len(SUMS)]
    if bad:
        raise StatisticsError(f"{path}: damaged statistics for site {bad[0]!r}")
    return header, tensors

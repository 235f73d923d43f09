"""The statistics of a whole model: channel statistics of every site, merged, saved and loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import torch

from prosopon.errors import StatisticsError
from prosopon.files import atomic_path
from prosopon.statistics.channel import SUMS, ChannelStatistics
from prosopon.statistics.container import SiteSums

FORMAT_VERSION = 1


class Statistics(SiteSums[ChannelStatistics]):
    """Channel statistics of every site for one set of examples; see :class:`SiteSums`."""

    @property
    def channels(self) -> Mapping[str, ChannelStatistics]:
        """Statistics by group name."""
        return self.sums

    @property
    def tokens(self) -> int:
        """Number of tokens counted."""
        return max((c.tokens for c in self.channels.values()), default=0)

    @property
    def samples(self) -> int:
        """Number of samples counted."""
        return max((c.samples for c in self.channels.values()), default=0)

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

"""The statistics of a whole model: channel statistics of every site, merged, saved and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from prosopon.errors import StatisticsError
from prosopon.files import read_tensors, write_tensors
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
        tensors = {name: torch.stack(sums.tensors) for name, sums in self.channels.items()}
        header = {
            "format_version": FORMAT_VERSION,
            "scope": self.scope,
            "fingerprint": self.fingerprint,
            "sources": list(self.sources),
            "groups": dict(self.groups),
            "counts": {n: [c.tokens, c.samples] for n, c in self.channels.items()},
        }
        write_tensors(path, tensors, header)

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


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    if not path.is_file():
        raise StatisticsError(f"{path}: no such statistics file")
    try:
        header, tensors = read_tensors(path)
    except ValueError as error:
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

"""Figures of a sweep: gain against loss, and gain over sparsity and over calibration size."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prosopon.drawing import check_drawing, figure, svg
from prosopon.files import write_text
from prosopon.intervals import Interval
from prosopon.sweep.grid import CONTROLS
from prosopon.sweep.summary import Summary


def check_plots() -> None:
    """Raise :class:`OptionError` where matplotlib is missing."""
    check_drawing("install prosopon[plots], or give --no-plots")


def write_plots(summaries: Sequence[Summary], folder: str | Path) -> list[Path]:
    """Write ``frontier.svg``, ``sparsity.svg`` and ``examples.svg``.

    A curve is drawn where a sweep has at least two numbers to draw it over; the band is the
    interval over seeds.

    Raises:
        OptionError: matplotlib is missing.
    """
    check_plots()
    usable = [s for s in summaries if "gain" in s.over_seeds]
    paths = []
    if usable:
        paths.append(_save(_frontier(usable), Path(folder) / "frontier.svg"))
    for name in ("sparsity", "examples"):
        curves = _curves(usable, name)
        if curves:
            paths.append(_save(_over(curves, name), Path(folder) / f"{name}.svg"))
    return paths


def _frontier(summaries: Sequence[Summary]) -> Any:
    drawn, axes = _figure("perplexity of general text / the base's", "persona gain")
    by_arm: dict[str, list[Summary]] = defaultdict(list)
    for summary in summaries:
        by_arm[summary.setting.arm].append(summary)
    for index, (arm, group) in enumerate(by_arm.items()):
        group.sort(key=lambda s: s.over_seeds["perplexity_ratio"].mean)
        x = [s.over_seeds["perplexity_ratio"].mean for s in group]
        y = [s.over_seeds["gain"].mean for s in group]
        reach = [_reach(s.over_seeds["gain"]) for s in group]
        marker = "*" if arm in CONTROLS else "osv^D<>pP"[index % 9]
        axes.errorbar(x, y, yerr=reach, label=arm, marker=marker, linestyle="none", capsize=2)
    axes.set_xscale("log")
    axes.axhline(0, color="#bbbbbb", linewidth=0.8)
    axes.axvline(1, color="#bbbbbb", linewidth=0.8)
    axes.legend(frameon=False, fontsize=8)
    return drawn


def _curves(
    summaries: Sequence[Summary], over: str
) -> dict[str, list[tuple[float, Interval, Interval]]]:
    """Return (x, gain, perplexity ratio) by label, where there are two or more x."""
    curves: dict[str, list[tuple[float, Interval, Interval]]] = defaultdict(list)
    for summary in summaries:
        setting = summary.setting
        if setting.arm in CONTROLS:
            continue
        point = summary.over_seeds["gain"], summary.over_seeds["perplexity_ratio"]
        if over == "sparsity":
            if setting.sparsity not in ("auto", "default"):
                curves[f"{setting.arm}, {setting.examples} examples"].append(
                    (float(setting.sparsity), *point)
                )
        else:
            curves[setting.label].append((float(setting.examples), *point))
    return {label: sorted(c, key=lambda p: p[0]) for label, c in curves.items() if len(c) > 1}


def _over(curves: dict[str, list[tuple[float, Interval, Interval]]], name: str) -> Any:
    titles = {"sparsity": "share of weights pruned", "examples": "calibration examples a side"}
    drawn, (left, right) = _figure(titles[name], "persona gain", "perplexity ratio")
    for label, curve in curves.items():
        x = [point[0] for point in curve]
        for place, axes in ((1, left), (2, right)):
            found: list[Interval] = [point[place] for point in curve]  # type: ignore[misc]
            mean = [interval.mean for interval in found]
            reach = [_reach(interval) for interval in found]
            (line,) = axes.plot(x, mean, marker="o", markersize=3, label=label)
            low = [m - r for m, r in zip(mean, reach, strict=True)]
            high = [m + r for m, r in zip(mean, reach, strict=True)]
            axes.fill_between(x, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    for axes in (left, right):
        axes.set_xscale("log")
    right.set_yscale("log")
    left.legend(frameon=False, fontsize=7)
    return drawn


def _figure(x: str, *ys: str) -> tuple[Any, Any]:
    drawn, axes = figure(5 + 3 * (len(ys) - 1), 4, ncols=len(ys))
    for axis, y in zip([axes] if len(ys) == 1 else axes, ys, strict=True):
        axis.set_xlabel(x)
        axis.set_ylabel(y)
    return drawn, axes


def _reach(interval: Interval) -> float:
    return 0.0 if math.isinf(interval.half_width) else interval.half_width


def _save(drawn: Any, path: Path) -> Path:
    write_text(path, svg(drawn, path.stem))
    return path

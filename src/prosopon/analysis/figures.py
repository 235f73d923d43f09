"""The figures of an analysis, as SVG."""

from collections.abc import Mapping, Sequence
from typing import Any

from prosopon.analysis.crosstalk import SIGNIFICANT, CrossTalk
from prosopon.analysis.faithfulness import Faithfulness
from prosopon.analysis.location import Location
from prosopon.analysis.overlap import METHOD, OUTSIDE, Clustering, PairOverlap, jaccard_matrix
from prosopon.drawing import (
    COLOURS,
    DIVERGING,
    GREY,
    INK,
    MARKERS,
    figure,
    heat_map,
    printable,
    svg,
)

MOST_LINES = len(COLOURS)
CONTROLS = ("elsewhere", "opposite")


def draw_overlap(names: Sequence[str], pairs: Sequence[PairOverlap]) -> str:
    """Return a heat map of the Jaccard index of what each two masks prune."""
    drawn, axes = figure(2.8 + 0.72 * len(names), 1.5 + 0.42 * len(names))
    values = jaccard_matrix(names, pairs)
    high = max((value for row in values for value in row if value), default=1.0)
    heat_map(axes, values, names, names, low=0.0, high=high, bar="Jaccard index of the pruned sets")
    return svg(drawn, "Jaccard index of the pruned sets of every two masks")


def draw_layers(pairs: Sequence[PairOverlap], first: Sequence[PairOverlap] = ()) -> str | None:
    """Return cosine and differing share by layer, of ``first`` and the pairs that are most alike.

    At most eight pairs are drawn; None without two layers.
    """
    ranked = sorted(pairs, key=lambda p: (p not in first, -(p.whole.jaccard_pruned or 0.0)))
    chosen = [pair for pair in pairs if pair in ranked[:MOST_LINES]]
    layers = [name for name in chosen[0].by["layer"] if name != OUTSIDE]
    if len(layers) < 2:
        return None
    drawn, (left, right) = figure(8.6, 3.4, ncols=2)
    for index, pair in enumerate(chosen):
        overlaps = [pair.by["layer"][layer] for layer in layers]
        label = printable(f"{pair.first} / {pair.second}")
        look = _look(index) | {"linewidth": 1.2, "label": label}
        left.plot(layers, [overlap.cosine_kept for overlap in overlaps], **look)
        right.plot(layers, [100 * overlap.differing for overlap in overlaps], **look)
    left.set_ylabel("cosine of the masks (1 = kept)")
    right.set_ylabel("mask entries that differ (%)")
    for axes in (left, right):
        axes.set_xlabel("layer")
        if len(layers) > 16:
            axes.set_xticks(layers[:: -(-len(layers) // 16)])
    drawn.legend(
        *left.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
    )
    return svg(drawn, "Cosine of masks and share of entries that differ, by layer")


def _look(index: int) -> dict[str, Any]:
    return {"color": COLOURS[index], "marker": MARKERS[index], "markersize": 4}


def draw_dendrogram(clustering: Clustering) -> str:
    """Return the dendrogram of a clustering."""
    from scipy.cluster.hierarchy import dendrogram

    drawn, axes = figure(6.4, 1.2 + 0.3 * len(clustering.names))
    tree = dendrogram(clustering.merges, no_plot=True)
    for places, distances in zip(tree["icoord"], tree["dcoord"], strict=True):
        axes.plot(distances, places, color=COLOURS[0])
    leaves = range(5, 10 * len(clustering.names), 10)  # where scipy puts them
    axes.set_yticks(leaves, list(map(printable, clustering.order)))
    near, far = (limit(merge[2] for merge in clustering.merges) for limit in (min, max))
    room = 0.15 * (far - near) or 0.05
    axes.set_xlim(max(near - room, 0.0), far + room)
    axes.set_xlabel(f"Jaccard distance of the pruned sets ({METHOD} linkage)")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return svg(drawn, "Dendrogram of the personas by what their masks prune")


def draw_location(places: Mapping[str, Location]) -> str:
    """Return a heat map of pruned over expected weights: masks by layer and kind."""
    cells = {(cell.layer, cell.kind): None for place in places.values() for cell in place.cells}
    kinds = [kind for kind in ("attention", "mlp", "other") if any(k == kind for _, k in cells)]
    layers = sorted({layer for layer, _ in cells if layer is not None})
    if any(layer is None for layer, _ in cells):
        layers.append(None)  # type: ignore[arg-type]
    labels = [OUTSIDE if layer is None else str(layer) for layer in layers]
    width = 2.4 + (0.55 * len(layers) + 0.3) * len(kinds)
    drawn, grid = figure(
        width, 1.3 + 0.42 * len(places), ncols=len(kinds), squeeze=False, sharey=True
    )
    for axes, kind in zip(grid[0], kinds, strict=True):
        rows = []
        for place in places.values():
            by = {(cell.layer, cell.kind): cell.enrichment for cell in place.cells}
            rows.append([by.get((layer, kind)) for layer in layers])
        heat_map(
            axes, rows, list(places), labels, colours=DIVERGING, low=0.0, high=2.0, words="{:.1f}",
            bar="pruned / expected by chance" if kind == kinds[-1] else "",
        )  # fmt: skip
        axes.set_title(kind)
        axes.set_xlabel("layer")
    return svg(drawn, "Pruned weights over those expected by chance, by layer and kind")


def draw_concentration(places: Mapping[str, Location]) -> str | None:
    """Return how much sits in the top tenth of channels, against chance; None for empty masks."""
    usable = {name: place for name, place in places.items() if place.inputs and place.outputs}
    if not usable:
        return None
    drawn, grid = figure(8.6, 1.2 + 0.32 * len(usable), ncols=2, sharey=True)
    for axes, side, label in (
        (grid[0], "inputs", "input channels"),
        (grid[1], "outputs", "output rows"),
    ):
        sides = [getattr(place, side) for place in usable.values()]
        spots = range(len(sides))
        axes.barh(spots, [100 * one.top for one in sides], color=COLOURS[0], height=0.6)
        axes.scatter(
            [100 * one.chance for one in sides], spots, marker="|", s=160, color=COLOURS[1],
            linewidth=2, zorder=3, label="random masks of the same size",
        )  # fmt: skip
        axes.set_xlabel(f"% of pruned weights in the top tenth of {label}")
        axes.set_xlim(0, max(12, *(105 * one.top for one in sides)))
    grid[0].set_yticks(range(len(usable)), list(map(printable, usable)))
    grid[0].invert_yaxis()
    drawn.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", frameon=False)
    return svg(drawn, "Share of the pruned weights in the top tenth of channels")


def draw_cross_talk(talk: CrossTalk) -> str:
    """Return a heat map of the effect of each mask on the choice rate of every axis.

    A star marks what is significant after Holm's correction; a frame a mask's own axis.
    """
    columns = [f"{axis.name}\n→ {axis.target}" for axis in talk.axes]
    drawn, axes = figure(2.6 + 0.85 * len(columns), 1.9 + 0.42 * len(talk.names))
    marks = [["*" if p < SIGNIFICANT else "" for p in row] for row in talk.adjusted()]
    heat_map(
        axes, talk.rates, talk.names, columns, colours=DIVERGING, low=-1.0, high=1.0,
        words="{:+.2f}", marks=marks, bar="change of the choice rate",
    )  # fmt: skip
    from matplotlib.patches import Rectangle

    for row in range(len(talk.names)):
        column = talk.own(row)
        if column is not None:
            corner = (column - 0.48, row - 0.48)
            axes.add_patch(Rectangle(corner, 0.96, 0.96, fill=False, linewidth=1.6, edgecolor=INK))
    axes.set_ylabel("mask worn")
    return svg(drawn, "Change of the choice rate of every axis under every mask")


def draw_faithfulness(test: Faithfulness) -> str:
    """Return the effect of every arm, and the curves over the share of the mask applied."""
    drawn, (left, middle, right) = figure(
        11.5, 1.4 + 0.27 * max(len(test.arms), 10), ncols=3, width_ratios=(1.25, 1, 1)
    )
    _arms(left, test)
    for index, (order, points) in enumerate(test.curves.items()):
        label = {"ranking": "in the mask's own order", "random": "in random order"}[order]
        x = [100 * point.share for point in points]
        look = _look(index)
        middle.plot(x, [point.margin for point in points], label=label, **look)
        right.plot(x, [point.perplexity_ratio for point in points], label=label, **look)
    whole = test.base_rate + test.whole.effect.rate.difference.mean
    middle.set_title(f"choice rate {test.base_rate:.2f} → {whole:.2f}", loc="left")
    middle.set_ylabel("margin toward the persona (nats per token)")
    right.set_ylabel("perplexity of general text / base")
    for axes in (middle, right):
        axes.set_xlabel("share of the mask applied (%)")
    drawn.legend(
        *middle.get_legend_handles_labels(), loc="outside lower right", ncols=2, frameon=False
    )
    return svg(drawn, f"Faithfulness of the mask {test.name}")


def _arms(axes: Any, test: Faithfulness) -> None:
    """Draw the effect of every arm on the margin, with its interval."""
    names = [arm.name for arm in test.arms]
    gaps = [arm.effect.margin.difference for arm in test.arms]
    means = [gap.mean for gap in gaps]
    reach = [[max(gap.mean - gap.low, 0.0), max(gap.high - gap.mean, 0.0)] for gap in gaps]
    if any(gap.count < 2 for gap in gaps):
        reach = [[0.0, 0.0]] * len(gaps)  # one question has no interval
    colours = [COLOURS[0], *([COLOURS[4]] * (len(names) - 1))]
    for row, name in enumerate(names):
        if name.startswith(CONTROLS):
            colours[row] = COLOURS[1]
    axes.barh(
        range(len(names)), means, xerr=list(zip(*reach, strict=True)), color=colours, height=0.66,
        error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "black"},
    )  # fmt: skip
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.axvline(means[0], color=GREY, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(names)), names)
    # The interval of a control that ruins the model may go on beyond the frame.
    ends = [
        end
        for arm, gap in zip(test.arms, gaps, strict=True)
        for end in (gap.low, gap.high)
        if gap.count > 1 and not arm.name.startswith(CONTROLS)
    ]
    low, high = min(0.0, *means, *ends), max(0.0, *means, *ends)
    axes.set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    axes.locator_params(axis="x", nbins=5)
    axes.invert_yaxis()
    axes.set_xlabel("change of the margin (nats per token)")
    axes.set_title(printable(test.name), loc="left")

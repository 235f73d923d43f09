"""Every figure is well-formed, named for screen readers, and holds its labels and its numbers."""

import re
from dataclasses import replace
from html import unescape
from xml.etree import ElementTree

import pytest
import torch

from prosopon.analysis.crosstalk import CrossTalk
from prosopon.analysis.faithfulness import ArmEffect, Faithfulness, Point
from prosopon.analysis.figures import (
    MOST_LINES,
    draw_concentration,
    draw_cross_talk,
    draw_dendrogram,
    draw_faithfulness,
    draw_layers,
    draw_location,
    draw_overlap,
)
from prosopon.analysis.location import locate
from prosopon.analysis.overlap import cluster, overlaps
from prosopon.analysis.probe import Choices, effect
from prosopon.subnetwork import Subnetwork
from tests.analysis.samples import axis
from tests.subnetwork.samples import config, masks

SHAPES = {
    "m.layers.0.self_attn.q_proj": (6, 8),
    "m.layers.0.mlp.up_proj": (8, 8),
    "m.layers.1.mlp.up_proj": (8, 8),
    "head": (4, 8),
}
NAMES = ["Schüchtern", "大胆 & <b>", "costs $5"]


def mask(seed, share=0.6, shapes=None):
    return Subnetwork(masks(seed, share=share, shapes=shapes or SHAPES), config())


@pytest.fixture(scope="module")
def named():
    return {name: mask(seed) for seed, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def pairs(named):
    return overlaps(named)


def texts(svg):
    """Return what a figure says: as text, or in comments beside the paths of its letters."""
    comments = {unescape(text.strip()) for text in re.findall(r"<!--(.*?)-->", svg, re.DOTALL)}
    elements = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return comments | {"".join(element.itertext()) for element in elements}


def check(svg, *words):
    """Check that a figure parses, has a name, refers to nothing outside, and says some words."""
    root = ElementTree.fromstring(svg)
    assert root.attrib["role"] == "img"
    assert len(root.attrib["aria-label"]) > 10
    links = re.findall(r'href="([^"]+)"', svg)
    ids = set(re.findall(r'\bid="([^"]+)"', svg))
    assert all(link.startswith("data:") or link[1:] in ids for link in links)
    missing = set(words) - texts(svg)
    assert not missing, (missing, texts(svg))
    return root


def test_overlap_has_a_number_for_every_pair(named, pairs):
    svg = draw_overlap(list(named), pairs)
    check(svg, *NAMES, *(f"{pair.whole.jaccard_pruned:.2f}" for pair in pairs))
    assert "Jaccard" in svg


def test_overlap_of_dense_masks_is_dashes():
    dense = {name: Subnetwork({"a": torch.ones(2, 2, dtype=torch.bool)}, config()) for name in "ab"}
    check(draw_overlap(list(dense), overlaps(dense)), "a", "b")


def test_layers_have_a_line_for_every_pair(pairs):
    svg = draw_layers(pairs)
    check(svg, *(f"{pair.first} / {pair.second}" for pair in pairs), "layer", "0", "1")


def test_one_layer_has_no_lines():
    one = {name: mask(i, shapes={"m.layers.0.q": (4, 4)}) for i, name in enumerate("ab")}
    assert draw_layers(overlaps(one)) is None


def test_at_most_eight_pairs_are_drawn_and_those_asked_for_are_among_them():
    pairs = overlaps({f"p{i}": mask(i) for i in range(5)})
    least = min(pairs, key=lambda pair: pair.whole.jaccard_pruned)
    drawn = [text for text in texts(draw_layers(pairs, [least])) if " / " in text]
    assert len(drawn) == MOST_LINES < len(pairs)
    assert f"{least.first} / {least.second}" in drawn
    alike = max(pairs, key=lambda pair: pair.whole.jaccard_pruned)
    assert f"{alike.first} / {alike.second}" in drawn


def test_many_layers_do_not_crowd_their_axis():
    shapes = {f"m.layers.{layer}.q": (4, 4) for layer in range(20)}
    pairs = overlaps({name: mask(i, shapes=shapes) for i, name in enumerate("ab")})
    numbers = {text for text in texts(draw_layers(pairs)) if text.isdecimal()}
    assert {"0", "2", "18"} - numbers == set()
    assert {"1", "19"} & numbers == set()


def test_a_dendrogram_names_every_leaf(named, pairs):
    check(draw_dendrogram(cluster(list(named), pairs)), *NAMES)


def test_equal_masks_have_a_dendrogram_too():
    alike = {name: mask(1) for name in "abc"}
    check(draw_dendrogram(cluster(list("abc"), overlaps(alike))), "a", "b", "c")


def test_location_has_a_panel_for_every_kind_and_a_number_for_every_cell(named):
    places = {name: locate(one, draws=1) for name, one in named.items()}
    numbers = {f"{c.enrichment:.1f}" for place in places.values() for c in place.cells}
    check(draw_location(places), *NAMES, "attention", "mlp", "other", *numbers)


def test_concentration_leaves_out_what_prunes_nothing(named):
    places = {name: locate(one, draws=1) for name, one in named.items()}
    dense = Subnetwork({"a": torch.ones(2, 2, dtype=torch.bool)}, config())
    svg = draw_concentration(places | {"dense": locate(dense, draws=1)})
    check(svg, *NAMES, "random masks of the same size")
    assert "dense" not in texts(svg)
    assert draw_concentration({"dense": locate(dense, draws=1)}) is None


def change(win, margin, count=8):
    return effect(
        Choices((win,) * count, (margin,) * count), Choices((0.0,) * count, (0.0,) * count)
    )


def test_cross_talk_has_stars_and_frames():
    axes = (axis(), axis("power", "power-seeking", "power-averse"))
    rows = ((change(1.0, 1.0), change(0.0, 0.0)), (change(0.0, 0.1), change(0.0, 0.0)))
    talk = CrossTalk(("mine", "其他"), ("introvert", "stranger"), axes, (0.0, 0.0), rows)
    svg = draw_cross_talk(talk)
    check(svg, "mine", "其他", "mask worn", "+1.00*", "+0.00")
    plain = draw_cross_talk(replace(talk, personas=("nobody", "stranger")))
    # The frame of the one own axis is all that differs.
    count = [len(list(ElementTree.fromstring(one).iter())) for one in (svg, plain)]
    assert count[0] > count[1]


@pytest.mark.parametrize("count", [1, 8])
def test_faithfulness_has_a_bar_for_every_arm(count):
    arms = tuple(
        ArmEffect(name, 9, change(1.0, margin, count), 1.1, (margin,), None)
        for name, margin in (("whole", 2.0), ("only mlp", 1.0), ("elsewhere", 0.1))
    )
    points = (Point(0.0, 0.25, 0.0, 1.0), Point(0.5, 0.5, 1.0, 1.05), Point(1.0, 1.0, 2.0, 1.1))
    test = Faithfulness(
        "大胆", "extravert", 0.1, axis(count=count), 0.0, 9.0, arms,
        {"ranking": points, "random": points},
    )  # fmt: skip
    svg = draw_faithfulness(test)
    check(
        svg, "大胆", "whole", "only mlp", "elsewhere", "choice rate 0.00 → 1.00",
        "in the mask's own order", "in random order",
    )  # fmt: skip

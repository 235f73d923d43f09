"""Pages are apart from numbers, which need no figure; they hold no markup from outside."""

import itertools
import sys
from dataclasses import replace

import pytest

from prosopon.analysis import Findings, Section, analyse
from prosopon.analysis.sections import MOST_PAIRS, describe
from tests.runtime.samples import subnetwork
from tests.tiny import tiny_model

NAMES = ["<script>alert(1)</script>", "cost $5 | $6", "bell\x07"]


@pytest.fixture(scope="module")
def findings():
    model, _ = tiny_model("llama")
    masks = {name: subnetwork(model, name, seed=seed, share=0.1) for seed, name in enumerate(NAMES)}
    return analyse(masks).findings


def test_measuring_draws_nothing(findings, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    model, _ = tiny_model("llama")
    masks = {"a": subnetwork(model, "a", seed=3, share=0.1)}
    numbers = analyse(masks).numbers
    assert set(numbers) == {"masks", "location"}
    assert numbers["masks"]["a"]["pruned"] == masks["a"].pruned
    assert set(findings.to_json()) == {"masks", "overlap", "clustering", "location"}


def test_names_from_outside_are_text(findings):
    sections = describe(findings)
    assert [s.id for s in sections][:2] == ["overlap", "layers"]
    for section in sections:
        page = section.markdown()
        assert "<script" not in page
        assert "\x07" not in page
        assert "<script" not in section.svg
        assert "\x07" not in section.svg
    table = sections[0].markdown()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; / cost $5 \\| $6" in table


def test_a_section_as_markdown():
    section = Section("a", "Title <i>", "<svg/>", "Text & more.", ["x", "y"], [["1|2", "3\n4"]])
    assert section.markdown() == (
        "## Title &lt;i&gt;\n\nText &amp; more.\n\n![Title &lt;i&gt;](a.svg)\n\n"
        "| x | y |\n| --- | --- |\n| 1\\|2 | 3 4 |\n"
    )
    assert Section("a", "Title").markdown() == "## Title\n"


def test_numbers_that_have_no_meaning_are_dashes():
    model, _ = tiny_model("llama")
    masks = {name: subnetwork(model, name, share=0.0) for name in "ab"}
    sections = {s.id: s for s in describe(analyse(masks, parts=["overlap"]).findings)}
    assert sections["overlap"].rows == [
        ["a / b", "0.00", "0.00", "0.00", "0.00", "\N{EN DASH}", "\N{EN DASH}"]
    ]


def test_many_pairs_are_left_to_the_numbers(findings):
    pair = findings.pairs[0]
    masks = {f"p{i}": {} for i in range(6)}
    names = list(itertools.combinations(masks, 2))
    pairs = [replace(pair, first=a, second=b) for a, b in names]
    sections = {s.id: s for s in describe(Findings(masks, pairs, opposed=pairs[-2:]))}
    table = sections["overlap"]
    assert len(table.rows) == MOST_PAIRS < len(pairs)
    assert [row[0] for row in table.rows[:2]] == ["p3 / p5", "p4 / p5"]
    assert "Opposites come first. 3 more pairs are in analysis.json." in table.text
    assert f"8 of {len(pairs)} pairs are drawn" in sections["layers"].text


def test_nothing_measured_is_nothing_to_say():
    assert describe(Findings({})) == []

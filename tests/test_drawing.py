"""Figures: names from outside are text, pages may be dark, every run is the same."""

import re
from xml.etree import ElementTree

import pytest

from prosopon.drawing import INK, figure, heat_map, printable, svg

NAMES = ["$x$", "a $ b", "$\\frac{1", "bell\x07 and \x1b[31mred"]


def draw(names=NAMES, title="A <b> & \x1b title"):
    drawn, axes = figure(4, 3)
    values = [[0.5 * (row == column) for column in range(len(names))] for row in range(len(names))]
    values[0][1] = None
    heat_map(axes, values, names, names, low=0, high=1, bar="share in $", marks=[["*"] * 4] * 4)
    axes.set_title(printable(names[0]))
    axes.plot([0, 1], [0, 1], color="black", label=printable(names[3]))
    axes.legend()
    return svg(drawn, title)


@pytest.fixture(scope="module")
def page():
    return draw()


def test_dollars_and_control_codes_are_drawn_as_they_are(page):
    root = ElementTree.fromstring(page)
    assert root.attrib["aria-label"] == "A <b> & \N{REPLACEMENT CHARACTER} title"
    assert "\x1b" not in page
    assert page == draw()


def test_black_follows_the_page(page):
    mark = re.match(r'<svg[^>]* id="([^"]+)"', page)[1]
    assert f"@media(prefers-color-scheme:dark){{#{mark}{{color:" in page
    assert "#000000" not in page
    assert "currentColor" in page
    assert f"fill: {INK}" in page  # numbers on light cells stay dark
    assert "fill: #ffffff" in page  # and light on dark ones
    background = page.split('patch_1">')[1].split("</g>")[0]
    assert "fill: none" in background


def test_two_figures_of_a_page_share_no_id(page):
    ids = [
        set(re.findall(r'\bid="([^"]+)"', each))
        for each in (page, draw(title="another", names=list("abcd")))
    ]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\nb", "a\nb"), ("a\x00b\x7f", "a\ufffdb\ufffd"), ("naïve 漢", "naïve 漢"), ("", "")],
)
def test_printable(text, shown):
    assert printable(text) == shown


def test_letters_that_the_font_lacks_are_left_to_the_reader_s_fonts():
    drawn, axes = figure(3, 2)
    axes.set_title("大胆 & bold")
    text = svg(drawn, "A title")  # warnings are errors
    assert "大胆 &amp; bold</text>" in text
    plain, axes = figure(3, 2)
    axes.set_title("Schüchtern")
    assert "<text" not in svg(plain, "A title")

"""The site warns of what it would print as it is, and its links leave docs/ where they must."""

from types import SimpleNamespace

import pytest
from mkdocs.structure.files import Files

from tools import site_hooks


def page(place):
    return SimpleNamespace(file=SimpleNamespace(src_uri=place))


@pytest.fixture
def warned(caplog):
    return lambda: [record.getMessage() for record in caplog.records]


def content(html):
    return site_hooks.on_page_content(html, page("a/page.md"), None, Files([]))


@pytest.mark.parametrize(
    "raw", ["- a", "* a", "1. a", "| --- |", "## a", "```python"], ids=lambda raw: raw.split()[0]
)
def test_markdown_that_was_not_read_is_a_warning(raw, warned):
    content(f"<p>Some words:\n{raw}\nmore</p>")
    assert warned() == [f"a/page.md: an empty line is missing before: {raw}"]


@pytest.mark.parametrize(
    "html", ["<p>1.5 times - or so</p>", "<ul><li>- a</li></ul>", "<p>a\n-1 or *more*</p>", ""]
)
def test_what_was_read_is_no_warning(html, warned):
    assert content(html) == html
    assert not warned()


def test_an_empty_name_of_the_api_is_a_warning(warned):
    content('<div class="doc doc-contents first">\n\n</div>')
    assert "no docstring" in warned()[0]


def test_roles_of_docstrings_are_not_shown():
    html = "See :func:<code>extract</code>, :mod:<code>x</code> and a: <code>y</code>"
    assert content(html) == "See <code>extract</code>, <code>x</code> and a: <code>y</code>"


def lead(markdown, place):
    return site_hooks.on_page_markdown(markdown, page(place), None, Files([]))


@pytest.mark.parametrize(
    ("link", "place", "goal"),
    [
        ("../CHANGELOG.md", "index.md", "changelog.md"),
        ("../../CONTRIBUTING.md#tests", "design/runtime.md", "../contributing.md#tests"),
        ("docs/index.md", "contributing.md", "index.md"),
        ("docs/design/formats.md#x", "changelog.md", "design/formats.md#x"),
        ("../words.md", "design/runtime.md", "../words.md"),
        ("https://x.org/a", "index.md", "https://x.org/a"),
        ("#here", "index.md", "#here"),
        ("../nothing.md", "index.md", "../nothing.md"),  # MkDocs says that it leads nowhere
    ],
)
def test_links(link, place, goal):
    assert lead(f"[a]({link})", place) == f"[a]({goal})"

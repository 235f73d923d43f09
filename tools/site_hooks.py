"""What the site does beside MkDocs: pages of the root, links out of docs/, and pages that read ill.

MkDocs calls these functions by name (mkdocs.yml, `hooks`). A warning of theirs fails the build.
"""

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Files of the root that are pages of the site."""

_LINK = re.compile(r"(\]\()((?!https?:|mailto:|#)[^)#\s]+)")
_PARAGRAPH = re.compile(r"<p>(.*?)</p>", re.DOTALL)
_RAW = re.compile(r"^(?:\| ?-{3}|[-*] |\d+\. |#+ |```).*", re.MULTILINE)
_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):(?=<code>)")
_EMPTY = re.compile(r'<div class="doc doc-contents[^"]*">\s*</div>')
_warn = logging.getLogger("mkdocs.hooks.prosopon").warning


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie in the root of the repository."""
    for name, place in PAGES.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let links to files outside docs/ lead to their pages, or to a copy of the file."""
    source = {place: name for name, place in PAGES.items()}.get(page.file.src_uri)
    folder = posixpath.dirname(source or f"docs/{page.file.src_uri}")
    here = posixpath.dirname(page.file.src_uri)

    def lead(match: re.Match[str]) -> str:
        goal = posixpath.normpath(posixpath.join(folder, match[2]))
        if goal.startswith("docs/"):
            place = goal.removeprefix("docs/")
        elif goal in PAGES:
            place = PAGES[goal]
        elif not goal.endswith(".md") and (ROOT / goal).is_file():
            place = f"source/{goal}"
            if files.get_file_from_path(place) is None:
                files.append(File.generated(config, place, abs_src_path=str(ROOT / goal)))
        else:
            return match[0]  # MkDocs says that it leads nowhere
        return match[1] + posixpath.relpath(place, here or ".")

    return _LINK.sub(lead, markdown)


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Warn of Markdown that the site would print as it is, and of names without a word on them."""
    for paragraph in _PARAGRAPH.findall(html):
        for raw in _RAW.findall(paragraph):
            _warn("%s: an empty line is missing before: %s", page.file.src_uri, raw[:80])
    if _EMPTY.search(html):
        _warn("%s: a name of the API has no docstring", page.file.src_uri)
    return _ROLE.sub("", html)

"""The code on the pages runs; `make docs-code` runs it whole, as it is printed."""

import os
import re
import shutil
from pathlib import Path

import pytest

from prosopon.data import load_persona
from tests.commands import run_command
from tests.docs.blocks import GENERAL, RUN, SMALL, Block, blocks, commands, run_page

DOCS = Path(__file__).resolve().parents[2] / "docs"
CODE = {page: list(blocks(page)) for page in sorted(DOCS.rglob("*.md"))}
WHOLE = os.environ.get("DOCS_CODE") == "whole"


def name(page):
    return str(page.relative_to(DOCS))


def runs(block):
    return block.language in RUN and block.reason is None and block.file is None


HEAVY = {"howto/evaluation.md", "describe.md"}
"""Pages that only `make docs-code` runs; other tests run their commands on less."""


PAGES = [
    page
    for page, all_of in CODE.items()
    if any(map(runs, all_of)) and (WHOLE or name(page) not in HEAVY)
]


@pytest.fixture(scope="module")
def wardrobe(tmp_path_factory):
    """Two personas and a little general text, which every page finds in its folder."""
    folder = tmp_path_factory.mktemp("wardrobe")
    texts = [example.response for example in load_persona("casual", limit=8).examples]
    (folder / "general.txt").write_text("".join(f"{text}\n" for text in texts))
    for persona in ("bold", "formal"):
        target = ["extract", "--target", persona, "-o", f"personas/{persona}"]
        done = run_command(*target, *([] if WHOLE else SMALL["extract"]), cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("page", PAGES, ids=map(name, PAGES))
def test_the_code_of_a_page_runs(page, wardrobe, tmp_path):
    shutil.copytree(wardrobe, tmp_path, dirs_exist_ok=True)
    made_here = r"^prosopon extract .*-o (personas/\w+)$"
    for made in re.findall(made_here, page.read_text("utf-8"), re.MULTILINE):
        shutil.rmtree(tmp_path / made, ignore_errors=True)
    assert run_page(page, tmp_path, small=not WHOLE) == sum(map(runs, CODE[page]))


@pytest.mark.parametrize("page", CODE, ids=map(name, CODE))
def test_what_is_not_run_says_why(page):
    for block in CODE[page]:
        assert block.reason is None or len(block.reason.split()) >= 3, block
        if block.language in ("bash", "shell"):
            pytest.fail(f"a fence of {block.language} would not be run: call it sh")


def test_a_page_with_a_mistake_fails(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n")
    with pytest.raises(AssertionError):
        run_page(page, tmp_path, small=True)
    page.write_text("```sh\nprosopon inspect nothing\n```\n")
    with pytest.raises(AssertionError, match="nothing"):
        run_page(page, tmp_path, small=True)
    page.write_text("```sh\ncurl localhost\n```\n")
    with pytest.raises(AssertionError, match="say why not"):
        run_page(page, tmp_path, small=True)


def test_what_a_block_prints_is_compared_where_it_runs_whole(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n<!-- prints -->\n```text\n2\n```\n")
    assert run_page(page, tmp_path, small=True) == 1
    with pytest.raises(AssertionError):
        run_page(page, tmp_path, small=False)


def test_marks_and_prompts_are_read(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: needs a large GPU -->\n```sh\nrm x\n```\n")
    assert [block.reason for block in blocks(page)] == ["needs a large GPU"]
    reads = "from pathlib import Path\nassert Path('a/b.csv').read_text() == 'x\\n'\n"
    page.write_text(f"<!-- file a/b.csv -->\n```csv\nx\n```\n\n```python\n{reads}```\n")
    assert run_page(page, tmp_path, small=True) == 1
    assert Block("python", "", "").reason is None
    assert Block("sh", "prosopon chat --model org/base", "").reason
    assert Block("sh", "prosopon chat --model myorg/base", "").reason is None
    assert commands("$ prosopon a \\\n  b\nits output\n") == ["prosopon a    b"]
    assert commands("# a word\nprosopon a\n") == ["prosopon a"]
    assert GENERAL[1] in SMALL["extract"]

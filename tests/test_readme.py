"""What the README shows runs, and says what it shows."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from prosopon.data import load_persona
from prosopon.data.grammar import poles_of
from tests.commands import run_command

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PYTHON = re.search(r"<!-- run -->\n```python\n(.*?)```", README, re.DOTALL)
REAL = (ROOT / "docs" / "real" / "index.md").read_text("utf-8")
BLIND = (ROOT / "docs" / "real" / "blind.md").read_text("utf-8")
COMMANDS = list(
    dict.fromkeys(
        line
        for page in (README, (ROOT / "docs" / "commands.md").read_text("utf-8"))
        for block in re.findall(r"```console\n(.*?)```", page.replace("\\\n", " "), re.DOTALL)
        for line in block.splitlines()
        if line.startswith("prosopon ")
    )
)

# All of it runs as it stands, but for how much is read, asked and searched for.
GENERAL = ["--general", "general.txt"]
SIZES = {
    "extract": [*GENERAL, "--option", "rounds=2"],
    "compare": [
        *GENERAL, "--questions", "3", "--examples", "8", "--max-new-tokens", "6",
        "--option", "contrastive-taylor.rounds=2", "--explain", "none", "--tasks",
        "choice,free-text,perplexity",
    ],
    "evaluate": [*GENERAL, "--questions", "4", "--max-new-tokens", "6"],
}  # fmt: skip
QUICK = 'limit=16, options={"rounds": 4}, general_count=8'


def test_the_example(tmp_path):
    assert PYTHON
    assert PYTHON[1].count("limit=64") == 1
    shown = io.StringIO()
    with contextlib.chdir(tmp_path), contextlib.redirect_stdout(shown):
        exec(compile(PYTHON[1].replace("limit=64", QUICK), "README.md", "exec"), {})
    base, introvert = shown.getvalue().splitlines()
    assert base.startswith("base: ")
    assert poles_of(introvert.removeprefix("introvert: ")) == {"introvert"}


def test_the_commands_in_order(tmp_path):
    local = [line for line in COMMANDS if "--model" not in line]
    assert {line.split()[1] for line in local} >= {"extract", "chat", "compare", "export"}
    texts = [example.response for example in load_persona("casual", limit=16).examples]
    (tmp_path / "general.txt").write_text("".join(f"{text}\n" for text in texts))
    for line in local:
        words = shlex.split(line, comments=True)[1:]
        size = SIZES.get(words[0], [])
        done = run_command(*words, *size, cwd=tmp_path, input="Hello\n/quit\n")
        assert done.returncode == 0, done.stderr


def test_the_command_with_a_model_of_the_hub_parses(tmp_path):
    lines = [line for line in COMMANDS if "--model" in line]
    assert lines
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        done = run_command(*words, cwd=tmp_path)
        assert done.returncode == 2  # its files are not here; the options are right
        assert "ours.jsonl" in done.stderr


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()


def test_the_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert f"\n{target}:" in makefile


HEADINGS = {"general loss": "loss", "choice margin gained": "margin gained",
            "free text: target": "target", "text perplexity": "text ppl"}  # fmt: skip


def table(page, first):
    """Return the rows of the first table of a page whose heading begins so, by heading."""
    lines = iter(page[page.index(first) :].splitlines())
    head, _ = ([cell.strip() for cell in next(lines).strip("|").split("|")] for _ in range(2))
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    for row in cells:
        if len(row) != len(head):
            return
        yield dict(zip(head, row, strict=True))


def test_the_table_is_the_reports():
    measured, read = (
        {row["arm"].split()[0]: row for row in table(page, first)}  # the arm without its options
        for page, first in ((REAL, "| arm | level "), (BLIND, "| arm | target | opposite"))
    )
    rows = list(table(README, "| arm | general loss "))
    assert len(rows) == 5
    for row in rows:
        arm = re.sub(r"[*]+| \(.*", "", row.pop("arm"))
        assert row.pop("read blind") == read[arm]["target"]
        for heading, cell in row.items():
            assert measured[arm][HEADINGS.get(heading, heading)].startswith(cell), (arm, heading)

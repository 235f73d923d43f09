"""What the README shows runs, and says what it shows."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from prosopon.data.grammar import poles_of

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PYTHON = re.search(r"<!-- run -->\n```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("prosopon ")
]


def run(*arguments, cwd, **more):
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300, **more
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example(tmp_path):
    assert PYTHON
    shown = run("-c", PYTHON[1], cwd=tmp_path)
    base, introvert = shown.splitlines()
    assert base.startswith("base: ")
    assert poles_of(introvert.removeprefix("introvert: ")) == {"introvert"}


def test_the_commands_in_order(tmp_path):
    local = [line for line in COMMANDS if "--model" not in line]
    assert len(local) >= 3
    for line in local:
        words = shlex.split(line, comments=True)[1:]
        run("-m", "prosopon", *words, cwd=tmp_path, input="Hello\n/quit\n")


def test_the_command_with_a_model_of_the_hub_parses():
    lines = [line for line in COMMANDS if "--model" in line]
    assert lines
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        done = subprocess.run(
            [sys.executable, "-m", "prosopon", *words], capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 2  # its files are not here; the options are right
        assert "ours.jsonl" in done.stderr


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()


def test_the_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert f"\n{target}:" in makefile

"""The code on a page, block by block, run in order in one folder as a reader would run it.

A fence of python, sh or console is run, unless the line above it is `<!-- not run: why -->`, or it
names the model org/... that stands for the reader's own. The line `<!-- file NAME -->` above any
fence writes its text to NAME. A text fence right below `<!-- prints -->` is what the block before
it prints; it is compared where everything runs whole.
"""

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import prosopon
from tests.commands import run_command

FENCE = re.compile(r"(?:^<!-- ([^\n]+?) -->\n+)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = ("python", "sh", "console")
GENERAL = ["--general", "general.txt"]
SMALL = {
    "extract": ["--examples", "8", *GENERAL, "--option", "rounds=1", "--option", "word_dropout=0"],
    "chat": ["--max-new-tokens", "6"],
    "evaluate": [*GENERAL, "--questions", "3", "--task", "choice"],
    "explain": ["--parts", "location"],
}  # fmt: skip
"""What the tests add to a command, so that it reads, asks and writes less."""


@dataclass(frozen=True)
class Block:
    """One fence: its language, its text, and what the comment above it says."""

    language: str
    text: str
    mark: str

    @property
    def reason(self) -> str | None:
        """Why it is not run: what it says, or that org/... only stands for the reader's model."""
        if self.mark.startswith("not run:"):
            return self.mark.removeprefix("not run: ")
        return "org/ stands for yours" if re.search(r"\borg/\w", self.text) else None

    @property
    def file(self) -> str | None:
        """The file that it is, if it says so."""
        return self.mark.removeprefix("file ") if self.mark.startswith("file ") else None


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fences of a page."""
    for mark, language, text in FENCE.findall(page.read_text("utf-8")):
        yield Block(language, text, mark)


def commands(text: str) -> list[str]:
    """Return the command lines of a shell block; with prompts, what has none is output."""
    lines = text.replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [line for line in lines if line.strip() and not line.startswith("#")]


def run_page(page: Path, folder: Path, *, small: bool) -> int:
    """Run a page's blocks in `folder`; return how many. `small`: on the embedded model, briefly."""
    names: dict[str, object] = {"__name__": "__main__"}
    count, shown = 0, ""
    for block in blocks(page):
        if block.mark == "prints" and not small:
            assert block.text.split() == shown.split(), page
        if block.file:
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file).write_text(block.text, "utf-8")
        elif block.language in RUN and block.reason is None:
            text = block.text.replace("smollm2", "embedded") if small else block.text
            one = run_python if block.language == "python" else run_shell
            shown = one(text, folder, names, small=small)
            count += 1
    return count


def run_python(text: str, folder: Path, names: dict[str, object], *, small: bool) -> str:
    """Run a block among the `names` of those before it; return what it prints."""
    whole, shown = prosopon.extract, io.StringIO()
    brief = {"limit": 8, "general_count": 4, "options": {"rounds": 1, "word_dropout": 0}}
    if small:
        prosopon.extract = lambda *given, **named: whole(*given, **(named | brief))
    try:
        with contextlib.chdir(folder), contextlib.redirect_stdout(shown):
            exec(compile(text, "page", "exec"), names)
    finally:
        prosopon.extract = whole
    return shown.getvalue()


def run_shell(text: str, folder: Path, names: dict[str, object], *, small: bool) -> str:
    """Run the commands of a block in this process; return what they print."""
    shown = []
    for line in commands(text):
        words = shlex.split(line, comments=True)
        assert words[0] == "prosopon", f"only prosopon can be run here, so say why not: {line}"
        extra = SMALL.get(words[1], []) if small else []
        if "contrastive-wanda" in words or "wanda" in words:  # no rounds, no general text
            extra = ["--examples", "8"]
        done = run_command(*words[1:], *extra, cwd=folder)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        shown.append(done.stdout)
    return "".join(shown)

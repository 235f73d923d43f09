"""Write the parts of the docs that come from the code: commands, criteria, files of examples.

python tools/write_docs.py

On a criterion's page the text under "When to use it" is written by hand and stays.
"""

import inspect
import re
from collections import Counter
from dataclasses import fields
from pathlib import Path
from sys import modules
from typing import Any

from typer.main import get_command

from prosopon.cli.app import app
from prosopon.criteria import CRITERIA, LightCriterion, ScoredCriterion, SolvedCriterion

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ROOT / "docs" / "commands.md"
INCLUDING = [ROOT / "docs" / "extend.md", ROOT / "docs" / "format.md"]
"""Pages that show whole files."""
SHARED = 5
"""An option that as many commands have in the same words is listed once."""

CRITERIA_PAGES = ROOT / "docs" / "criteria"
TABLE = ROOT / "docs" / "criteria.md"
SHOWN = ("choice per token", "target", "neither", "perplexity ratio", "pruned", "seconds")
"""Columns of the table of all criteria that a criterion's own page repeats."""

HAND = re.compile(r"## When to use it\n(.*?)\n(?=## )", re.DOTALL)
"""What a criterion's page says by hand."""

_ROLE = re.compile(r":\w+:`~?([^`]+)`")
_LINKED = re.compile(r"docs/([\w/-]+\.md)")
_BLOCK = re.compile(r"(<!-- file (\S+) -->\n```python\n).*?(```\n)", re.DOTALL)
_INTRO = """# Commands

Written by `python tools/write_docs.py` from the commands themselves. `prosopon COMMAND --help` \
says the same. From a clone the command is `.venv/bin/prosopon` after `make demo` or `make test`.

A mistake is one line on stderr and exit code 2. Nothing is loaded before names are checked.

From a mask to a comparison, a checkpoint and a sweep:

<!-- not run: tests/test_readme.py runs it on less -->
```console
prosopon extract --target bold --examples 64 -o personas/bold
prosopon inspect personas/bold
prosopon compare --personas bold --arms base,prompt,contrastive-taylor -o comparison
prosopon export personas/bold --format checkpoint -o bold
prosopon sweep --model Qwen/Qwen3-0.6B --target ours.jsonl --opposite theirs.jsonl \
    --criteria all -o results
```
"""


def main() -> None:
    """Write the pages."""
    for page, text in describe_criteria().items():
        page.write_text(text, "utf-8")
    COMMANDS.write_text(describe_commands(), "utf-8")
    for page in INCLUDING:
        page.write_text(include_files(page), "utf-8")


def include_files(page: Path) -> str:
    """Return a page with the text of every file that its marks name, relative to the page."""

    def include(match: re.Match[str]) -> str:
        return match[1] + (page.parent / match[2]).read_text("utf-8") + match[3]

    return _BLOCK.sub(include, page.read_text("utf-8"))


def describe_commands() -> str:
    """Return the page of all commands and their options."""
    commands: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    rows = {name: [_row(option) for option in _options(c)] for name, c in commands.items()}
    count = Counter(row for some in rows.values() for row in some)
    shared = [row for row, number in count.items() if number >= SHARED]
    parts = [_INTRO]
    for name, command in commands.items():
        own = [row for row in rows[name] if row not in shared]
        common = [row.split("`")[1] for row in rows[name] if row in shared]
        parts.append(f"## {name}\n\n{_first_paragraph(command.help)}\n\n{_usage(name, command)}\n")
        parts.append(_table(own))
        parts.append(f"And of the [shared ones](#shared-options): `{'`, `'.join(common)}`.\n")
        if not rows[name]:
            parts[-1] = ""
    parts.append("## Shared options\n")
    parts.append(_table(shared))
    return "\n".join(part for part in parts if part)


def _options(command: Any) -> list[Any]:
    return [p for p in command.params if p.param_type_name == "option" and not p.hidden]


def _usage(name: str, command: Any) -> str:
    """Return the command with its arguments and what each is."""
    arguments = [p for p in command.params if p.param_type_name == "argument" and not p.hidden]
    names = "".join(f" {a.name.upper()}{'...' if a.nargs == -1 else ''}" for a in arguments)
    lines = [f"    prosopon {name}{names} [OPTIONS]"]
    lines += [f"\n`{a.name.upper()}`: {_line(a.help)}" for a in arguments if a.help]
    return "\n".join(lines)


def _row(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    return f"| {names} | {_default(option)} | {_line(option.help)} |"


def _default(option: Any) -> str:
    value = option.default
    if value is None or isinstance(value, bool) or value == "" or callable(value):
        return "required" if option.required else ""
    return f"`{value}`" if not isinstance(value, list | tuple) else " ".join(map(str, value))


def _line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _first_paragraph(text: str | None) -> str:
    return _line((text or "").split("\n\n")[0])


def _table(rows: list[str]) -> str:
    return "\n".join(["| option | default | |", "| --- | --- | --- |", *rows, ""]) if rows else ""


def describe_criteria() -> dict[Path, str]:
    """Return the page of every criterion of the package by its place."""
    return {
        CRITERIA_PAGES / f"{name}.md": _criterion(name, item) for name, item in CRITERIA.items()
    }


def measured() -> dict[str, dict[str, str]]:
    """Return the rows of docs/criteria.md by arm, each by column."""
    lines = [line for line in TABLE.read_text("utf-8").splitlines() if line.startswith("| ")]
    head, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {row[0]: dict(zip(head, row, strict=True)) for row in rows if "---" not in row[1]}


def _criterion(name: str, item: Any) -> str:
    place = CRITERIA_PAGES / f"{name}.md"
    hand = HAND.search(place.read_text("utf-8")) if place.exists() else None
    formula, words = _works(item)
    source = _LINKED.sub(r"[\1](../\1)", _escape(item.source))
    return "\n".join(
        [
            f"# {name}\n\n{_sentence(item.summary)}\n",
            f"## When to use it\n{hand[1] if hand else ''}\n## Formula\n```text\n{formula}\n```\n",
            f"{words}\n\nSource: {source}.\n",
            f"## What it reads\n{_reads(item)}\n",
            f"## What was measured\n{_measures(name)}\n",
            f"## Options\n{_settings(item)}",
        ]
    )


def _works(item: Any) -> tuple[str, str]:
    """Return the formula, the first words of its functions, and what else its docstrings say."""
    if isinstance(item, LightCriterion):
        functions: list[Any] = [item.gain, item.damage]
        home: Any = modules["prosopon.criteria.light"]
    else:
        functions = [item.solve if isinstance(item, SolvedCriterion) else item.score]
        home = inspect.getmodule(functions[0])
    kinds = ["gain", "damage"] if isinstance(item, LightCriterion) else []
    heads, rest = [], _paragraphs(home)
    for function in functions:
        head, *more = _paragraphs(function)
        kind = f"{kinds.pop(0)}: " if kinds else ""
        heads.append(kind + head.removeprefix("Return "))
        rest += more
    return "\n".join(heads), "\n\n".join(map(_escape, rest))


def _paragraphs(thing: Any) -> list[str]:
    text = re.split(r"\n(?:Args|Returns|Raises):", inspect.getdoc(thing) or "")[0]
    return [part.strip() for part in text.split("\n\n") if part.strip()]


def _reads(item: Any) -> str:
    """Return what it needs, and how much it prunes by itself."""
    if isinstance(item, LightCriterion):
        needs = "Both sides' examples and general text, forward and backward: it takes gradients."
    elif isinstance(item, SolvedCriterion):
        needs = "The persona's examples, forward only. It then solves a system a matrix."
    else:
        assert isinstance(item, ScoredCriterion)
        words = {"target": "the persona's examples", "opposite": "its opposite's"}
        words["general"] = "general text"
        sides = [word for side, word in words.items() if side in item.needs]
        needs = f"Forward only: {', '.join(sides)}." if sides else "No text at all."
    share = f"{item.sparsity:.1%}".replace(".0%", "%")
    capped = getattr(item, "cap", False) or getattr(item.options, "max_loss", 0)
    most = "at most " if capped else ""
    return (
        f"{needs} By default it leaves out {most}{share} of the weights, pattern `{item.pattern}`."
    )


def _measures(name: str) -> str:
    """Return its rows of the table of all criteria."""
    rows = {arm: row for arm, row in measured().items() if arm.split()[0] == name}
    if not rows:
        return "On a real model, beside its rivals: [every arm at equal loss](../real/index.md)."
    lines = [f"| {' | '.join(('', *SHOWN))} |", f"|{' --- |' * (len(SHOWN) + 1)}"]
    for arm, row in [("base", measured()["base"]), *rows.items()]:
        lines.append(f"| {arm} | {' | '.join(row[key] for key in SHOWN)} |")
    note = "On the embedded model, sixteen personas, three seeds; what the columns mean, and all"
    return "\n".join([*lines, "", f"{note} others: [side by side](../criteria.md)."])


def _settings(item: Any) -> str:
    if not fields(item.options):
        return "None.\n"
    rows = ["| option | default | |", "| --- | --- | --- |"]
    for one in fields(item.options):
        help_ = one.metadata.get("help", "")
        rows.append(f"| `{one.name}` | `{one.default}` | {_escape(help_)} |")
    example = fields(item.options)[0]
    rows.append(f"\nGive one as `--option {example.name}={example.default}`.\n")
    return "\n".join(rows)


def _sentence(text: str) -> str:
    return _escape(text[0].upper() + text[1:]) + "."


def _escape(text: str) -> str:
    """Return a docstring's text as Markdown that shows every sign of a formula."""
    text = _ROLE.sub(r"`\1`", text).replace("``", "`")
    pieces = re.split(r"(`[^`]*`)", text)
    pieces[::2] = [re.sub(r"([*_|<])", r"\\\1", piece) for piece in pieces[::2]]
    return "".join(pieces)


if __name__ == "__main__":
    main()

"""Write the parts of the docs that come from the code: the commands, and the files of examples.

python tools/write_docs.py
"""

import re
from collections import Counter
from pathlib import Path
from typing import Any

from typer.main import get_command

from prosopon.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ROOT / "docs" / "commands.md"
INCLUDING = [ROOT / "docs" / "extend.md", ROOT / "docs" / "format.md"]
"""Pages that show whole files."""
SHARED = 5
"""An option that as many commands have in the same words is listed once."""

_BLOCK = re.compile(r"(<!-- file (\S+) -->\n```python\n).*?(```\n)", re.DOTALL)
_INTRO = """# Commands

Written by `python tools/write_docs.py` from the commands themselves. `prosopon COMMAND --help` \
says the same. From a clone the command is `.venv/bin/prosopon` after `make demo` or `make test`.

A mistake is one line on stderr and exit code 2. Nothing is loaded before names are checked.

From a mask to a comparison, a checkpoint and a sweep:

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


if __name__ == "__main__":
    main()

"""``prosopon personas`` and ``prosopon criteria``: what there is."""

import dataclasses
from typing import Any

from rich.table import Table
from rich.text import Text

from prosopon.cli.console import out, print_json, say
from prosopon.cli.options import Json


def personas(as_json: Json = False) -> None:
    """List the personas: the embedded model's, and those of the library for chat models."""
    from prosopon.data import bundled, library
    from prosopon.data.grammar import load_world

    rows = [
        {
            "name": name,
            "opposite": bundled.opposite(name),
            "axis": load_world().pole(name).axis,
            "examples": bundled.SIZE,
            "description": bundled.description(name),
        }
        for name in bundled.names()
    ] + [
        {
            "name": library.PREFIX + pole.name,
            "opposite": None if pole.opposite == library.PLAIN else library.PREFIX + pole.opposite,
            "axis": pole.axis,
            "examples": len(library.load(pole.name)),
            "description": pole.description,
        }
        for pole in library.poles().values()
    ]
    if as_json:
        print_json(rows)
        return
    table = Table("persona", "opposite", "axis", "description")
    for row in rows:
        rest = (str(row[key] or "-") for key in ("opposite", "axis", "description"))
        table.add_row(Text(str(row["name"]), "bold"), *rest)
    out.print(table)


def criteria(as_json: Json = False) -> None:
    """List the criteria, one line each, and their options."""
    from prosopon.criteria import CRITERIA

    rows = [_criterion(criterion) for _, criterion in CRITERIA.items()]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        head = Text(f"{row['name']:<20}", "bold").append(f" {row['summary']}", "none")
        out.print(head, soft_wrap=True)
        for option in row["options"]:
            line = f"    --option {option['name']}={option['default']}"
            say(f"{line:<34} {option['help']}", "dim")


def _criterion(criterion: Any) -> dict[str, Any]:
    names = ("name", "summary", "source", "contrastive", "pattern", "sparsity")
    options = [
        {"name": f.name, "default": f.default, "help": f.metadata["help"]}
        for f in dataclasses.fields(criterion.options)
    ]
    return {name: getattr(criterion, name) for name in names} | {"options": options}

"""``prosopon personas`` and ``prosopon criteria``: what there is."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.table import Table

from prosopon.cli.console import out, print_json
from prosopon.cli.options import Json


def personas(as_json: Json = False) -> None:
    """List the bundled personas."""
    from prosopon.data import bundled
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
    ]
    if as_json:
        print_json(rows)
        return
    table = Table("persona", "opposite", "axis", "description")
    for row in rows:
        table.add_row(
            f"[bold]{row['name']}", str(row["opposite"]), str(row["axis"]), str(row["description"])
        )
    out.print(table)


def criteria(as_json: Json = False) -> None:
    """List the criteria, one line each, and their options."""
    from prosopon.criteria import CRITERIA

    rows = [_criterion(criterion) for _, criterion in CRITERIA.items()]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        out.print(f"[bold]{row['name']:<20}[/] {row['summary']}", soft_wrap=True, highlight=False)
        for option in row["options"]:
            line = f"    --option {option['name']}={option['default']}"
            out.print(f"[dim]{line:<34} {option['help']}[/]", soft_wrap=True, highlight=False)


def _criterion(criterion: Any) -> dict[str, Any]:
    return {
        "name": criterion.name,
        "summary": criterion.summary,
        "source": criterion.source,
        "contrastive": criterion.contrastive,
        "pattern": criterion.pattern,
        "sparsity": criterion.sparsity,
        "options": [
            {"name": f.name, "default": f.default, "help": f.metadata["help"]}
            for f in dataclasses.fields(criterion.options)
        ],
    }

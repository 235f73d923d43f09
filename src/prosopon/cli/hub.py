"""``prosopon search`` and ``prosopon pull``: personas on the Hugging Face Hub."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.table import Table
from rich.text import Text
from typer import Argument, Option

from prosopon.cli.console import command_line, note, out, print_json, say, status
from prosopon.cli.loading import load
from prosopon.cli.masks import HUB
from prosopon.cli.options import Force, Json, ModelPlace, OutputOrDefault, check_folder

if TYPE_CHECKING:
    from prosopon.subnetwork import Subnetwork


def search(
    text: Annotated[
        str, Argument(help="Part of a name, or a persona or criterion. Nothing lists all.")
    ] = "",
    model: Annotated[
        str | None, Option("--model", "-m", help="Only personas of this model, an id on the Hub.")
    ] = None,
    limit: Annotated[int, Option(min=1, help="At most so many.")] = 20,
    as_json: Json = False,
) -> None:
    """List personas on the Hugging Face Hub, those with the most downloads first."""
    from prosopon.subnetwork import hub

    with status("asking the Hub"):
        rows = hub.search(text, base_model=model, limit=limit)
    if as_json:
        print_json([dataclasses.asdict(row) for row in rows])
        return
    if not rows:
        what = (f" of {model}" if model else "") + (f" called {text!r}" if text else "")
        say(f"no persona{what} on the Hub")
        return
    table = Table("id", "base model", "downloads", "likes", "changed")
    for row in rows:
        name = Text(row.id, "bold").append(" (private)" if row.private else "", "none")
        counts = str(row.downloads), str(row.likes)
        table.add_row(name, row.base_model or "-", *counts, row.changed or "-")
    out.print(table)
    note(f"one of them: {command_line('pull', rows[0].id)}")


def pull(
    name: Annotated[str, Argument(help="Id on the Hub, name/persona.", metavar="ID")],
    output: OutputOrDefault = None,
    revision: Annotated[str | None, Option(help="Branch, tag or commit on the Hub.")] = None,
    model: Annotated[
        str | None,
        Option("--model", "-m", help="Load this model and check that the mask belongs to it."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Fetch a persona from the Hugging Face Hub into personas/NAME, and check its files.

    Nothing of it is run. Only the files of a persona are fetched, whatever else lies there.
    """
    name = name.removeprefix(HUB)
    folder = output or Path("personas") / name.rpartition("/")[2]
    from prosopon.subnetwork import Subnetwork, hub

    check_folder(folder, force)
    with status(f"fetching {name}"):
        place = hub.download(name, revision=revision)
    mask = Subnetwork.from_pretrained(place)
    if model is not None:
        _check(mask, model)
    hub.copy(place, folder)
    config = mask.config
    if as_json:
        summary = {"folder": str(folder), "id": name, "persona": config.persona}
        counts = {"pruned": mask.pruned, "total": mask.total}
        origin = {"base_model": config.base_model, "fingerprint": config.fingerprint.weights}
        print_json(summary | origin | {"criterion": config.criterion} | counts)
        return
    say(
        f"{config.persona} of {config.base_model} ({config.criterion}, {mask.pruned:,} of "
        f"{mask.total:,} weights): {folder}"
    )
    checked = f"its mask belongs to {model}" if model else (
        "whether the mask fits your model is checked when it is worn"
    )  # fmt: skip
    note(f"the files are whole; {checked}")
    note(f"talk to it: {command_line('chat', '--persona', str(folder))}")


def _check(mask: "Subnetwork", name: str) -> None:
    """Refuse a mask of another model."""
    from prosopon.models import find_sites
    from prosopon.runtime.membership import check_belongs

    with status(f"loading {name}"):
        loaded = load(name, ModelPlace(device="cpu"))
    check_belongs(mask, find_sites(loaded.model), loaded.model)

"""``prosopon verify-server``: does a server keep its rows apart?"""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from prosopon.cli.console import note, out, print_json, progress, say, status
from prosopon.cli.experiments import plain_table
from prosopon.cli.loading import load
from prosopon.cli.options import Json, ModelPlace, expand_home
from prosopon.errors import OptionError, ProsoponError
from prosopon.files import finite

if TYPE_CHECKING:
    from prosopon.serving.conformance.admin import Admin
    from prosopon.serving.conformance.client import ModelServer
    from prosopon.serving.conformance.results import CheckResult, ServerReport
    from prosopon.subnetwork import Subnetwork

NONE = "none"


def verify_server(
    url: Annotated[str, Argument(help="Address, such as http://127.0.0.1:8000/v1.")],
    personas: Annotated[
        Path,
        Option(
            help="Folder with the folders and packs of the personas that it serves.",
            parser=expand_home, metavar="DIR",
        ),
    ],
    model: Annotated[
        str | None,
        Option(
            "--model", "-m",
            help="Model to compare with, worn here; default the personas' own; none for none.",
        ),
    ] = None,
    name: Annotated[
        str | None, Option(help="What the server calls the base; default the first it lists.")
    ] = None,
    name_format: Annotated[
        str, Option(help="What it calls a persona; for vLLM's own names '{persona}'.")
    ] = "{base}:{persona}",
    api_key: Annotated[
        str | None, Option(help="Key to ask with; default PROSOPON_API_KEY.")
    ] = None,
    admin_key: Annotated[
        str | None,
        Option(help="Key to unload and load with; default PROSOPON_ADMIN_KEY; without one that "
               "is not tried."),
    ] = None,
    adapters: Annotated[
        str | None,
        Option(help="Of vLLM: folder, on its machine, with a LoRA folder for every persona, "
               "to unload and load."),
    ] = None,
    check: Annotated[
        list[str] | None,
        Option(help="Only this: crowd, one-prompt, prefix, unknown-names, seeds, streams or "
               "reloads. May be repeated."),
    ] = None,
    clients: Annotated[int, Option(min=2, help="Requests at once.")] = 8,
    rounds: Annotated[int, Option(min=1, help="How often a crowd asks everything.")] = 2,
    max_tokens: Annotated[int, Option(min=1, help="Longest answer.")] = 24,
    tolerance: Annotated[
        float | None,
        Option(min=0.0, help="Nats of log probability that are rounding; default measured."),
    ] = None,
    timeout: Annotated[float, Option(min=1.0, help="Seconds that an answer may take.")] = 120.0,
    as_json: Json = False,
    *,
    place: ModelPlace,
) -> None:  # fmt: skip
    """Ask any OpenAI-compatible server whether it keeps its personas apart.

    Exit code 1 if an answer was another voice's, 2 if the server could not be asked.
    """
    from prosopon.serving.conformance.client import ModelServer
    from prosopon.serving.conformance.examiner import CheckSettings
    from prosopon.serving.conformance.local import LocalModel
    from prosopon.serving.conformance.verification import CHECKS, NameFormat
    from prosopon.serving.conformance.verification import verify_server as verify

    model_name = NameFormat(name_format)
    server = ModelServer(url, api_key or _key("PROSOPON_API_KEY"), timeout)
    listed = server.models()
    masks = _read(personas)
    chosen = model or _own_model(masks)
    names = sorted(masks)
    base = name or (listed[0] if listed else "")
    admin = _admin(
        server, admin_key or _key("PROSOPON_ADMIN_KEY"), adapters, names,
        lambda persona: model_name(base, persona),
    )  # fmt: skip
    local: Any = nullcontext()
    if chosen != NONE:
        with status(f"loading {chosen}"):
            loaded = load(chosen, place)
            local = LocalModel(loaded.model, loaded.tokenizer, masks)
    settings = CheckSettings(
        clients=clients, rounds=rounds, max_tokens=max_tokens, tolerance=tolerance
    )
    with local as worn, progress() as report:
        seen = verify(
            server, names, base=name, model_name=model_name, local=worn, admin=admin,
            settings=settings, checks=check or tuple(CHECKS), report=report,
        )  # fmt: skip
    if as_json:
        print_json(finite(seen.as_json()))
    else:
        _show(seen)
    if seen.leaks or seen.failures:
        raise typer.Exit(1 if seen.leaks else 2)


def _read(folder: Path) -> dict[str, Subnetwork]:
    """Return the masks of a folder by name, as the server names them."""
    from prosopon.serving.shelf import Shelf

    shelf, masks = Shelf(folder), dict[str, Any]()
    for source in shelf.sources:
        try:
            masks |= dict(shelf.read(source))
        except ProsoponError as problem:
            note(f"skipped {source}: {problem}")
    if not masks:
        raise OptionError(f"--personas {folder}: holds no folder of a persona, and no pack")
    return masks


def _own_model(masks: dict[str, Subnetwork]) -> str:
    """Return the one model that masks belong to, where it is there."""
    names = sorted({mask.config.base_model for mask in masks.values()})
    if len(names) > 1:
        raise OptionError(f"the personas belong to different models: {', '.join(names)}")
    if Path(names[0]).is_absolute() and not Path(names[0]).exists():
        raise OptionError(
            f"the personas' model lay in {names[0]}, which is not here: give --model, or --model "
            "none to do without"
        )
    return names[0]


def _admin(
    server: ModelServer, key: str | None, adapters: str | None, names: list[str], model_name: Any
) -> Admin | None:
    from prosopon.serving.conformance.admin import AdapterAdmin, OwnAdmin

    if adapters is not None:
        return AdapterAdmin(server, adapters, names, model_name)
    return OwnAdmin(server, key) if key else None


def _key(variable: str) -> str | None:
    """Return the first key that a variable holds."""
    return next(
        (key for text in os.environ.get(variable, "").split(",") if (key := text.strip())), None
    )


def _show(seen: ServerReport) -> None:
    table = plain_table(
        f"{seen.base} at {seen.url}, with {', '.join(seen.personas)}", "check", "what"
    )
    for heading in ("answers", "leaked", "ties", "failed", "rounding"):
        table.add_column(heading, justify="right")
    for result in seen.results:
        table.add_row(*_row(result), style="bold red" if result.leaks else None)
    out.print(table)
    for result in seen.results:
        for wrong in result.examples:
            say(f"{result.check}: {wrong.line()}", "red")
            say(f"    asked {wrong.question!r}, expected {wrong.expected!r}")
        for problem in result.problems:
            say(f"{result.check}: {problem}", "yellow")
    for line in seen.notes:
        say(line, "yellow")
    local = seen.local_tolerance
    beside = "" if local is None else f", {local:.4f} beside the model worn here"
    say(f"rounding: up to {seen.tolerance:.4f} nats between answers of the server{beside}")
    say(f"{seen.leaks} leaked" if seen.leaks else "nothing leaked", "bold")


def _row(result: CheckResult) -> list[str]:
    if result.skipped:
        return [result.check, f"not made: {result.skipped}", "", "", "", "", ""]
    counts = [result.requests, result.leaks, result.ties, result.failures]
    return [result.check, result.what, *map(str, counts), f"{result.furthest:.6f}"]

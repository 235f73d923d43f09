"""``prosopon ui``: a page in the browser on the server of ``prosopon serve``."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from prosopon.cli.options import Model, ModelPlace, expand_home
from prosopon.cli.serving import Mount, ServerOptions, needs, run_server
from prosopon.errors import OptionError

if TYPE_CHECKING:
    from prosopon.serving.access import Keys
    from prosopon.serving.service import Service

OFFERED = 3
"""Questions that the page offers to begin with."""


def ui(
    model: Model = "embedded",
    personas: Annotated[
        Path,
        Option(
            help="Folder with folders of personas and packs, where new ones go too.",
            parser=expand_home,
            metavar="DIR",
        ),
    ] = Path("personas"),
    *,
    options: ServerOptions,
    place: ModelPlace,
) -> None:
    """Open a page to talk to personas, blend them, make them and look inside.

    It stands on the server of prosopon serve, which answers programs too.
    """
    # No word to anybody: read when gradio is imported.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        from prosopon.page.blocks import Page
    except ModuleNotFoundError as problem:
        raise needs("ui", problem) from None
    if personas.exists() and not personas.is_dir():
        raise OptionError(f"{personas}: is a file, not a folder of personas")
    personas.mkdir(parents=True, exist_ok=True)

    def page(service: Service, keys: Keys) -> Mount:
        sources, questions = known_personas(model)
        return Page(service, keys, model, place_words(model, place), sources, questions).mount

    run_server("ui", model, personas, options, place, page)


def place_words(model: str, place: ModelPlace) -> list[str]:
    """Return the words of a command line that mean a model and where it is put."""
    words, usual = ["--model", model], asdict(ModelPlace())
    for name, value in asdict(place).items():
        words += [f"--{name.replace('_', '-')}", value] if value != usual[name] else []
    return words


def known_personas(model: str) -> tuple[list[str], list[str]]:
    """Return the personas that come along for a model, and questions that they answer."""
    from prosopon.data import bundled, library, load_persona
    from prosopon.models import EMBEDDED

    prefix = "" if model == EMBEDDED else library.PREFIX
    names = [prefix + name for name in (bundled if model == EMBEDDED else library).names()]
    step = max(1, len(names) // OFFERED)
    chosen = [load_persona(name, limit=1) for name in names[::step][:OFFERED]]
    return names, [persona.examples[0].prompt[-1].content for persona in chosen]

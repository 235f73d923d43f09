"""``prosopon serve``: many personas of one model, over HTTP."""

from pathlib import Path
from typing import Annotated

from typer import Option

from prosopon.cli.options import Model, ModelPlace, expand_home
from prosopon.cli.serving import ServerOptions, run_server


def serve(
    model: Model = "embedded",
    personas: Annotated[
        Path | None,
        Option(
            help="Folder with folders of personas and packs.", parser=expand_home, metavar="DIR"
        ),
    ] = None,
    *,
    options: ServerOptions,
    place: ModelPlace,
) -> None:
    """Serve a model and its personas over HTTP, as the openai package asks for them."""
    run_server("serve", model, personas, options, place)

"""``prosopon serve``: many personas of one model, over HTTP."""

import logging
import sys
from pathlib import Path
from typing import Annotated

from typer import Option

from prosopon.cli.console import note, say, status, volume
from prosopon.cli.loading import load
from prosopon.cli.options import Model, ModelPlace, expand_home
from prosopon.errors import OptionError


def serve(
    model: Model = "embedded",
    personas: Annotated[
        Path | None,
        Option(
            help="Folder with folders of personas and packs.", parser=expand_home, metavar="DIR"
        ),
    ] = None,
    name: Annotated[
        str | None, Option(help="What clients call the model; default the model's own name.")
    ] = None,
    host: Annotated[
        str, Option(help="Address to listen on; beyond this machine a key is needed.")
    ] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="0 takes any that is free.")] = 8000,
    rows: Annotated[int, Option(min=1, help="Most answers that are written at once.")] = 8,
    queue: Annotated[int, Option(min=1, help="Most answers that wait; more get a 429.")] = 64,
    mixing: Annotated[
        bool, Option(help="Write answers of several light personas in one batch.")
    ] = True,
    max_tokens: Annotated[int, Option(min=1, help="Longest answer.")] = 1024,
    timeout: Annotated[float, Option(min=0.1, help="Seconds that an answer may take.")] = 120.0,
    max_body: Annotated[int, Option(min=1024, help="Largest request, in bytes.")] = 1 << 20,
    grace: Annotated[
        float, Option(min=0.0, help="Seconds that running answers have when the server stops.")
    ] = 30.0,
    *,
    place: ModelPlace,
) -> None:
    """Serve a model and its personas over HTTP, as the openai package asks for them."""
    try:
        from prosopon.serving.access import Keys
        from prosopon.serving.server import Address, Server
        from prosopon.serving.service import Limits, Service, served_name
    except ModuleNotFoundError as problem:
        raise OptionError(f"serve needs {problem.name}: pip install 'prosopon[serve]'") from None
    from prosopon.runtime import PersonaModel
    from prosopon.serving.logs import start_logs
    from prosopon.serving.shelf import Shelf

    shelf = None if personas is None else Shelf(personas)
    title = served_name(name, model)
    address, keys = Address(host, port, max_body, grace), Keys.from_environment()
    address.check(keys)
    with status(f"loading {model}"):
        loaded = load(model, place)
        wearer = PersonaModel(loaded.model, loaded.tokenizer)
        service = Service(
            wearer, title, shelf, Limits(max_tokens, timeout), rows=rows, queue=queue, mixing=mixing
        )
        service.load_all()
    for source, reason in service.skipped.items():
        note(f"skipped {source}: {reason}")
    note(f"personas: {', '.join(service.personas) or 'none'}")
    start_logs(sys.stderr, logging.WARNING if volume.quiet else logging.INFO)

    def tell(url: str) -> None:
        note(f"engine: {service.engine.description}")
        say(f"{title} listens on {url}/v1")

    Server(service, address, keys, tell).run()

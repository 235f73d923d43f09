"""What the commands share that serve a model: their options, and the server from them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from prosopon.cli.console import note, say, status, volume
from prosopon.cli.loading import load
from prosopon.cli.options import ModelPlace
from prosopon.errors import OptionError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from prosopon.serving.access import Keys
    from prosopon.serving.service import Service

Mount = Callable[["FastAPI"], Callable[[], None]]
"""Puts a page on an application, and returns what ends its open streams."""


@dataclass(frozen=True)
class ServerOptions:
    """Where a server listens and what it takes."""

    name: Annotated[
        str | None, Option(help="What clients call the model; default the model's own name.")
    ] = None
    host: Annotated[
        str, Option(help="Address to listen on; beyond this machine a key is needed.")
    ] = "127.0.0.1"
    port: Annotated[int, Option(min=0, max=65535, help="0 takes any that is free.")] = 8000
    rows: Annotated[int, Option(min=1, help="Most answers that are written at once.")] = 8
    queue: Annotated[int, Option(min=1, help="Most answers that wait; more get a 429.")] = 64
    mixing: Annotated[
        bool, Option(help="Write answers of several light personas in one batch.")
    ] = True
    engine: Annotated[
        str,
        Option(
            help="How answers are batched: continuous, static, or auto, which is continuous where "
            "that can be used.",
            metavar="ENGINE",
        ),
    ] = "static"
    cache_tokens: Annotated[
        int | None,
        Option(
            min=64,
            help="Tokens that a continuous engine keeps; default two contexts a row, at most "
            "1 GiB.",
        ),
    ] = None
    max_tokens: Annotated[int, Option(min=1, help="Longest answer.")] = 1024
    timeout: Annotated[float, Option(min=0.1, help="Seconds that an answer may take.")] = 120.0
    max_body: Annotated[int, Option(min=1024, help="Largest request, in bytes.")] = 1 << 20
    grace: Annotated[
        float, Option(min=0.0, help="Seconds that running answers have when the server stops.")
    ] = 30.0


def run_server(
    command: str,
    model: str,
    personas: Path | None,
    options: ServerOptions,
    place: ModelPlace,
    page: Callable[[Service, Keys], Mount] | None = None,
) -> None:
    """Load a model and its personas, and serve them until the server is told to stop.

    Args:
        command: What was called, for the error where a package is missing.
        model: The model.
        personas: The folder of personas.
        options: Where the server listens, and what it takes.
        place: Where the model is put.
        page: Returns what mounts a page on the server.
    """
    try:
        from prosopon.serving.access import Keys
        from prosopon.serving.server import Address, Server
        from prosopon.serving.service import Limits, Service, served_name
    except ModuleNotFoundError as problem:
        raise needs(command, problem) from None
    from prosopon.runtime import PersonaModel
    from prosopon.serving.logs import start_logs
    from prosopon.serving.shelf import Shelf

    shelf = None if personas is None else Shelf(personas)
    title = served_name(options.name, model)
    address = Address(options.host, options.port, options.max_body, options.grace)
    keys = Keys.from_environment()
    address.check(keys)
    with status(f"loading {model}"):
        loaded = load(model, place)
        wearer = PersonaModel(loaded.model, loaded.tokenizer)
        service = Service(
            wearer, title, shelf, Limits(options.max_tokens, options.timeout), rows=options.rows,
            queue=options.queue, mixing=options.mixing, kind=options.engine,
            cache_tokens=options.cache_tokens,
        )  # fmt: skip
        service.load_all()
    for source, reason in service.skipped.items():
        note(f"skipped {source}: {reason}")
    note(f"personas: {', '.join(service.personas) or 'none'}")
    mount = page(service, keys) if page else None
    start_logs(sys.stderr, logging.WARNING if volume.quiet else logging.INFO)

    def tell(url: str) -> None:
        note(f"engine: {service.engine.description}")
        if service.engine.fallback:
            note(f"no continuous batching: {service.engine.fallback}")
        say(f"{title} listens on {url}/v1")
        if mount:
            say(f"the page: {url}")

    Server(service, address, keys, tell, mount).run()


def needs(command: str, problem: ModuleNotFoundError) -> OptionError:
    """Return the error of a command whose extra is not installed."""
    return OptionError(f"{command} needs {problem.name}: pip install 'prosopon[{command}]'")

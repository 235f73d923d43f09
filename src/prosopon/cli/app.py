"""The commands of ``prosopon``."""

from typing import Annotated

import typer
from typer import Option

from prosopon.cli.chat import chat
from prosopon.cli.compare import compare
from prosopon.cli.console import volume
from prosopon.cli.demo import demo
from prosopon.cli.doctor import doctor
from prosopon.cli.evaluate import evaluate
from prosopon.cli.explain import explain
from prosopon.cli.export import export
from prosopon.cli.extract import extract
from prosopon.cli.hub import pull, search
from prosopon.cli.inspect import inspect
from prosopon.cli.listing import criteria, personas
from prosopon.cli.lm_eval import CONTEXT, lm_eval
from prosopon.cli.options import OLD_NAMES, Quiet, Verbose, everywhere
from prosopon.cli.pack import pack, unpack
from prosopon.cli.reproduce import reproduce
from prosopon.cli.serve import serve
from prosopon.cli.sweep import sweep
from prosopon.cli.ui import ui
from prosopon.cli.verify_server import verify_server

app = typer.Typer(
    name="prosopon",
    help="Find the persona subnetworks a language model contains, and wear them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda name: OLD_NAMES.get(name, name),
    },
)
for command in (
    demo, extract, chat, ui, serve, verify_server, evaluate, compare, explain, sweep, reproduce,
    export, pack, unpack, inspect, search, pull, personas, criteria, doctor,
):  # fmt: skip
    app.command()(everywhere(command))
app.command("lm-eval", context_settings=CONTEXT)(lm_eval)


def _version(flag: bool) -> None:
    if flag:
        from prosopon.version import __version__

        typer.echo(f"prosopon {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    volume.quiet, volume.verbose = quiet, verbose

"""``prosopon pack`` and ``prosopon unpack``: many personas of one model in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prosopon.cli.console import print_json, say
from prosopon.cli.options import Json
from prosopon.errors import OptionError, SubnetworkError


def pack(
    folders: Annotated[
        list[str],
        typer.Argument(
            help="Folders of subnetworks, each FOLDER or NAME=FOLDER.", show_default=False
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write, or a folder to write it into.")
    ],
    as_json: Json = False,
) -> None:
    """Pack personas of one model into one file, as differences from what most of them prune."""
    from prosopon.subnetwork import PACK_NAME, Subnetwork, write_pack

    sources = [_source(given) for given in folders]
    loaded = [(name, Subnetwork.from_pretrained(folder)) for name, folder in sources]
    named: dict[str, Subnetwork] = {}
    for (name, one), given in zip(loaded, folders, strict=True):
        name = name or one.config.persona
        if name in named:
            raise OptionError(f"two personas are called {name!r}; write one as NAME={given}")
        named[name] = one
    path = output / PACK_NAME if output.is_dir() else output
    index = write_pack(path, named)
    summary = {"pack": str(path), "bytes": path.stat().st_size, "personas": list(index.personas)}
    if as_json:
        print_json(summary)
        return
    say(f"wrote {path}: {len(named)} personas, {summary['bytes']:,} bytes")


def unpack(
    path: Annotated[Path, typer.Argument(metavar="PACK", help="File that 'prosopon pack' wrote.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write a folder per persona into.")
    ],
    personas: Annotated[
        list[str] | None,
        typer.Option("--persona", "-p", help="Only this one. May be repeated.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write personas of a pack as folders, one each."""
    from prosopon.subnetwork import Pack

    opened = Pack(path)
    names = personas or opened.names
    for name in names:
        _check_folder_name(path, name)
    written = []
    for name in names:
        opened.load(name).save_pretrained(output / name)
        written.append(str(output / name))
    if as_json:
        print_json({"folders": written})
        return
    for folder in written:
        say(f"wrote {folder}")


def _source(given: str) -> tuple[str | None, str]:
    """Split NAME=FOLDER; what is there as a folder is one, whatever its name holds."""
    name, sign, folder = given.partition("=")
    return (name, folder) if sign and name and not Path(given).exists() else (None, given)


def _check_folder_name(path: Path, name: str) -> None:
    """Refuse names that would be written elsewhere: a pack may come from anyone.

    Raises:
        SubnetworkError: The name is no plain name of a folder.
    """
    if name in ("", ".", "..") or any(char in '/\\:*?"<>|' or ord(char) < 32 for char in name):
        raise SubnetworkError(
            f"{path}: the persona {name!r} cannot be the name of a folder; pack it as NAME=FOLDER, "
            "or load it with Subnetwork.from_pack"
        )

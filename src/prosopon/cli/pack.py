"""``prosopon pack`` and ``prosopon unpack``: many personas of one model in one file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from prosopon.cli.console import print_json, say
from prosopon.cli.masks import MaskSource, find_mask, load_mask, load_masks
from prosopon.cli.options import Force, Json, Output
from prosopon.errors import OptionError

if TYPE_CHECKING:
    from prosopon.subnetwork import Subnetwork


def pack(
    personas: Annotated[
        list[str],
        Argument(help="Personas of one model, each FOLDER or NAME=FOLDER.", metavar="PERSONA..."),
    ],
    output: Output,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Pack personas of one model into one file, as differences from what most of them prune."""
    sources = [_source(text) for text in personas]
    from prosopon.subnetwork import PACK_NAME, write_pack

    path = output / PACK_NAME if output.is_dir() else output
    if path.exists() and not force:
        raise OptionError(f"{path}: is there already; give --force to replace it")
    named: dict[str, Subnetwork] = {}
    for name, source in sources:
        masks = load_masks([source]) if name is None else {name: load_mask(source)}
        for persona, mask in masks.items():
            if persona in named:
                raise OptionError(
                    f"two personas are called {persona!r}; write one as NAME={source.text}"
                )
            named[persona] = mask
    index = write_pack(path, named, force=force)
    summary = {"pack": str(path), "bytes": path.stat().st_size, "personas": list(index.personas)}
    if as_json:
        print_json(summary)
        return
    say(f"wrote {path}: {len(named)} personas, {summary['bytes']:,} bytes")


def unpack(
    path: Annotated[Path, Argument(metavar="PACK", help="File that 'prosopon pack' wrote.")],
    output: Output,
    personas: Annotated[
        list[str] | None,
        Option("--persona", "-p", help="Only this one. May be repeated.", show_default=False),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write personas of a pack as folders, one each."""
    from prosopon.subnetwork import unpack as write_folders

    folders = write_folders(path.expanduser(), output, personas or (), force=force)
    if as_json:
        print_json({"folders": list(map(str, folders))})
        return
    for folder in folders:
        say(f"wrote {folder}")


def _source(text: str) -> tuple[str | None, MaskSource]:
    """Split NAME=FOLDER; what is there as a folder is one, whatever its name holds."""
    name, sign, folder = text.partition("=")
    if sign and name and not Path(text).exists():
        return name, find_mask(folder)
    return None, find_mask(text)

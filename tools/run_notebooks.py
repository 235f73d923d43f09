"""Run the notebooks of the docs and keep their outputs, or check that they run clean.

python tools/run_notebooks.py [--check] [--real FOLDER] [NAME ...]

Needs prosopon[notebooks]. Every notebook runs in a kernel of its own, in an empty folder. What
they print on stderr, such as progress, is left out; an error, a picture of more than 60 kB, a path
of this machine, or a notebook of more than 250 kB is refused, and then nothing is written.
``--check`` writes nothing at all. ``--real`` switches to the real model, as the cell in the
notebook says, and writes to the folder instead; hours on two cores.
"""

import argparse
import json
import sys
import tempfile
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
LARGEST_PICTURE, LARGEST = 60_000, 250_000
"""Bytes."""

SWITCH = "REAL = False"
HOURS = 4 * 3600  # seconds that a cell may take on a real model

Notebook = dict[str, Any]


def main() -> int:
    """Run those that are named, or all; return 1 where one has a fault."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="such as extract-and-wear; default all")
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--real", type=Path, metavar="FOLDER", help="on SmolLM2, written there")
    args = parser.parse_args()
    paths = [FOLDER / f"{n}.ipynb" for n in args.names] or sorted(FOLDER.glob("*.ipynb"))
    bad = False
    for path in paths:
        print(f"running {path.name}", flush=True)
        notebook = json.loads(path.read_text("utf-8"))
        notebook = execute(switched(notebook), HOURS) if args.real else execute(notebook)
        problems = list(faults(notebook))
        bad = bad or bool(problems)
        print("\n".join(problems) or "  ran clean", flush=True)
        if not problems and not args.check:
            out = args.real or FOLDER
            out.mkdir(parents=True, exist_ok=True)
            (out / path.name).write_text(as_text(notebook), "utf-8")
    return int(bad)


def switched(notebook: Notebook) -> Notebook:
    """Return a notebook whose cell of the real model says that it is wanted.

    Raises:
        ValueError: There is not one such cell.
    """
    cells = [cell for cell in code_cells(notebook) if SWITCH in "".join(cell["source"])]
    if len(cells) != 1:
        raise ValueError(f"{len(cells)} cells say {SWITCH!r}; one should")
    cells[0]["source"] = "".join(cells[0]["source"]).replace(SWITCH, "REAL = True")
    return notebook


def execute(notebook: Notebook, timeout: int = 3600) -> Notebook:
    """Return a notebook with the outputs of its cells, what it says on stderr left out."""
    import nbformat
    from nbclient import NotebookClient

    node = nbformat.reads(json.dumps(notebook), as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        place = {"metadata": {"path": folder}}
        NotebookClient(node, timeout=timeout, resources=place, allow_errors=True).execute()
    return clean(json.loads(nbformat.writes(node)))


def clean(notebook: Notebook) -> Notebook:
    """Return a notebook without times, progress, and what differs from machine to machine."""
    notebook["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags")
        cell["metadata"] = {"tags": tags} if tags else {}
        if cell["cell_type"] == "code":
            cell["outputs"] = [o for o in cell["outputs"] if o.get("name") != "stderr"]
    return notebook


def faults(notebook: Notebook) -> Iterator[str]:
    """Yield what a reader should not get."""
    if len(as_text(notebook)) > LARGEST:
        yield f"  the notebook has {len(as_text(notebook)):,} bytes, more than {LARGEST:,}"
    text = "".join(printed(notebook))
    for mark in ("/home/", "/root/", "/tmp/", "/Users/", "C:\\", str(Path.home()), sys.prefix):
        if mark in text:
            yield f"  an output holds {mark}, a path of this machine"
    for cell in code_cells(notebook):
        for output in cell["outputs"]:
            if output["output_type"] == "error":
                yield f"  {output['ename']}: {output['evalue']}"
            size = len(b64decode("".join(output.get("data", {}).get("image/png", ""))))
            if size > LARGEST_PICTURE:
                yield f"  a picture has {size:,} bytes, more than {LARGEST_PICTURE:,}"
    if not any(cell["outputs"] for cell in code_cells(notebook)):
        yield "  no cell has an output"


def code_cells(notebook: Notebook) -> list[Notebook]:
    """Return the cells with code."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def printed(notebook: Notebook) -> Iterator[str]:
    """Yield the texts of all outputs."""
    for cell in code_cells(notebook):
        for output in cell["outputs"]:
            yield "".join(output.get("text", ""))
            yield "".join(output.get("data", {}).get("text/plain", ""))


def as_text(notebook: Notebook) -> str:
    """Return the file of a notebook."""
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())

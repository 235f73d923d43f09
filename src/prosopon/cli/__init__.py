"""The command line: thin; it parses, calls the library and prints."""

import re
import sys

INTERRUPTED = 130
_FULL = ("out of memory", "can't allocate memory")  # of CUDA and MPS, of PyTorch on the CPU


def main() -> None:
    """Run the ``prosopon`` command.

    Exits with 2 and one clear line when the input is at fault, with 130 after Ctrl-C.
    """
    from prosopon.cli.postponed import postpone

    postpone("torch")
    from prosopon.cli.app import app
    from prosopon.cli.console import error, open_streams
    from prosopon.errors import ProsoponError

    open_streams()
    try:
        app()
    except ProsoponError as problem:
        error(str(problem))
        sys.exit(2)
    except (RuntimeError, MemoryError) as problem:
        if "probability tensor contains" in str(problem):
            error("the model's scores overflow or are NaN: give --dtype float32 or bfloat16")
        elif isinstance(problem, MemoryError) or any(part in str(problem) for part in _FULL):
            error(_memory_advice(str(problem)))
        else:
            raise
        sys.exit(2)
    except OSError as problem:  # a full disk, a file that nobody may read
        where = f"{problem.filename}: " if problem.filename else ""
        error(f"{where}{problem.strerror or problem}")
        sys.exit(2)
    except SystemExit as stop:  # what Typer makes of Ctrl-C
        if stop.code == INTERRUPTED:
            error("interrupted; nothing was left half-written")
        raise


def _memory_advice(problem: str) -> str:
    """Return what to do about a lack of memory, and how much was asked for."""
    much = re.search(r"allocate ([\d.]+ \w+)", problem)
    return (
        f"not enough memory{f' ({much[1]} asked for)' if much else ''}: a narrower --dtype "
        "(bfloat16) or a smaller model takes less; extract also has --sequential, --max-length "
        "and --targets"
    )


__all__ = ["main"]

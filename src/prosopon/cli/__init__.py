"""The command line: thin; it parses, calls the library and prints."""

import sys

INTERRUPTED = 130


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
    except RuntimeError as problem:
        if "probability tensor contains" not in str(problem):
            raise
        error("the model's scores overflow or are NaN: give --dtype float32 or bfloat16")
        sys.exit(2)
    except OSError as problem:  # a full disk, a file that nobody may read
        where = f"{problem.filename}: " if problem.filename else ""
        error(f"{where}{problem.strerror or problem}")
        sys.exit(2)
    except SystemExit as stop:  # what Typer makes of Ctrl-C
        if stop.code == INTERRUPTED:
            error("interrupted; nothing was left half-written")
        raise


__all__ = ["main"]

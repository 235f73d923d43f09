"""What the commands print with: results on stdout, progress, notes and errors on stderr.

Every text goes through one door, :meth:`Plain.render_str`: markup, emoji codes and control codes
in it are shown and never obeyed.
"""

import json
import re
import shlex
import shutil
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from prosopon import ranks
from prosopon.progress import ProgressLines, Report, line_seconds, listening

# Control codes but for tab and newline, and the marks that turn the direction of writing.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def show_controls(text: str) -> str:
    r"""Return ``text`` with control codes written out, such as ``\x1b``."""
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


class Plain(Console):
    """A console that takes a text for what it is."""

    def render_str(self, text: str, **settings: Any) -> Text:
        """See :meth:`rich.console.Console.render_str`."""
        return super().render_str(
            show_controls(text), **settings | {"markup": False, "emoji": False, "highlight": False}
        )


out = Plain()
err = Plain(stderr=True)


@dataclass
class Volume:
    """How much is said on stderr."""

    quiet: bool = False  # no progress and no notes
    verbose: bool = False  # also where an error came from, and what the libraries have to say


volume = Volume()


def open_streams() -> None:
    """Let stdout and stderr write any text, what they lack written out, and stdin read any."""
    for stream in (sys.stdout, sys.stderr, sys.stdin):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace" if stream is sys.stdin else "backslashreplace")


def say(text: str, style: str | None = None) -> None:
    """Print a text on stdout, its lines as long as they are."""
    out.print(text, style=style, soft_wrap=True)


def say_pieces(pieces: Iterable[str]) -> str:
    """Print a text on stdout while it comes, piece by piece, and return it."""
    stream = out.file
    written = []
    try:
        for piece in pieces:
            written.append(piece)
            stream.write(show_controls(piece))
            stream.flush()
    finally:
        stream.write("\n")
        stream.flush()
    return "".join(written)


def note(message: str) -> None:
    """Print a line on stderr that a quiet command leaves out."""
    if not volume.quiet:
        err.print(message, style="dim", soft_wrap=True)


def error(message: str) -> None:
    """Print one line on stderr, unwrapped, so that scripts can read it.

    Of several processes under torchrun the first that fails prints it, for all.
    """
    if not ranks.may_complain():
        return
    if volume.verbose and sys.exc_info()[0] is not None:
        err.print(traceback.format_exc(), soft_wrap=True)
    line = Text("error:", "bold red").append(f" {show_controls(' '.join(message.split()))}", "none")
    err.print(line, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print ``value`` as JSON on stdout, in ASCII where the output is not UTF-8."""
    stream = out.file
    unicode = (getattr(stream, "encoding", None) or "").lower().replace("-", "") == "utf8"
    text = json.dumps(value, indent=2, ensure_ascii=not unicode, allow_nan=False)
    stream.write(re.sub("[\x7f-\x9f]", lambda match: f"\\u{ord(match[0]):04x}", text) + "\n")


@contextmanager
def progress() -> Iterator[Report]:
    """Yield a ``report(stage, done, total)``: bars on a terminal, lines elsewhere."""
    if volume.quiet:
        yield lambda _stage, _done, _total: None
    elif err.is_terminal:
        with _bars() as report, listening(report):
            yield report
    else:
        lines = ProgressLines(note, every=line_seconds())
        with lines.ticking(), listening(lines):
            yield lines


@contextmanager
def status(text: str) -> Iterator[None]:
    """Show what is being waited for, on a terminal."""
    visible = err.is_terminal and not volume.quiet
    with err.status(escape(show_controls(text))) if visible else nullcontext():
        yield


@contextmanager
def _bars() -> Iterator[Report]:
    columns = (
        SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(),
        MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=err, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(show_controls(stage), total=total, completed=done)
            bars.update(tasks[stage], completed=done, total=total)
            if done >= total:
                bars.remove_task(tasks.pop(stage))

        yield report


def command_line(*words: str) -> str:
    """Return a call of prosopon that works in the reader's shell, found on its path or not."""
    program = Path(sys.argv[0])
    name = "prosopon" if shutil.which("prosopon") or not program.is_file() else str(program)
    name = f"{sys.executable} -m prosopon" if name.endswith(".py") else name
    return f"{name} {shlex.join(words)}"

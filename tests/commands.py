"""Running a command in this process, as a process of its own would show it.

A start of the real command costs four seconds of imports. Tests of what a command says and does
call the same ``main`` here; tests of encodings and import costs start a process, tests of signals
and terminals a copy of this one (tests/processes.py).
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import random
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import torch
import typer.main

typer.main.get_command = functools.cache(typer.main.get_command)  # else built anew by every call


@dataclass(frozen=True)
class Completed:
    """What a command left: its exit status and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def run_command(*arguments: object, cwd: Path, input: str | None = None) -> Completed:
    """Run ``prosopon`` with ``arguments`` in the folder ``cwd``; nothing of it stays behind."""
    out, err = _Stream(), _Stream()
    source = io.TextIOWrapper(io.BytesIO((input or "").encode()), encoding="utf-8")
    before = sys.argv, sys.stdin, dict(os.environ), torch.get_num_threads()
    draws = random.getstate(), torch.random.get_rng_state()
    sys.argv, sys.stdin = ["prosopon", *map(str, arguments)], source
    try:
        with (
            contextlib.chdir(cwd),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = _status()
    finally:
        sys.argv, sys.stdin = before[:2]
        os.environ.clear()
        os.environ.update(before[2])
        torch.set_num_threads(before[3])
        random.setstate(draws[0])
        torch.random.set_rng_state(draws[1])
    return Completed(code, out.text(), err.text())


class _Stream(io.TextIOWrapper):
    """A UTF-8 stream that is no terminal."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def text(self) -> str:
        """Return all that was written."""
        self.flush()
        return self.buffer.getvalue().decode()


def _status() -> int:
    from prosopon.cli import main

    try:
        main()
    except SystemExit as stop:
        if isinstance(stop.code, str):
            sys.stderr.write(stop.code)
            return 1
        return stop.code or 0
    except Exception:
        traceback.print_exc()
        return 1
    return 0

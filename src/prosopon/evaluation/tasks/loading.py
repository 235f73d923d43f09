"""A user's own task: a Python file that registers it."""

from __future__ import annotations

import hashlib
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from prosopon.errors import OptionError
from prosopon.evaluation.tasks.base import TASKS

_LOADED: dict[Path, list[str]] = {}


def load_task(path: str | Path) -> list[str]:
    """Run a Python file that adds tasks to :data:`TASKS`, and return their names.

    The file runs as code of yours: load only files you trust. The same file is run once a
    process; a file that fails leaves no task behind.

    Args:
        path: The file, ``*.py``.

    Raises:
        OptionError: There is no such file, it is no Python or fails, registers nothing or a
            name that is taken, or what it registers is no task. Names file and line.
    """
    file = Path(path).resolve()
    if file in _LOADED:
        return list(_LOADED[file])
    if not file.is_file():
        raise OptionError(f"task file {path}: there is no such file")
    if file.suffix != ".py":
        raise OptionError(f"task file {path}: not a Python file (*.py)")
    before = set(TASKS.names())
    try:
        _run(file, path)
        added = sorted(set(TASKS.names()) - before)
        if not added:
            raise OptionError(
                f"task file {path} registers no task; it ends with TASKS.add('name', Task())"
            )
        for name in added:
            _check(name, path)
    except BaseException:
        for name in set(TASKS.names()) - before:
            TASKS.remove(name)
        raise
    _LOADED[file] = added
    return list(added)


def _run(file: Path, path: str | Path) -> None:
    name = f"prosopon_task_{hashlib.sha256(str(file).encode()).hexdigest()[:16]}"
    spec = spec_from_file_location(name, file)
    assert spec is not None  # a file with the ending .py has a loader
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise OptionError(f"task file {path}, line {error.lineno}: {error.msg}") from error
    except Exception as error:  # whatever the user's code raises
        raise OptionError(
            f"task file {path}, line {_line(error, file)}: {type(error).__name__}: {error}"
        ) from error


def _line(error: Exception, file: Path) -> int | str:
    """Return the last line of the file itself that the error came through."""
    found: int | str = "?"
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            found = trace.tb_lineno
        trace = trace.tb_next
    return found


def _check(name: str, path: str | Path) -> None:
    task = TASKS.get(name)
    parts = ("name", "summary", "measures", "refuses", "run")
    missing = [part for part in parts if not hasattr(task, part)]
    if missing or isinstance(task, type):
        reason = f"lacks {', '.join(missing)}" if missing else "is a class; add an instance of it"
        raise OptionError(f"task file {path}: task {name!r} {reason}")
    if not task.measures:
        raise OptionError(f"task file {path}: task {name!r} has no measures")

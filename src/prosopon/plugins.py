"""Plugins: a Python file of one's own that registers criteria, arms, tasks, readers or patterns."""

import hashlib
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from prosopon.errors import OptionError, ProsoponError
from prosopon.registry import Entry, Registry

_LOADED: dict[Path, dict[str, list[str]]] = {}


def load_plugin(path: str | Path) -> dict[str, list[str]]:
    """Run a Python file that registers things, and return their names by kind.

    The file runs as code of yours: load only files you trust. The same file is run once a
    process; a file that fails leaves nothing registered.

    Args:
        path: The file, ``*.py``. Whatever it adds to a :class:`~prosopon.registry.Registry`
            (``CRITERIA``, ``ARMS``, ``TASKS``, ``READERS``, ``PATTERNS``) is used like the
            built-in ones from then on.

    Returns:
        For instance ``{"criterion": ["own"], "task": ["greeting"]}``.

    Raises:
        OptionError: There is no such file, it is no Python or fails, or it registers nothing, a
            name that is taken, or something unfit. Names file and line.
    """
    file = Path(path).resolve()
    if file in _LOADED:
        return {kind: list(names) for kind, names in _LOADED[file].items()}
    if not file.is_file():
        raise OptionError(f"plugin {path}: there is no such file")
    if file.suffix != ".py":
        raise OptionError(f"plugin {path}: not a Python file (*.py)")
    module, start = _module_name(file), len(Registry.history)
    try:
        _run(file, module, path)
        entries = _entries(module, start)
        if not entries:
            raise OptionError(
                f"plugin {path} registers nothing; it ends with a line such as "
                "TASKS.add('name', Task())"
            )
    except BaseException:
        _forget(module, start)
        raise
    names: dict[str, list[str]] = {}
    for registry, name, _ in entries:
        names.setdefault(registry.kind, []).append(name)
    _LOADED[file] = names
    return {kind: list(some) for kind, some in names.items()}


def unload_plugin(path: str | Path) -> None:
    """Forget what a file registered, so that it can be run again; nothing if it was not run."""
    file = Path(path).resolve()
    if _LOADED.pop(file, None) is not None:
        _forget(_module_name(file), 0)


def _forget(module: str, start: int) -> None:
    for registry, name, _ in _entries(module, start):
        if name in registry:
            registry.remove(name)


def _module_name(file: Path) -> str:
    return f"prosopon_plugin_{hashlib.sha256(str(file).encode()).hexdigest()[:16]}"


def _entries(module: str, start: int) -> list[Entry]:
    """Return what a module registered; what it imports registers under its own module's name."""
    return [entry for entry in Registry.history[start:] if entry.module == module]


def _run(file: Path, name: str, path: str | Path) -> None:
    spec = spec_from_file_location(name, file)
    assert spec is not None  # a file with the ending .py has a loader
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise OptionError(f"plugin {path}, line {error.lineno}: {error.msg}") from error
    except Exception as error:  # whatever the user's code raises
        kind = "" if isinstance(error, ProsoponError) else f"{type(error).__name__}: "
        raise OptionError(f"plugin {path}, line {_line(error, file)}: {kind}{error}") from error


def _line(error: Exception, file: Path) -> int | str:
    """Return the last line of the file itself that the error came through."""
    line: int | str = "?"
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line

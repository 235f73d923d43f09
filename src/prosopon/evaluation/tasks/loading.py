"""Tasks of the user's own: a Python file that registers them."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path

from prosopon.errors import OptionError
from prosopon.evaluation.tasks.base import TASKS


def load_task(path: str | Path) -> list[str]:
    """Run a Python file and return the names of the tasks that it registered.

    A file that was loaded before is not run again.

    Raises:
        OptionError: There is no such file, it fails, or it registers no task.
    """
    file = Path(path)
    if not file.is_file():
        raise OptionError(f"{path}: there is no such task file")
    told = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    name = f"prosopon_task_{told}"
    before = set(TASKS.names())
    if name in sys.modules:
        return list(sys.modules[name].__dict__["_registered"])
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise OptionError(f"{path}: is not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise OptionError(f"{path}: {type(error).__name__}: {error}") from error
    added = sorted(set(TASKS.names()) - before)
    if not added:
        raise OptionError(f"{path}: registers no task; it must call TASKS.add(name, task)")
    module.__dict__["_registered"] = added
    sys.modules[name] = module
    return added

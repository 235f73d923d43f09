"""A user's own task: a Python file that registers it."""

from __future__ import annotations

from pathlib import Path

from prosopon.errors import OptionError
from prosopon.plugins import load_plugin


def load_task(path: str | Path) -> list[str]:
    """Run a Python file that adds tasks to :data:`TASKS`, and return their names.

    See :func:`prosopon.plugins.load_plugin`, which takes files that add other things too.

    Raises:
        OptionError: The file cannot be run, or registers no task. Names file and line.
    """
    names = load_plugin(path).get("task", [])
    if not names:
        raise OptionError(
            f"plugin {path} registers no task; it ends with TASKS.add('name', Task())"
        )
    return sorted(names)

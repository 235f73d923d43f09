"""Running lm-evaluation-harness with the model ``prosopon`` registered.

The harness looks its models up in a table of its own and has no entry point for those of other
packages, so whoever starts it has to add ours first.
"""

import functools
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from prosopon.errors import OptionError

MODEL = "prosopon"
"""The name for ``--model``."""

PACKAGES = ("lm_eval", "accelerate")
"""What has to be installed; the harness's own Hugging Face model needs accelerate."""


@functools.cache
def register() -> Any:
    """Make ``--model prosopon`` known to the harness of this process; again does nothing.

    Returns:
        The class, :class:`~prosopon.harness.model.PersonaLM`.

    Raises:
        OptionError: The harness is not installed.
    """
    for package in PACKAGES:
        if find_spec(package) is None:
            raise OptionError(
                f"lm-evaluation-harness needs {package}: pip install 'prosopon[lm-eval]'"
            )
    from lm_eval.api.registry import register_model

    from prosopon.harness.model import PersonaLM

    return register_model(MODEL)(PersonaLM)


def main(arguments: Sequence[str]) -> None:
    """Run the harness's own command line with ``prosopon`` among its models.

    Args:
        arguments: What would follow ``lm_eval``.

    Raises:
        ProsoponError: The harness is not installed, or the persona cannot be worn.
        SystemExit: From the harness's parser of options.
    """
    register()
    from lm_eval.__main__ import cli_evaluate

    before = sys.argv
    sys.argv = ["lm_eval", *arguments]  # the harness reads and changes the process's own
    try:
        cli_evaluate()
    finally:
        sys.argv = before

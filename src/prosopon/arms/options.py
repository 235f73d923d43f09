"""Options of arms: ``arm.key=value``, checked against each arm's dataclass."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from prosopon.arms.base import ARMS, Arm, Lab
from prosopon.errors import OptionError
from prosopon.options import NoOptions, parse_options


class WithOptions:
    """What arms share: options from a frozen dataclass, and that they can be made anywhere.

    Attributes:
        name: Name of the arm.
        options: The dataclass.
    """

    name: str
    options: type = NoOptions

    def parse(self, values: Mapping[str, Any]) -> Any:
        """Return the options for ``values``, of the dataclass."""
        return parse_options(f"arm {self.name!r}", self.options, values)

    def refuses(self, lab: Lab) -> str | None:
        """Return why it cannot be made here, or None: it can always be made."""
        return None


class OptionHelp(NamedTuple):
    """An option of an arm: its name, its default, and what it does."""

    name: str
    default: Any
    help: str


def option_help(arm: Arm) -> list[OptionHelp]:
    """Return the options of an arm."""
    return [
        OptionHelp(field.name, field.default, field.metadata.get("help", ""))
        for field in dataclasses.fields(arm.options)
    ]


def parse_arm_options(texts: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return options by arm from texts such as ``steering.layer=2``.

    Returns:
        For every arm named the :attr:`Lab.options` it gets, as text; they have been checked.

    Raises:
        OptionError: A text of another form, a key given twice, an option that the arm does not
            have, or a bad value.
        UnknownNameError: No such arm.
    """
    by_arm: dict[str, dict[str, str]] = {}
    for item in texts:
        left, sign, value = item.partition("=")
        name, dot, key = left.partition(".")
        if not (sign and dot and name and key):
            raise OptionError(f"arm option {item!r}: write it as arm.key=value")
        options = by_arm.setdefault(ARMS.get(name).name, {})
        key = key.replace("-", "_")
        if key in options:
            raise OptionError(f"arm option {left!r} is given twice")
        options[key] = value
    for name, options in by_arm.items():
        ARMS.get(name).parse(options)
    return by_arm

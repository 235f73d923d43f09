"""Options as frozen dataclasses: fields with a line of help, parsed from text."""

import dataclasses
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from prosopon.errors import OptionError


@dataclass(frozen=True)
class NoOptions:
    """Options of what has none."""


def option(default: Any, help: str, *, old: str = "") -> Any:
    """Return a dataclass field with a default and a line of help.

    Args:
        default: The default value.
        help: One line.
        old: The option's name in the last release, which is still accepted.
    """
    return field(default=default, metadata={"help": help, "old": old})


def require(condition: bool, message: str) -> None:
    """Raise :class:`OptionError` with ``message`` unless ``condition`` holds."""
    if not condition:
        raise OptionError(message)


def parse_options(owner: str, options: type, entries: Mapping[str, Any]) -> Any:
    """Return an options dataclass for ``entries``; strings are converted.

    Args:
        owner: Whose options they are, for messages.
        options: A dataclass whose fields are of type str, bool, int, float, a ``Literal`` of
            strings, or a union of these, which is tried in its order.
        entries: Values by name; hyphens may stand for underscores, and an option's old name for
            its new one.

    Raises:
        OptionError: An option that there is not or that is given twice, or a bad value.
    """
    names = {f.name: f.metadata.get("old", "") for f in dataclasses.fields(options)}
    renamed = {old: name for name, old in names.items() if old and old not in names}
    hints = get_type_hints(options)
    values: dict[str, Any] = {}
    for key, value in entries.items():
        name = key.replace("-", "_")
        if name in renamed:
            _say_renamed(owner, name, renamed[name])
            name = renamed[name]
        if name not in names:
            choices = [f"{new} (earlier {old})" if old else new for new, old in names.items()]
            raise OptionError(
                f"{owner} has no option {key!r}; it has: {', '.join(choices) or '(none)'}"
            )
        if name in values:
            raise OptionError(f"{owner}: option {name!r} is given twice")
        values[name] = _convert(name, value, hints[name])
    return options(**values)


@cache  # so that it is said once
def _say_renamed(owner: str, old: str, new: str) -> None:
    logging.getLogger("prosopon").warning(
        "option %s of %s is called %s now; the old name works until the next release",
        old, owner, new,
    )  # fmt: skip


def _convert(name: str, value: Any, kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        return _any_of(name, value, get_args(kind))
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise OptionError(f"option {name}={value!r}: choose one of {', '.join(get_args(kind))}")
        return value
    if kind is bool:
        return _truth(name, value)
    try:
        if kind is int and float(value) != int(float(value)):
            raise ValueError
        converted = kind(float(value)) if kind is int else kind(value)
    except (TypeError, ValueError):
        raise OptionError(f"option {name}={value!r} is not a {kind.__name__}") from None
    if kind is float and not math.isfinite(converted):
        raise OptionError(f"option {name}={value!r} is not finite")
    return converted


def _any_of(name: str, value: Any, kinds: tuple[Any, ...]) -> Any:
    """Return what the first kind that fits makes of a value."""
    for kind in kinds:
        try:
            return _convert(name, value, kind)
        except OptionError:
            continue
    words = [
        ", ".join(get_args(kind)) if get_origin(kind) is Literal else f"a {kind.__name__}"
        for kind in kinds
    ]
    raise OptionError(f"option {name}={value!r}: give {' or '.join(words)}")


def _truth(name: str, value: Any) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    text = str(value).lower()
    if text not in words:
        raise OptionError(f"option {name}={value!r}: choose true or false")
    return words[text]

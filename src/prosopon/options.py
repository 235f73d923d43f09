"""Options as frozen dataclasses: fields with a line of help, parsed from text."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from prosopon.errors import OptionError


@dataclass(frozen=True)
class NoOptions:
    """Options of what has none."""


def option(default: Any, help: str) -> Any:
    """Return a dataclass field with a default and a line of help."""
    return field(default=default, metadata={"help": help})


def require(condition: bool, message: str) -> None:
    """Raise :class:`OptionError` with ``message`` unless ``condition`` holds."""
    if not condition:
        raise OptionError(message)


def parse_options(owner: str, options: type, given: Mapping[str, Any]) -> Any:
    """Return an options dataclass for ``given``; strings are converted.

    Args:
        owner: Whose options they are, for messages.
        options: A dataclass whose fields are of type str, bool, int, float, a ``Literal`` of
            strings, or a union of these, which is tried in its order.
        given: Values by name; hyphens may stand for underscores.

    Raises:
        OptionError: An option that there is not, or a bad value.
    """
    known = {f.name: f for f in dataclasses.fields(options)}
    hints = get_type_hints(options)
    values = {}
    for key, value in given.items():
        name = key.replace("-", "_")
        if name not in known:
            names = ", ".join(known) or "(none)"
            raise OptionError(f"{owner} has no option {key!r}; it has: {names}")
        values[name] = _convert(name, value, hints[name])
    return options(**values)


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
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    text = str(value).lower()
    if text not in known:
        raise OptionError(f"option {name}={value!r}: choose true or false")
    return known[text]

"""Data sets of the Hugging Face Hub, and local folders in the same layout.

An address is written ``hf:path[@config][:split][#role]``: ``hf:org/name``,
``hf:org/name@default:test``, ``hf:./folder:train[:100]``, ``hf:org/name#Ann``.
The rows are read by the same readers as files. Needs the extra
``prosopon[hub]``.
"""

import re
from typing import Any, NamedTuple

from prosopon.data.readers import ReadResult, Row, parse_rows
from prosopon.errors import DataError
from prosopon.hub import reason

PREFIX = "hf:"
"""What an address starts with to name a data set rather than a file."""

# Lazy and anchored: whatever is no config or split at the end belongs to the path, which may
# hold "@" and, on Windows, ":".
_ADDRESS = re.compile(
    r"(?P<path>.+?)(?:@(?P<config>[^/\\@:]+))?(?::(?P<split>\w[\w.-]*(?:\[[^\]]*\])?))?"
    r"(?:#(?P<role>[^#/\\]+))?"
)


class HubAddress(NamedTuple):
    """The parts of an ``hf:`` address; all but the path are None where it names none."""

    path: str
    config: str | None
    split: str | None
    role: str | None = None

    @property
    def name(self) -> str:
        """The role, or the last part of the path: what the persona is called."""
        return self.role or re.split(r"[/\\]", self.path.rstrip("/\\"))[-1]


def parse_address(source: str) -> HubAddress:
    """Take an ``hf:`` address apart.

    Raises:
        DataError: It names no data set.
    """
    match = _ADDRESS.fullmatch(source.removeprefix(PREFIX).strip())
    if match is None:
        raise DataError(f"{source!r} names no data set; write hf:org/name[@config][:split][#role]")
    return HubAddress(match["path"], match["config"], match["split"], match["role"])


def read_hub(source: str, format: str | None = None) -> ReadResult:
    """Read the examples of a data set of the Hub or of a local folder.

    Args:
        source: ``"hf:path[@config][:split][#role]"``; without a split, ``train`` or the
            only one there is.
        format: A name in `READERS`; None recognises the format by the first row.

    Returns:
        The examples in the order of the data set; `Example.source` is ``"hf:path:split:row"``, rows
        counted from 1.

    Raises:
        DataError: The ``datasets`` library is absent, the data set cannot be had, or a row is
            malformed.
    """
    where = parse_address(source)
    split, data = _load(where)
    label = f"{PREFIX}{where.path}:{split}"
    rows = (Row(number, row) for number, row in enumerate(data, start=1))
    result = parse_rows(rows, lambda number: f"{label}:{number}", format, where.role)
    if not result.examples:
        raise DataError(f"{label}: the data set is empty: it holds no rows")
    return result


def _load(where: HubAddress) -> tuple[str, Any]:
    """Return (name of the split, its rows)."""
    try:
        import datasets
    except ImportError:
        raise DataError(
            f"{PREFIX}{where.path}: reading data sets of the Hub needs the datasets library: "
            "pip install 'prosopon[hub]'"
        ) from None
    try:
        loaded = datasets.load_dataset(where.path, where.config, split=where.split)
    except Exception as error:  # the library raises whatever its many back ends raise
        raise DataError(f"{PREFIX}{where.path}: cannot be loaded: {reason(error)}") from error
    return (where.split, loaded) if where.split else _default_split(where.path, loaded)


def _default_split(path: str, loaded: Any) -> tuple[str, Any]:
    """Return the training split, or the only one."""
    names = sorted(map(str, loaded))
    if "train" not in names and len(names) != 1:
        raise DataError(
            f"{PREFIX}{path}: name one of its splits, as in :{names[0]}; it has {names}"
        )
    name = "train" if "train" in names else names[0]
    return name, loaded[name]

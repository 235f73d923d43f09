"""TOML files, bundled or one's own: which there are, and the tables in them."""

import tomllib
from pathlib import Path
from typing import Any

from prosopon.errors import DataError, UnknownNameError


def table_names(folder: Path) -> list[str]:
    """Return the names of a folder's files, sorted."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def find_table(kind: str, folder: Path, source: str | Path) -> Path:
    """Return the file that a bundled name or a path means; the error lists what is bundled."""
    if str(source) in table_names(folder):
        return folder / f"{source}.toml"
    if not Path(source).is_file():
        raise UnknownNameError(kind, str(source), table_names(folder))
    return Path(source)


def read_table(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: {error}") from None


def table_rows(content: dict[str, Any], part: str, path: Path) -> list[tuple[dict[str, Any], str]]:
    """Return the tables ``[[part]]`` of a file, at least one, each with where it stands."""
    rows = content.get(part)
    if not isinstance(rows, list) or not rows or not all(isinstance(r, dict) for r in rows):
        raise DataError(f"{path}: holds no [[{part}]]")
    return [(row, f"{path}: {part} {number}") for number, row in enumerate(rows, 1)]


def is_texts(value: Any) -> bool:
    """Tell whether a value is a list of texts, none of them blank; it may be empty."""
    return isinstance(value, list) and all(isinstance(v, str) and v.strip() for v in value)


def texts(value: Any, where: str, least: int = 1) -> tuple[str, ...]:
    """Return a list of texts, at least so many; ``where`` begins the error."""
    if not is_texts(value) or len(value) < least:
        raise DataError(f"{where} must be a list of texts, at least {least}")
    return tuple(value)

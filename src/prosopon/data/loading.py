"""Personas from wherever they are: bundled, in files, on the Hub, or in lists."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from prosopon.data import characters, library
from prosopon.data.examples import Example, Persona
from prosopon.data.hub import PREFIX, parse_address, read_hub
from prosopon.data.readers import Row, parse_rows, read_file
from prosopon.data.splits import subset
from prosopon.errors import DataError, OptionError
from prosopon.files import printable

PersonaSource: TypeAlias = str | Path | Persona | Iterable[str | Example | Mapping[str, Any]]
"""A name, file or address; a persona; or texts, examples, or rows of any format in `READERS`."""


def load_persona(
    source: PersonaSource,
    *,
    format: str | None = None,
    name: str | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Persona:
    """Load a persona.

    Args:
        source: A bundled persona's name, a file (``file#role`` for one role of a file of roles),
            ``"library:name"`` for a persona of the library in natural English,
            ``"character:name"`` for a bundled character, ``"hf:path[@config][:split][#role]"``,
            or a list of texts, of examples, or of rows such as ``{"prompt", "completion"}``. A
            bundled name wins; write ``./name`` for a file that is called the same. A ``Persona``
            is returned whole, whatever the limit.
        format: A name in `READERS`, for files and data sets; None recognises the format.
        name: What to call the persona; None takes it from the source.
        limit: Most examples; None keeps all. A random subset in the source's order. Two sources
            of the same length give the same rows for the same seed, so that files whose rows
            answer the same questions stay aligned.
        seed: Of the random subset.

    Raises:
        DataError: The source is nowhere, or a file, data set or row cannot be used.
        OptionError: ``limit`` is less than 1.
    """
    if limit is not None and limit < 1:
        raise OptionError(f"limit is {limit}; it must be at least 1")
    if isinstance(source, Persona):
        return replace(source, name=name) if name else source
    at_address = isinstance(source, str | Path)
    persona = _load(str(source), format) if at_address else _collect(source, format)
    examples = _subset(persona.examples, limit, seed)
    return replace(persona, name=name or persona.name, examples=examples)


def load_contrast(
    target: PersonaSource,
    opposite: PersonaSource | None = None,
    *,
    format: str | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> tuple[Persona, Persona]:
    """Load a target persona and its opposite.

    Args:
        target: As in `load_persona`.
        opposite: As in `load_persona`. None takes the persona at the other end of the axis where
            the target is bundled, the other characters where it is one, and otherwise makes one
            from the target's alternative answers.
        format: As in `load_persona`, for both.
        limit: Most examples of each.
        seed: Of the random subsets.

    Raises:
        DataError: One of them cannot be loaded, ``opposite`` is None and an example has no
            alternative, or both are made of the same examples.
        OptionError: ``limit`` is less than 1.
    """
    wanted = load_persona(target, format=format, limit=limit, seed=seed)
    if opposite is None and isinstance(target, str):
        if target.startswith(characters.PREFIX):
            rest = characters.others(target.removeprefix(characters.PREFIX))
            return wanted, replace(rest, examples=_subset(rest.examples, limit, seed))
        opposite = _other_end(target)
    if opposite is None:
        try:
            return wanted, wanted.opposite()
        except DataError as error:
            raise DataError(f"{error}; name an opposite persona for {wanted.name!r}") from None
    other = load_persona(opposite, format=format, limit=limit, seed=seed)
    if wanted.content_hash() == other.content_hash():
        names = " and ".join(repr(persona.name) for persona in (wanted, other))
        raise DataError(f"{names} hold the same examples: there is no contrast")
    return wanted, other


def _other_end(name: str) -> str | None:
    """Return the persona at the other end of a bundled one's axis, or None."""
    from prosopon.data import bundled

    if pole := library.find(name):
        return library.PREFIX + pole.opposite if pole.opposite in library.names() else None
    return bundled.opposite(name) if name in bundled.names() else None


def _load(source: str, format: str | None) -> Persona:
    """Load every example of a source."""
    if source.startswith(PREFIX):
        result = read_hub(source, format)
        name = parse_address(source).name
        return Persona(name, tuple(result.examples), notes=tuple(result.notes))
    if source.startswith(characters.PREFIX):
        return characters.load_character(source.removeprefix(characters.PREFIX)).persona()
    if pole := library.find(source):
        return library.load(pole.name)
    # Here because the bundled personas are themselves made with this package.
    from prosopon.data import bundled

    names = bundled.names()
    if source in names:
        return bundled.load(source)
    path, role = _find_path(source), None
    if path is None and "#" in source:
        file, _, role = source.rpartition("#")
        path = _find_path(file)
    if path is None:
        raise DataError(_not_found(source, names))
    result = read_file(path, format, role)
    name = role or printable(path.stem)
    return Persona(name, tuple(result.examples), notes=tuple(result.notes))


def _collect(source: Any, format: str | None) -> Persona:
    """Return the persona of a list of texts, examples or rows."""
    if isinstance(source, Mapping) or not isinstance(source, Iterable):
        raise DataError(
            f"a persona cannot be made of a {type(source).__name__}: give a name, a file, a "
            "Persona, or a list of texts, examples or rows"
        )
    items = list(source)
    if not items:
        raise DataError("a persona cannot be made of an empty list")
    if all(isinstance(item, Example) for item in items):
        return Persona("examples", tuple(items), notes=(f"{len(items)} examples of a list",))
    result = parse_rows([Row(*row) for row in enumerate(items, 1)], "row {}".format, format)
    return Persona("examples", tuple(result.examples), notes=tuple(result.notes))


def _find_path(source: str) -> Path | None:
    """Return the path, or None where nothing is there or a path cannot be like that."""
    try:
        path = Path(source).expanduser()
        return path if source.strip() and path.exists() else None
    except (OSError, RuntimeError, ValueError):  # too long a name, an unknown ~user, a null byte
        return None


def _subset(examples: tuple[Example, ...], limit: int | None, seed: int) -> tuple[Example, ...]:
    """Return ``limit`` random examples in their order, or all where there are no more."""
    return examples if limit is None or limit >= len(examples) else subset(examples, limit, seed)


def _not_found(source: str, names: list[str]) -> str:
    """Say that a source is neither a bundled persona nor a file."""
    close = difflib.get_close_matches(source, names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return (
        f"no such file: {source!r}, and no bundled persona is called so.{hint} "
        f"Bundled personas: {', '.join(sorted(names)) or '(none)'}; "
        f"a data set of the Hub is written {PREFIX}org/name"
    )

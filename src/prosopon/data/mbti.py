"""The sixteen Myers-Briggs types, each composed of one pole of four axes."""

from collections.abc import Mapping
from itertools import product

from prosopon.errors import OptionError, UnknownNameError

POLES: dict[str, str] = {
    "E": "extravert", "I": "introvert", "S": "sensing", "N": "intuitive",
    "T": "thinking", "F": "feeling", "J": "judging", "P": "perceiving",
}  # fmt: skip
"""The bundled persona of every letter."""

TYPES: tuple[str, ...] = tuple(map("".join, product("EI", "SN", "TF", "JP")))
"""The sixteen types, ESTJ to INFP."""


def compose(
    kind: str, *, weight: float = 1.0, names: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Return the blend of a type, for ``PersonaModel.set_blend``.

    Args:
        kind: A type, for instance ``"INTJ"``; case does not matter.
        weight: Weight of each of the four poles, in [0, 1].
        names: What the personas are called where they are not called as the bundled ones
            (:data:`POLES`), by letter.

    Raises:
        UnknownNameError: No such type.
        OptionError: ``names`` has a key that is no letter of a type.
    """
    letters = kind.strip().upper()
    if letters not in TYPES:
        raise UnknownNameError("type", kind, TYPES)
    if odd := sorted(set(names or ()) - set(POLES)):
        raise OptionError(f"names: {odd[0]!r} is no letter of a type. Choices: {', '.join(POLES)}")
    called = POLES | dict(names or {})
    return {called[letter]: weight for letter in letters}

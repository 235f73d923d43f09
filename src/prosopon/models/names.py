"""Which weights a name means: pure functions on dotted names, so no model is needed to test them.

Families differ in what they call their parts. What stays the same is enough: a decoder layer is
the first number in a name, attention is called something with "attn" or "attention" and the
feed-forward part something with "mlp", "ffn", "feed_forward" or "experts". Families that put
those matrices straight into the layer (OPT's ``fc1``) are told by the matrix's own name.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from prosopon.errors import SiteError

Role = Literal["attention", "mlp", "other"]
"""What a matrix is part of."""

_REGEX_PREFIX = "re:"
_LISTED = 20

_HEADS = frozenset({"lm_head", "head", "embed_out", "output_layer", "score", "classifier"})
_EMBEDDINGS = re.compile(r"embed|^wte$|^wpe$")

_ATTENTION_PART = re.compile(r"attn|attention")
_MLP_PART = re.compile(r"mlp|ffn|feed_?forward|experts?$|moe")
_ATTENTION_LEAF = re.compile(r"([qkvo]|qkv|out)_proj|query|key|value|query_key_value|c_attn|Wqkv")
_MLP_LEAF = re.compile(
    r"(gate|up|down|gate_up)_proj|fc\d|fc_(in|out)|c_fc|w[123]|dense_(h_to_4h|4h_to_h)"
)


def select(
    names: Iterable[str], *, targets: Sequence[str] | None = None, ignore: Sequence[str] = ()
) -> list[str]:
    """Return the names that some target pattern matches and no ignore pattern does.

    A pattern is a shell glob, matched against the full dotted name and against every suffix of
    it that is made of whole parts: ``q_proj`` means ``model.layers.0.self_attn.q_proj`` and not
    ``my_q_proj``; ``layers.0.*`` means everything in the first layer. ``*`` crosses dots. A
    pattern that starts with ``re:`` is a regular expression that has to match the full name.

    Args:
        names: Full dotted names.
        targets: Patterns to keep; None or empty keeps every name. A lone string is one pattern.
        ignore: Patterns to leave out, stronger than ``targets``. A lone string is one pattern.

    Returns:
        The selected names in the order of ``names``; empty if ``ignore`` covers ``targets``.

    Raises:
        SiteError: A pattern matches no name at all, or is not a valid regular expression.
    """
    all_names = list(names)
    chosen = set(all_names) if not targets else _match(all_names, targets)
    chosen -= _match(all_names, ignore)
    return [name for name in all_names if name in chosen]


def _match(names: list[str], patterns: Sequence[str]) -> set[str]:
    """Return the names that any pattern matches, each at least one; a lone string is a pattern."""
    matching_names: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        matches = _matcher(pattern)
        hits = {name for name in names if matches(name)}
        if not hits:
            raise SiteError(f"pattern {pattern!r} matches no site. There are: {_listing(names)}")
        matching_names |= hits
    return matching_names


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Compile a pattern to a test of one full name."""
    if not pattern.startswith(_REGEX_PREFIX):
        return lambda name: any(fnmatchcase(suffix, pattern) for suffix in _suffixes(name))
    try:
        compiled = re.compile(pattern.removeprefix(_REGEX_PREFIX))
    except re.error as error:
        message = f"pattern {pattern!r} is not a valid regular expression: {error}"
        raise SiteError(message) from error
    return lambda name: compiled.fullmatch(name) is not None


def _suffixes(name: str) -> list[str]:
    """Return the name and what remains of it as whole parts are taken from its front."""
    parts = name.split(".")
    return [".".join(parts[start:]) for start in range(len(parts))]


def _listing(names: list[str]) -> str:
    """Return the first names for a message, and how many more there are."""
    if not names:
        return "(none)"
    more = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def is_head_or_embedding(name: str) -> bool:
    """Tell whether a name is the output head or an embedding, which are never pruned.

    Only names outside the numbered layers can be: ``lm_head``, ``embed_out``, ``wte``, ....
    """
    if layer_index(name) is not None:
        return False
    return any(part in _HEADS or _EMBEDDINGS.search(part) for part in name.split("."))


def layer_index(name: str) -> int | None:
    """Return the number of the decoder layer a name lies in, or None outside the layers.

    That is the first part that is a number: ``model.layers.3.mlp.experts.7.w1`` lies in layer 3.
    """
    return next((int(part) for part in name.split(".") if part.isdecimal()), None)


def projection(name: str) -> str:
    """Return which matrix of its module a name means: ``q_proj``; of experts, all of them."""
    return next((p for p in reversed(name.split(".")) if not p.isdecimal()), name)


def role(name: str) -> Role:
    """Tell whether a matrix belongs to attention, to the feed-forward part, or to neither.

    The innermost part of the name that says so decides; then the name of the matrix itself.
    """
    *parents, leaf = _within_layer(name)
    for part in reversed(parents):
        if _MLP_PART.search(part):
            return "mlp"
        if _ATTENTION_PART.search(part):
            return "attention"
    if _ATTENTION_LEAF.fullmatch(leaf):
        return "attention"
    return "mlp" if _MLP_LEAF.fullmatch(leaf) else "other"


def _within_layer(name: str) -> list[str]:
    """Return the parts of a name after its layer number, or all of them outside the layers."""
    parts = name.split(".")
    start = next((i for i, part in enumerate(parts) if part.isdecimal()), -1)
    return parts[start + 1 :] or parts

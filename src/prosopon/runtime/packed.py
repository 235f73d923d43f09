"""Wearing personas in packed batches: spans of tokens behind each other, each as another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prosopon.runtime.looks import Wearable
    from prosopon.runtime.persona_model import PersonaModel


@contextmanager
def packed(model: PersonaModel, spans: Sequence[tuple[Wearable, int]]) -> Iterator[None]:
    """Let spans of the tokens of packed batches wear personas inside a with block.

    Weights stay the base's meanwhile, as in :meth:`prosopon.runtime.PersonaModel.mixed`.
    Afterwards what was worn before is worn again.

    Args:
        model: The model.
        spans: What is worn, and by how many tokens: first to last, together all tokens [1, n] of
            every forward pass. Base weights that change between two blocks must be changed by
            PyTorch's own operations, so that it is noticed.

    Raises:
        ProsoponError: See :meth:`prosopon.runtime.PersonaModel.mixed`; or a persona prunes an
            expert, which sees tokens in an order of its own.
    """
    with model._dresser.packing(spans):
        yield


def look_digest(model: PersonaModel, wearable: Wearable) -> bytes:
    """Return 32 bytes that are the same for what takes the same off the weights."""
    return model._dresser.digest(wearable)

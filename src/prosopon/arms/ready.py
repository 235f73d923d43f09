"""Arms that have learned their persona: what it cost, and how they speak."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from prosopon.arms.base import Cost, Lab
from prosopon.evaluation.speakers import ModelSpeaker, Rewrite
from prosopon.evaluation.speaking import Speaker


@dataclass(frozen=True)
class Ready:
    """An arm that has learned its persona.

    Attributes:
        cost: What that cost.
        enter: Makes the context in which it speaks.
    """

    cost: Cost
    enter: Callable[[], AbstractContextManager[Speaker]]

    def speaking(self) -> AbstractContextManager[Speaker]:
        """Return the context in which it speaks."""
        return self.enter()


def speaker_of(lab: Lab, rewrite: Rewrite | None = None) -> ModelSpeaker:
    """Return the lab's model as a speaker, with the lab's limits."""
    extractor = lab.extractor
    return ModelSpeaker(
        lab.model, lab.tokenizer, rewrite,
        max_tokens=extractor.max_tokens, max_length=extractor.max_length,
    )  # fmt: skip


def always(speaker: Speaker) -> Callable[[], AbstractContextManager[Speaker]]:
    """Return what makes contexts of a speaker that needs no preparation and no way back."""

    @contextmanager
    def enter() -> Iterator[Speaker]:
        yield speaker

    return enter


class Clock:
    """Wall-clock seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def seconds(self) -> float:
        """Return how long ago it was made."""
        return time.perf_counter() - self._began


def counter(lab: Lab, stage: str, total: int) -> Callable[[int], Any]:
    """Return what reports the steps done so far of a stage, where anybody listens."""

    def say(done: int) -> None:
        if lab.extractor.report is not None:
            lab.extractor.report(stage, done, total)

    return say

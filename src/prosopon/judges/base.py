"""What a judge of free text is."""

from collections.abc import Sequence
from typing import Literal, Protocol

from prosopon.intervals import Interval

Verdict = Literal["target", "opposite", "neither"]


class Judge(Protocol):
    """Says whose free answers are.

    Attributes:
        name: As in tables: ``grammar``, ``classifier``, ``llm``.
        accuracy: How often it is right on texts whose author is known; None where it is right by
            construction or nobody measured it.
    """

    @property
    def name(self) -> str:
        """Name, as in every output."""

    @property
    def accuracy(self) -> Interval | None:
        """How often it is right on texts whose author is known."""

    def verdicts(self, texts: Sequence[str], prompts: Sequence[str] = ()) -> list[Verdict]:
        """Return whose each text is, in order.

        Args:
            texts: Free answers; a blank one is neither's.
            prompts: What they answer, as text; judges that need none ignore it.
        """

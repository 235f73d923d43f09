"""The judge of the embedded model's personas: the grammar that taught them."""

from collections.abc import Sequence

from prosopon.data.grammar import judge, load_world
from prosopon.intervals import Interval
from prosopon.judges.base import Verdict


class GrammarJudge:
    """Gives an answer to a pole only if the grammar writes it for that pole, word for word.

    It is right by construction, and strict: broken text is neither's.

    Args:
        target: A bundled persona.
        opposite: The other end of its axis.

    Raises:
        UnknownNameError: No such persona; the message lists them.
    """

    name = "grammar"
    accuracy: Interval | None = None

    def __init__(self, target: str, opposite: str) -> None:
        world = load_world()
        self.target, self.opposite = world.pole(target).name, world.pole(opposite).name

    def verdicts(self, texts: Sequence[str], prompts: Sequence[str] = ()) -> list[Verdict]:
        """Return whose each text is, in order; what is asked is not looked at."""
        return [judge(text, self.target, self.opposite) for text in texts]

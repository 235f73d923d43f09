"""An arm of one's own: a system line of the words that the persona says and its opposite does not.

prosopon compare --plugin own_arm.py --arms own-words --personas bold --output words
"""

from collections import Counter
from dataclasses import dataclass

from prosopon.arms import ARMS, Cost
from prosopon.arms.options import WithOptions
from prosopon.arms.ready import Ready, always, speaker_of
from prosopon.arms.turns import put_before
from prosopon.options import option


@dataclass(frozen=True)
class WordsOptions:
    count: int = option(8, "words in the line")


class WordsArm(WithOptions):
    name = "own-words"
    summary = "a system line of the persona's own words"
    kind = "prompting"
    options = WordsOptions

    def refuses(self, lab):
        return None  # or why it cannot be made here

    def prepare(self, lab):
        said, other = (
            Counter(word for example in side.examples for word in example.response.split())
            for side in lab.contrast.drawn(lab.examples, lab.seed)
        )
        words = sorted(said, key=lambda word: (other[word] - said[word], word))
        line = "Use these words: " + ", ".join(words[: self.parse(lab.options).count])
        speaker = speaker_of(lab, rewrite=lambda prompt: put_before(prompt, line))
        return Ready(Cost(bytes=len(line.encode()), details={"line": line}), always(speaker))


ARMS.add("own-words", WordsArm())

"""How fast a speaker answers, by the clock on the wall."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prosopon.errors import DataError, OptionError
from prosopon.evaluation.speaking import Prompt, Speaker


@dataclass(frozen=True)
class Speed:
    """What one request takes, one at a time.

    Attributes:
        first_token: Median seconds to the first token: reading the prompt and writing one.
        answer: Median seconds of a whole answer.
        tokens_per_second: Tokens of all answers over the seconds of all answers; the answers'
            own tokens, counted by the tokenizer.
        requests: How many requests were measured.
    """

    first_token: float
    answer: float
    tokens_per_second: float
    requests: int


def measure_speed(
    speaker: Speaker,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int = 48,
    repeats: int = 1,
) -> Speed:
    """Measure greedy answers, one prompt at a time, after one request that is not counted.

    Args:
        speaker: Who answers; inside its arm's ``speaking()``.
        tokenizer: Counts the answers' tokens.
        prompts: What is asked, at least one.
        max_new_tokens: Longest answer.
        repeats: How often each prompt is asked.

    Raises:
        DataError: There is no prompt.
        OptionError: The speaker cannot write, or ``repeats`` is less than 1.
    """
    if not prompts:
        raise DataError("no prompts to measure the speed with")
    if repeats < 1:
        raise OptionError(f"repeats is {repeats}; it must be at least 1")
    speaker.write(prompts[:1], temperature=0.0, max_new_tokens=1)
    firsts, wholes, tokens = [], [], 0
    for prompt in [prompt for _ in range(repeats) for prompt in prompts]:
        seconds, _ = _timed(speaker, prompt, 1)
        firsts.append(seconds)
        seconds, answer = _timed(speaker, prompt, max_new_tokens)
        wholes.append(seconds)
        tokens += len(tokenizer(answer, add_special_tokens=False)["input_ids"])
    return Speed(
        first_token=statistics.median(firsts),
        answer=statistics.median(wholes),
        tokens_per_second=tokens / sum(wholes),
        requests=len(wholes),
    )


def _timed(speaker: Speaker, prompt: Prompt, tokens: int) -> tuple[float, str]:
    began = time.perf_counter()
    answer = speaker.write([prompt], temperature=0.0, max_new_tokens=tokens)[0]
    return time.perf_counter() - began, answer

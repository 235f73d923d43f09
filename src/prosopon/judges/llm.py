"""A judge that asks a language model, through any OpenAI-compatible chat endpoint."""

import hashlib
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prosopon.errors import DataError, JudgeError, OptionError
from prosopon.intervals import Interval
from prosopon.judges.base import Verdict
from prosopon.judges.endpoint import ChatEndpoint
from prosopon.judges.verdict_file import VerdictFile

PROMPT_VERSION = 1
"""Goes up with every change of the wording, so that no verdict on another one is taken for it."""

SYSTEM = (
    "You read an answer and say which of two kinds of person gave it. Go by what the answer says "
    "and how, not by its length or quality. Where it fits both alike, fits none, or is not "
    "readable language, it is NEITHER. Reply with one word: FIRST, SECOND or NEITHER."
)

QUESTION = """\
The FIRST person: {first}
The SECOND person: {second}

They were asked:
<question>
{question}
</question>

The answer:
<answer>
{text}
</answer>

Who gave it? One word: FIRST, SECOND or NEITHER."""

Exchange = tuple[str, str]
"""A question and its answer."""


class LLMJudge:
    """Asks a chat model whose an answer is.

    Which of the two is called the first person is decided by a hash of question and answer, so
    that a model that likes one place gains no side anything, and exchanging target and opposite
    exchanges the verdicts. Nothing is sent anywhere unless such a judge is made.

    Args:
        url: See :class:`~prosopon.judges.endpoint.ChatEndpoint`; its key is read from the
            environment variable ``PROSOPON_JUDGE_KEY``.
        model: Name of the model there.
        target: The target in a sentence or a few.
        opposite: The opposite.
        cache: JSONL file of verdicts; what stands in it is not asked again. Default memory only.
        replay: Take verdicts from ``cache`` alone, and ask nothing.
        concurrency: Most requests at a time.
        timeout: Seconds, see the endpoint.
        retries: See the endpoint.
        backoff: Seconds, see the endpoint.

    Attributes:
        accuracy: None until somebody measures it with
            :func:`~prosopon.judges.measure_accuracy` and sets it.

    Raises:
        OptionError: The address, a number or the descriptions cannot be, or ``replay`` has no
            file to read.
        JudgeError: The file of verdicts is damaged.
    """

    name = "llm"

    def __init__(
        self,
        url: str,
        model: str,
        *,
        target: str,
        opposite: str,
        cache: str | Path | None = None,
        replay: bool = False,
        concurrency: int = 4,
        timeout: float = 60,
        retries: int = 5,
        backoff: float = 1.0,
    ) -> None:
        if not target.strip() or not opposite.strip() or target.strip() == opposite.strip():
            raise OptionError("an LLM judge needs two different descriptions, none of them empty")
        if concurrency < 1:
            raise OptionError("concurrency is at least 1")
        if replay and (cache is None or not Path(cache).is_file()):
            raise OptionError(f"replay reads verdicts from a file; there is none ({cache})")
        self.endpoint = ChatEndpoint(url, model, timeout=timeout, retries=retries, backoff=backoff)
        self.target, self.opposite = target.strip(), opposite.strip()
        self.replay, self.concurrency = replay, concurrency
        self.accuracy: Interval | None = None
        self._file = VerdictFile(cache)

    def verdicts(self, texts: Sequence[str], prompts: Sequence[str] = ()) -> list[Verdict]:
        """Return whose each text is, in order. What is known already is not asked again.

        Raises:
            DataError: There are not as many prompts as texts.
            JudgeError: The endpoint does not answer, an answer is no verdict, or ``replay`` does
                not find one. Verdicts that came before are kept.
        """
        if prompts and len(prompts) != len(texts):
            raise DataError(f"{len(texts)} texts to judge, but {len(prompts)} prompts")
        exchanges = list(zip(prompts or [""] * len(texts), texts, strict=True))
        self._file.refresh()
        missing = [
            exchange
            for exchange in dict.fromkeys(exchanges)
            if exchange[1].strip() and self._file.get(self._key(exchange)) is None
        ]
        if missing and self.replay:
            raise JudgeError(
                f"{self._file.path}: {len(missing)} of {len(texts)} verdicts are not in it, the "
                f"first on {_short(missing[0][1])}; without replay they are asked for"
            )
        self._ask_all(missing)
        return [self._verdict(exchange) for exchange in exchanges]

    def _verdict(self, exchange: Exchange) -> Verdict:
        verdict = self._file.get(self._key(exchange)) if exchange[1].strip() else "neither"
        assert verdict is not None  # everything missing has just been asked
        return verdict

    def _ask_all(self, missing: Sequence[Exchange]) -> None:
        with ThreadPoolExecutor(self.concurrency) as pool:
            requests = [pool.submit(self._ask, exchange) for exchange in missing]
            try:
                for request in requests:
                    request.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _ask(self, exchange: Exchange) -> None:
        sides = self._sides(exchange)
        descriptions = {"target": self.target, "opposite": self.opposite}
        question = QUESTION.format(
            first=descriptions[sides["first"]],
            second=descriptions[sides["second"]],
            question=exchange[0].strip() or "(not known)",
            text=exchange[1],
        )
        reply = self.endpoint.ask(
            [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
        )
        word = re.sub(r"\W+", " ", reply.rpartition("</think>")[2]).strip().casefold()
        verdict = sides.get(word)
        if verdict is None:
            raise JudgeError(
                f"judge {self.endpoint.model} on {_short(exchange[1])}: its reply is not FIRST, "
                f"SECOND or NEITHER but {_short(reply)}"
            )
        self._file.keep(self._key(exchange), verdict, exchange[1])

    def _key(self, exchange: Exchange) -> str:
        return _hash([self.endpoint.model, PROMPT_VERSION, self.target, self.opposite, *exchange])

    def _sides(self, exchange: Exchange) -> dict[str, Verdict]:
        """Return whom FIRST, SECOND and NEITHER mean for this question."""
        even = int(_hash(list(exchange)), 16) % 2 == 0
        if even == (self.target < self.opposite):
            return {"first": "target", "second": "opposite", "neither": "neither"}
        return {"first": "opposite", "second": "target", "neither": "neither"}


def _hash(parts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _short(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= 120 else f"{line[:120]}...")

"""A judge behind any OpenAI-compatible endpoint, with verdicts that are kept and replayed."""

from __future__ import annotations

import hashlib
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from prosopon.errors import JudgeError
from prosopon.intervals import Interval, share_interval
from prosopon.judges.base import Judge, Verdict

KEY = "PROSOPON_JUDGE_KEY"
"""Environment variable that holds the endpoint's key; none is sent without it."""

VERSION = 1  # of the question; another one asks anew
TRIES = 5
AGAIN = (408, 429, 500, 502, 503, 504)
QUESTION = """Two personas answer the same questions.
Persona A: {target}
Persona B: {opposite}

Question: {prompt}
Answer: {text}

Which persona would give this answer? If it is broken, empty, off the subject, or would suit both \
equally, it is neither's. Reply with one word: A, B or NEITHER."""


class LLMJudge:
    """Asks a language model whose an answer is.

    Verdicts are appended to a JSONL file as they come, under a hash of everything that was asked,
    and never asked twice: a report can be repeated without the endpoint.

    Args:
        url: Base of the endpoint, for instance ``http://localhost:8000/v1``.
        model: Its model.
        target: The target in words.
        opposite: The opposite in words.
        cache: File of verdicts; None keeps them in memory only.
        replay: Ask nothing; a verdict that the file does not hold is an error.
        workers: Requests at once.
        timeout: Seconds that a request may take.
        pause: Seconds before a request is tried again; doubles each time.

    Raises:
        JudgeError: The file is damaged; names the line.
    """

    name = "llm"
    accuracy: Interval | None = None

    def __init__(
        self,
        url: str,
        model: str,
        *,
        target: str,
        opposite: str,
        cache: Path | None = None,
        replay: bool = False,
        workers: int = 4,
        timeout: float = 60.0,
        pause: float = 1.0,
    ) -> None:
        self.url, self.model = url.rstrip("/"), model
        self.target, self.opposite = target, opposite
        self.cache, self.replay = cache, replay
        self.workers, self.timeout, self.pause = workers, timeout, pause
        self._known = _read(cache)

    def verdicts(self, texts: Sequence[str], prompts: Sequence[str] = ()) -> list[Verdict]:
        """See :class:`prosopon.judges.Judge`.

        Raises:
            JudgeError: The endpoint cannot be reached, refuses or answers in another form, or
                a verdict is missing in replay.
        """
        shown = list(prompts) or [""] * len(texts)
        asked = [self._question(text, prompt) for text, prompt in zip(texts, shown, strict=True)]
        told = [text.strip() for text in texts]
        open_ = (q for q, text in zip(asked, told, strict=True) if text)
        missing = [q for q in dict.fromkeys(open_) if self._key(q) not in self._known]
        if missing and self.replay:
            raise JudgeError(
                f"{self.cache}: {len(missing)} verdicts are missing, and nothing is asked in "
                "replay; run once with the endpoint"
            )
        with ThreadPoolExecutor(self.workers) as pool:
            for question, verdict in zip(missing, pool.map(self._ask, missing), strict=True):
                self._keep(question, verdict)
        return [
            self._known[self._key(q)] if text else "neither"
            for q, text in zip(asked, told, strict=True)
        ]

    def _question(self, text: str, prompt: str) -> str:
        return QUESTION.format(
            target=self.target, opposite=self.opposite, prompt=prompt or "(none)", text=text
        )

    def _key(self, question: str) -> str:
        told = json.dumps([VERSION, self.model, question])
        return hashlib.sha256(told.encode()).hexdigest()

    def _keep(self, question: str, verdict: Verdict) -> None:
        key = self._key(question)
        self._known[key] = verdict
        if self.cache is not None:
            self.cache.parent.mkdir(parents=True, exist_ok=True)
            with self.cache.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "model": self.model, "verdict": verdict}) + "\n")

    def _ask(self, question: str) -> Verdict:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": 8,
        }
        return _verdict(self._post(body), self.url)

    def _post(self, body: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        url = f"{self.url}/chat/completions"
        data, pause = json.dumps(body).encode(), self.pause
        for left in range(TRIES - 1, -1, -1):
            request = urllib.request.Request(url, data=data, headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=self.timeout) as reply:
                    return json.loads(reply.read())
            except urllib.error.HTTPError as error:
                said = error.read()[:200].decode("utf-8", "replace")
                error.close()
                if error.code not in AGAIN or not left:
                    raise JudgeError(f"{url}: HTTP {error.code}: {said}") from None
            except (OSError, TimeoutError) as error:
                if not left:
                    raise JudgeError(f"{url}: cannot be reached ({error})") from None
            except ValueError as error:
                raise JudgeError(f"{url}: the reply is not JSON ({error})") from None
            time.sleep(pause)
            pause *= 2
        raise AssertionError("the last try either returns or raises")


def measure_accuracy(
    judge: Judge, target_texts: Sequence[str], opposite_texts: Sequence[str]
) -> Interval:
    """Return how often a judge is right on texts of known author, with Wilson's interval.

    Raises:
        OptionError: There are no texts.
    """
    ours = judge.verdicts(target_texts)
    theirs = judge.verdicts(opposite_texts)
    right = sum(v == "target" for v in ours) + sum(v == "opposite" for v in theirs)
    return share_interval(right, len(ours) + len(theirs))


def _verdict(reply: Any, url: str) -> Verdict:
    try:
        said = reply["choices"][0]["message"]["content"]
        word = str(said).strip().strip(".*\"'").split()[0].upper()
    except (KeyError, IndexError, TypeError):
        raise JudgeError(f"{url}: not a chat completion: {str(reply)[:200]}") from None
    words: dict[str, Verdict] = {"A": "target", "B": "opposite", "NEITHER": "neither"}
    if word not in words:
        raise JudgeError(f"{url}: the judge said {str(said)[:80]!r}, not A, B or NEITHER")
    return words[word]


def _read(cache: Path | None) -> dict[str, Verdict]:
    if cache is None or not cache.exists():
        return {}
    found: dict[str, Verdict] = {}
    for number, line in enumerate(cache.read_text("utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            if row["verdict"] not in ("target", "opposite", "neither"):
                raise ValueError(f"verdict {row['verdict']!r}")
            found[row["key"]] = row["verdict"]
        except (ValueError, KeyError, TypeError) as error:
            raise JudgeError(f"{cache}:{number}: not a verdict ({error})") from None
    return found

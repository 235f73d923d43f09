"""The arm ``retrieval``: the calibration examples nearest to each question, as earlier turns."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, Protocol

import numpy as np

from prosopon.arms.base import ARMS, Cost, Kind, Lab
from prosopon.arms.few_shot import limit
from prosopon.arms.options import WithOptions
from prosopon.arms.ready import Clock, Ready, always, speaker_of
from prosopon.arms.turns import ShowExamples, text_bytes
from prosopon.data import Example
from prosopon.errors import OptionError
from prosopon.evaluation.speaking import Prompt
from prosopon.judges import sentence_embedder
from prosopon.options import option, require

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class RetrievalOptions:
    """Options of ``retrieval``."""

    k: int = option(3, "examples before every prompt")
    room: int = option(128, "tokens of the context kept for the answer; examples go first")
    index: Literal["bm25", "embeddings"] = option(
        "bm25", "bm25: words in common (bm25s); embeddings: sentence-transformers"
    )
    encoder: str = option(
        "sentence-transformers/all-MiniLM-L6-v2", "model of the embeddings: a folder or Hub id"
    )

    def __post_init__(self) -> None:
        for name in ("k", "room"):
            value = getattr(self, name)
            require(value >= 1, f"option {name}={value}: must be at least 1")


class Index(Protocol):
    """Texts that can be searched."""

    def scores(self, query: str) -> Floats:
        """Return how near every text is to a query, ``[texts]``; 0 or less is not near."""


class WordIndex:
    """BM25 over words, by bm25s (Lucene's variant, its default).

    Args:
        texts: What is searched.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        import bm25s

        self._count = len(texts)
        words = _words(texts)
        self._index = bm25s.BM25() if any(words) else None
        if self._index is not None:
            self._index.index(words, show_progress=False)

    def scores(self, query: str) -> Floats:
        """Return how near every text is to a query, ``[texts]``."""
        words = _words([query])[0]
        if self._index is None or not words:
            return np.zeros(self._count)
        return np.asarray(self._index.get_scores(words), dtype=np.float64)


class EmbeddingIndex:
    """Cosine similarity of sentence embeddings.

    Args:
        texts: What is searched.
        encoder: Model of the embeddings.

    Raises:
        OptionError: sentence-transformers is not installed, or the model cannot be loaded.
    """

    def __init__(self, texts: Sequence[str], encoder: str) -> None:
        self._embed = sentence_embedder(encoder)
        self._texts = self._embed(texts)

    def scores(self, query: str) -> Floats:
        """Return how near every text is to a query, ``[texts]``."""
        similarities: Floats = self._texts @ self._embed([query])[0]
        return similarities


class Nearest:
    """Finds the examples nearest to a prompt, the nearest last.

    Args:
        examples: What is searched, by what was asked; plain texts by themselves.
        index: Over :func:`search_text` of the examples, in their order.
        k: Most examples; those that are not near at all are left out.
    """

    def __init__(self, examples: Sequence[Example], index: Index, k: int) -> None:
        self._examples, self._index, self._k = examples, index, k

    def __call__(self, prompt: Prompt) -> list[Example]:
        """Return the examples, the nearest last, beside the question."""
        scores = self._index.scores(prompt[-1].content if prompt else "")
        order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[: self._k]
        return [self._examples[i] for i in reversed(order) if scores[i] > 0]


def search_text(example: Example) -> str:
    """Return what an example is found by: its question, or the text where nobody asked."""
    return example.prompt[-1].content if example.prompt else example.response


class RetrievalArm(WithOptions):
    """The nearest examples of the target before every prompt."""

    name = "retrieval"
    summary = "the calibration examples nearest to each question, as earlier turns"
    kind: Kind = "prompting"
    options = RetrievalOptions

    def refuses(self, lab: Lab) -> str | None:
        """Return which package is missing, or None."""
        parsed: RetrievalOptions = self.parse(lab.options)
        return _missing(parsed.index)

    def prepare(self, lab: Lab) -> Ready:
        """Learn the persona from the calibration examples.

        Raises:
            DataError: There are fewer calibration examples than asked for.
            OptionError: A package is missing, or no example fits into the model's context.
        """
        parsed: RetrievalOptions = self.parse(lab.options)
        if reason := _missing(parsed.index):
            raise OptionError(reason)
        clock = Clock()
        examples = lab.contrast.drawn(lab.examples, lab.seed)[0].examples
        texts = [search_text(example) for example in examples]
        index: Index
        if parsed.index == "bm25":
            index = WordIndex(texts)
        else:
            index = EmbeddingIndex(texts, parsed.encoder)
        nearest = Nearest(examples, index, parsed.k)
        rewrite = ShowExamples(nearest, lab.tokenizer, limit(lab, parsed.room))
        rewrite.check(examples)
        details = {"k": parsed.k, "index": parsed.index, "examples": len(examples)}
        cost = Cost(clock.seconds(), text_bytes(examples), details)
        return Ready(cost, always(speaker_of(lab, rewrite)))


def _words(texts: Sequence[str]) -> list[list[str]]:
    """Return the words of each text as bm25s splits them, without English stop words."""
    import bm25s

    rows: list[list[str]] = bm25s.tokenize(list(texts), return_ids=False, show_progress=False)
    return rows


def _missing(index: str) -> str | None:
    package, install = {
        "bm25": ("bm25s", "'prosopon[compare]'"),
        "embeddings": ("sentence_transformers", "sentence-transformers"),
    }[index]
    if find_spec(package) is None:
        return f"retrieval.index={index} needs {package}: pip install {install}"
    return None


ARMS.add("retrieval", RetrievalArm())

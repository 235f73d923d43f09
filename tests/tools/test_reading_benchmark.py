"""How long reading answers takes: the benchmark on a tiny model."""

from benchmarks import reading
from benchmarks.base import BENCHMARKS

from prosopon.models import LoadedModel
from tests.tiny import tiny_model


def test_it_reads_the_answers_and_says_how_many_tokens_count():
    loaded = LoadedModel(*tiny_model("llama", chat=True), "tiny")
    row = reading.measure(loaded, 6, 1)
    assert row["model"] == "tiny"
    assert row["answers"] == 6
    assert row["tokens"] > row["counted_tokens"] > 6
    assert row["ratio"] == row["seconds"] / row["baseline_seconds"] > 0
    assert "answer-reading" in BENCHMARKS.names()

"""Arms that put something before the prompt."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from prosopon.arms import ARMS
from prosopon.arms.prompt import good_line, plain_line
from prosopon.arms.retrieval import EmbeddingIndex, Nearest, WordIndex, search_text
from prosopon.data import Message
from prosopon.errors import DataError, OptionError
from tests.arms.samples import PROMPTS, tiny_contrast, tiny_lab


def rewritten(name, lab, prompt=PROMPTS[0]):
    with ARMS.get(name).prepare(lab).speaking() as speaker:
        return speaker.rewritten(prompt)


def test_the_good_line_is_the_contrast_s_own_or_made_of_its_description():
    assert rewritten("prompt", tiny_lab())[0] == Message("system", "You are bold.")
    described = tiny_contrast(line=None, description="Takes the leap.")
    line = rewritten("prompt", tiny_lab(contrast=described))[0].content
    assert line == good_line(described)
    assert "Takes the leap." in line
    given = tiny_lab(options={"line": "Leap!"})
    assert rewritten("prompt", given)[0].content == "Leap!"
    assert ARMS.get("prompt").prepare(given).cost.bytes == 5


def test_without_a_line_or_description_it_is_refused():
    lab = tiny_lab(contrast=tiny_contrast(line=None, description=" "))
    assert "neither a system line nor a description" in ARMS.get("prompt").refuses(lab)
    with pytest.raises(DataError, match="neither a system line nor a description"):
        ARMS.get("prompt").prepare(lab)


def test_the_paper_s_line_names_the_persona():
    assert plain_line("power-seeking") == "You are a person with the power seeking personality."
    told = rewritten("prompt-paper", tiny_lab())
    assert told == (Message("system", plain_line("bold")), *PROMPTS[0])


def test_shots_are_the_target_s_drawn_with_the_seed():
    lab = tiny_lab(options={"shots": "2"})
    told = rewritten("few-shot", lab)
    assert len(told) == 5
    drawn = lab.contrast.drawn(lab.examples, lab.seed)[0].examples
    known = {example.messages for example in drawn}
    assert {told[0:2], told[2:4]} <= known
    assert told[0:2] != told[2:4]
    assert rewritten("few-shot", tiny_lab(options={"shots": 2})) == told
    assert rewritten("few-shot", tiny_lab(options={"shots": 2}, seed=1)) != told
    many = ARMS.get("few-shot").prepare(tiny_lab(options={"shots": 99}))
    assert many.cost.details["shots"] == 8


def test_shots_respect_the_context():
    lab = tiny_lab(options={"shots": 8, "room": 200})
    with ARMS.get("few-shot").prepare(lab).speaking() as speaker:
        assert 100 < speaker.added_tokens(PROMPTS)[0] < 312


@pytest.mark.parametrize("name", ["few-shot", "retrieval"])
def test_a_context_too_short_for_any_example_is_an_error(name):
    with pytest.raises(OptionError, match="no example fits beside a question within 1 tokens"):
        ARMS.get(name).prepare(tiny_lab(options={"room": 511}))


@pytest.mark.parametrize("name", ["few-shot", "retrieval"])
def test_plain_texts_are_prepended(name):
    lab = tiny_lab(contrast=tiny_contrast(plain=True))
    first = lab.contrast.drawn(8, 0)[0].examples[0].response
    told = rewritten(name, lab, (Message("assistant", first),))
    assert len(told) == 1
    assert told[0].content.endswith(f"\n\n{first}")
    with ARMS.get(name).prepare(lab).speaking() as speaker:
        assert speaker.write([(Message("assistant", first),)], max_new_tokens=3) != [first]


def test_the_nearest_example_stands_beside_the_question():
    lab = tiny_lab(examples=24, options={"k": 2})
    example = lab.contrast.calibration[0].examples[5]
    told = rewritten("retrieval", lab, example.prompt)
    assert told[-3] == example.prompt[0]
    assert len(told) == 5
    nothing = (Message("user", ""),)
    assert rewritten("retrieval", lab, nothing) == nothing
    assert rewritten("retrieval", lab, (Message("user", "Xyzzy qwrt"),))[-1].content == "Xyzzy qwrt"


def test_words_in_common_decide_and_ties_go_to_the_first():
    texts = ["green tea", "black coffee", "tea with milk", "black coffee"]
    index = WordIndex(texts)
    scores = index.scores("black coffee please")
    assert scores[1] == scores[3] > 0
    assert scores[0] == scores[2] == 0
    examples = tiny_contrast(4).calibration[0].examples
    found = Nearest(examples, index, 3)((Message("user", "coffee"),))
    assert found == [examples[3], examples[1]]  # the first of equals is the nearest
    assert list(WordIndex(["a", ""]).scores("tea")) == [0, 0]
    assert search_text(examples[0]) == examples[0].prompt[-1].content


def test_embeddings_are_optional(monkeypatch):
    lab = tiny_lab(options={"index": "embeddings"})
    monkeypatch.setattr("prosopon.arms.retrieval.find_spec", lambda name: None)
    assert "pip install sentence-transformers" in ARMS.get("retrieval").refuses(lab)
    with pytest.raises(OptionError, match="needs sentence_transformers"):
        ARMS.get("retrieval").prepare(lab)
    assert "prosopon[compare]" in ARMS.get("retrieval").refuses(tiny_lab())


def test_embeddings_rank_by_cosine(monkeypatch):
    class Letters:
        """Stands in for an encoder: how often each letter occurs, at length 1."""

        def __init__(self, name):
            assert name == "letters"

        def encode(self, texts, normalize_embeddings, show_progress_bar):
            rows = np.array(
                [[t.lower().count(c) for c in "abcdefghijklmnop"] for t in texts], float
            )
            return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-9)

    module = SimpleNamespace(SentenceTransformer=Letters, __spec__=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    scores = EmbeddingIndex(["abc", "cab", "mno"], "letters").scores("bca")
    assert scores == pytest.approx([1, 1, 0])
    lab = tiny_lab(options={"index": "embeddings", "encoder": "letters", "k": 1})
    example = lab.contrast.drawn(8, 0)[0].examples[3]
    assert rewritten("retrieval", lab, example.prompt)[0] == example.prompt[0]

"""Rubbish is neither's: on real answers of two persons, and on a bundled contrast."""

import random

import pytest

from prosopon.data import load_contrast
from prosopon.data.contrast import bundled_contrast, file_contrast
from prosopon.data.questions import prompt_text
from prosopon.judges import BaseReader, ClassifierJudge, judges_of
from prosopon.models import load_model

TONGUES = [
    "Ich gehe abends am liebsten allein spazieren und höre dabei den Vögeln im Garten zu.",
    "Je préfère rester chez moi ce soir avec un bon livre et une tasse de thé bien chaude.",
    "Prefiero quedarme en casa con un buen libro y una taza de té muy caliente esta noche.",
]
WORDS = ["party", "alone", "Risk", "friends!", "quiet.", "yes"]
SALAD = [
    "?sProfessional solid WoMB saidYou willExplanationoldenseupostahome",
    "kettle under of quickly elbow the sings triangular a from purple seven nobody of",
    "inguishable acquaintcolor issinguishableA acquaint Sh acquaint collectively vSQRTraAV",
    "party party party party party party party party party party party party",
]
TELLS = 0.05  # most of the texts in disorder that may still be somebody's


@pytest.fixture(scope="module", params=["machine-mindset", "bundled"])
def judged(request):
    """Return a contrast, its classifier, and language in good order that it can judge."""
    if request.param == "bundled":
        contrast = bundled_contrast("bold", questions=40)
        known = [(e.prompt, e.response) for side in contrast.judge for e in side.examples[:16]]
        reader = BaseReader(*load_model("embedded", device="cpu")[:2], exchanges=known)
        judge = judges_of(contrast, reader=reader)[1]
    else:
        folder = request.getfixturevalue("shared") / "data" / "machine-mindset"
        sides = load_contrast(
            *(str(folder / f"energy_{side}version.jsonl") for side in ("intro", "extra"))
        )
        contrast = file_contrast(*sides, questions=40, judge=80)
        (judge,) = judges_of(contrast)
    assert isinstance(judge, ClassifierJudge)
    assert judge.useful
    return contrast, judge


def shuffled(text, seed=0):
    words = text.split()
    return " ".join(random.Random(f"{seed}/{text}").sample(words, len(words)))


def test_known_answers_are_somebodys(judged):
    contrast, judge = judged
    items = contrast.items()
    for side in (0, 1):
        verdicts = judge.verdicts(
            [item.answers[side] for item in items], [prompt_text(item.prompt) for item in items]
        )
        own, other = ("target", "opposite") if side == 0 else ("opposite", "target")
        assert verdicts.count(own) >= 0.5 * len(items)
        assert verdicts.count(own) >= 2 * verdicts.count(other)


def test_their_words_in_disorder_are_neithers(judged):
    contrast, judge = judged
    items = [item for item in contrast.items() if len(item.matching.split()) > 7]
    assert len(items) >= 10
    texts = [shuffled(answer) for item in items for answer in item.answers]
    prompts = [prompt_text(item.prompt) for item in items for _ in item.answers]
    verdicts = judge.verdicts(texts, prompts)
    assert len(texts) - verdicts.count("neither") <= TELLS * len(texts)


@pytest.mark.parametrize("texts", [["", " \n"], WORDS, SALAD, TONGUES])
def test_nothing_words_salad_and_other_tongues_are_neithers(judged, texts):
    contrast, judge = judged
    prompt = prompt_text(contrast.items()[0].prompt)
    assert judge.verdicts(texts, [prompt] * len(texts)) == ["neither"] * len(texts)


def test_the_bases_answers_word_by_word_in_disorder_are_neithers():
    model, tokenizer = load_model("embedded", device="cpu")[:2]
    contrast = bundled_contrast("bold", questions=8)
    reader = BaseReader(model, tokenizer, max_new_tokens=24)
    reader.expect([item.prompt for item in contrast.items()])
    judge = judges_of(contrast, reader=reader)[1]
    asked, texts = list(reader.answers), list(reader.answers.values())
    assert judge.verdicts(texts, asked).count("neither") < len(texts) / 2
    disorder = [shuffled(text) for text in texts]
    assert judge.verdicts(disorder, asked) == ["neither"] * len(texts)

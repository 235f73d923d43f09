"""Who judges a contrast."""

from prosopon.data import Example, Message, Persona
from prosopon.data.contrast import Contrast, bundled_contrast
from prosopon.judges import BaseReader, GrammarJudge, judges_of
from tests.tiny import tiny_model


def side(name, texts):
    return Persona(name, tuple(Example((Message("assistant", text),)) for text in texts))


def contrast(ours, theirs):
    pair = side("yea", ours), side("nay", theirs)
    return Contrast(pair, pair, pair)


def test_the_grammar_comes_first_then_a_classifier_then_the_rest():
    extra = GrammarJudge("formal", "casual")
    judges = judges_of(bundled_contrast("bold", questions=2), [extra])
    assert [judge.name for judge in judges] == ["grammar", "classifier", "grammar"]
    assert judges[2] is extra


def test_a_classifier_that_cannot_tell_the_sides_apart_is_none():
    words = [f"word {i}" for i in range(12)]
    assert judges_of(contrast(words, words)) == []
    assert judges_of(contrast(words[:3], ["no"] * 3)) == []  # too few


def test_words_of_questions_are_language():
    loved = ["tea", "rain", "boats", "hills", "bread", "songs", "aunts", "the sea"] * 2
    pair = side("yea", [f"I love {w} a lot" for w in loved]), side(
        "nay", [f"I hate {w} so much" for w in loved]
    )  # fmt: skip
    asked = Message("user", "What of that ancient grey elephant over there?")
    asks = tuple(Example((asked, *e.messages)) for e in pair[0].examples)
    text = "I love that ancient grey elephant over there a lot"
    told = {}
    for name, target in (("plain", pair[0]), ("asked", Persona("yea", asks))):
        parts = target, pair[1]
        (judge,) = judges_of(Contrast(parts, parts, parts))
        told[name] = judge.verdicts([text, "I love quantum flux wobble gizmo"])
    assert told == {"plain": ["neither"] * 2, "asked": ["target", "neither"]}


def test_where_the_base_reads_its_states_judge_first_then_words_alone():
    sides = contrast([f"I love day {i}" for i in range(12)], [f"I hate day {i}" for i in range(12)])
    reader = BaseReader(*tiny_model("llama", chat=True))
    judges = judges_of(sides, reader=reader)
    assert [judge.name for judge in judges] == ["states", "words"]
    assert all(judge.accuracy.low > 0.5 for judge in judges)
    shown = [judge.poles(["I love day 40", "I hate day 41"]) for judge in judges]
    assert shown == [["target", "opposite"]] * 2
    both = judges_of(bundled_contrast("bold", questions=2), reader=reader)
    assert [judge.name for judge in both] == ["grammar", "classifier"]

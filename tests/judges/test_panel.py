"""Who judges a contrast."""

from prosopon.data import Example, Message, Persona
from prosopon.data.contrast import Contrast, bundled_contrast
from prosopon.data.questions import ChoiceItem
from prosopon.judges import BaseReader, GrammarJudge, judges_of, tells_apart
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


def asked_about(days, *texts):
    """Return a contrast whose answers are given to questions."""
    sides = []
    for name, text in zip(("yea", "nay"), texts, strict=True):
        rows = [
            Example((Message("user", f"And day {i}?"), Message("assistant", text.format(i))))
            for i in range(days)
        ]
        sides.append(Persona(name, tuple(rows)))
    pair = sides[0], sides[1]
    return Contrast(pair, pair, pair)


def test_where_the_base_reads_its_own_answers_say_what_is_commonplace():
    sides = asked_about(12, "I love day {}", "I hate day {}")
    reader = BaseReader(*tiny_model("llama", chat=True), max_new_tokens=8)
    words, three = judges_of(sides, reader=reader)
    assert (words.name, three.name) == ("words", "three-way")
    low, high = words.commonplace
    assert 0 <= low <= 0.5 <= high <= 1
    for judge in (words, three):
        assert judge.accuracy.low > 0.5
        assert judge.poles(["I love day 40", "I hate day 41", ""]) == [
            "target", "opposite", "neither",
        ]  # fmt: skip
    both = judges_of(bundled_contrast("bold", questions=2), reader=reader)
    assert [judge.name for judge in both] == ["grammar", "classifier"]
    plain = contrast([f"I love day {i}" for i in range(12)], [f"I hate day {i}" for i in range(12)])
    assert [judge.name for judge in judges_of(plain, reader=reader)] == ["classifier"]


def test_a_question_can_tell_though_its_answers_are_commonplace(monkeypatch):
    """Which questions are asked is no matter of how strict the judge of answers is."""
    sides = asked_about(12, "I love day {}", "I hate day {}")
    reader = BaseReader(*tiny_model("llama", chat=True))
    said = [f"I love day {i} so much" for i in range(60)]  # a base that is the target
    monkeypatch.setattr(reader, "own_answers", lambda prompts: said)
    words = judges_of(sides, reader=reader)[0]
    assert words.commonplace[1] > 0.5
    words.commonplace = (0.0, 1.0)  # nothing that anybody says is more than the base would say
    items = [ChoiceItem((), f"I love day {i}", f"I hate day {i}") for i in range(20, 26)]
    assert words.poles([item.matching for item in items]) == ["neither"] * len(items)
    assert tells_apart(words, items) == [True] * len(items)

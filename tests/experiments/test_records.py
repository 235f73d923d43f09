"""What records say together: variants, gaps, judges; and they come back from JSON."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prosopon.evaluation.tasks import Outcome, TaskResult
from prosopon.experiments.judge_lines import describe_judges
from prosopon.experiments.plan import Cell
from prosopon.experiments.records import Record, by_arm, unasked, unfinished
from tests.experiments.samples import done

numbers = st.floats(allow_nan=False, allow_infinity=False)
results = st.dictionaries(
    st.text(min_size=1),
    st.builds(
        TaskResult,
        st.lists(
            st.builds(Outcome, st.text(), st.dictionaries(st.text(), numbers), st.text(), st.text())
        ),
        st.dictionaries(st.text(), st.none() | st.text() | numbers),
    ),
    max_size=2,
)


@given(results, st.sampled_from(["done", "refused", "failed"]), st.text())
def test_a_record_comes_back_from_json(results, status, text):
    cell = Cell(text, "wanda", 3, {"sparsity": 0.3, "words": [text]}, 8)
    record = Record("key", cell, status, text, "mask", text, text, {"seconds": 1.0}, {}, results)
    back = Record.from_json(json.loads(json.dumps(record.to_json())))
    assert back == record


@pytest.mark.parametrize("missing", ["key", "cell", "status", "results"])
def test_a_record_without_a_part_is_refused(missing):
    value = done("base", choice=[1.0]).to_json()
    del value[missing]
    with pytest.raises((KeyError, TypeError)):
        Record.from_json(value)


def test_a_record_with_a_part_too_many_is_refused():
    with pytest.raises(TypeError, match="mood"):
        Record.from_json(done("base").to_json() | {"mood": 1})


def test_a_record_is_called_by_its_label():
    assert done("wanda").name == "wanda"
    assert done("wanda", label="wanda 0.4").name == "wanda 0.4"


def test_variants_have_their_size_only_where_there_are_several():
    rows = [done("base"), done("wanda", examples=8), done("wanda", examples=16)]
    assert list(by_arm(rows)) == ["base", "wanda n=8", "wanda n=16"]
    assert list(by_arm(rows[:2])) == ["base", "wanda"]
    assert by_arm([]) == {}


def test_what_is_not_done_is_in_no_variant():
    failed = dataclasses.replace(done("wanda"), status="failed", message="why")
    assert by_arm([failed]) == {}
    assert list(by_arm([failed, done("wanda", "calm")])) == ["wanda"]


def test_seeds_and_contrasts_of_a_variant_stand_in_their_order():
    rows = [done("base", c, s) for s in (1, 0) for c in ("b", "a")]
    assert by_arm(rows) == {"base": rows}


def test_every_reason_is_said_once_with_all_it_holds_for():
    rows = [
        dataclasses.replace(done(arm, contrast), status=status, message=why, results={})
        for arm, contrast, status, why in (
            ("wanda", "a", "failed", "x"), ("wanda", "b", "failed", "x"),
            ("wanda", "a", "failed", "x"), ("wanda", "c", "refused", "x"),
            ("lora", "a", "failed", "y"),
        )
    ]  # fmt: skip
    assert unfinished([done("base"), *rows]) == [
        ("wanda", "a, b", "failed: x"),
        ("wanda", "c", "refused: x"),
        ("lora", "a", "failed: y"),
    ]


def test_a_task_that_every_arm_was_refused_is_one_line():
    def refused(arm, **why):
        return dataclasses.replace(done(arm), refused=why)

    rows = [refused("base", drift="no judge"), refused("wanda", drift="no judge", mbti="no")]
    assert unasked(rows) == [("all arms", "drift: no judge"), ("wanda", "mbti: no")]
    assert unasked([done("base")]) == []


def test_a_judge_s_accuracy_is_said_over_all_contrasts():
    def judged(contrast, accuracy):
        notes = {"judges": {"classifier": accuracy}}
        result = TaskResult([Outcome("q", {"target": 1.0})], notes)
        return dataclasses.replace(done("base", contrast), results={"free-text": result})

    rows = [judged("a", [0.9, 0.8, 1.0]), judged("b", [0.7, 0.6, 0.75]), judged("c", None)]
    (line,) = describe_judges(rows)
    assert line == (
        "classifier: cross-validated accuracy 0.700 to 0.900 over personas, lowest end of an "
        "interval 0.600"
    )
    (line,) = describe_judges(rows[1:])
    assert line == "classifier: cross-validated accuracy 0.700 [0.600, 0.750]"
    (line,) = describe_judges(rows[2:])
    assert line == "classifier: right by construction, or never measured"
    assert describe_judges([done("base")]) == []


def test_a_judge_that_sees_the_persona_in_texts_of_nobody_is_said_first():
    def judged(contrast, neutral):
        shares = {"n": 30, "neither": 1 - neutral, "target": neutral, "opposite": 0.0}
        held_out = {"n": 20, "right": 0.9, "low": 0.8, "high": 1.0, "neither": 0.1}
        checks = {"held-out": held_out, "neutral": shares}
        notes = {"judges": {"words": [0.9, 0.8, 1.0]}, "judge-checks": {"words": checks}}
        result = TaskResult([Outcome("q", {"target": 1.0})], notes)
        return dataclasses.replace(done("base", contrast), results={"free-text": result})

    first, second, *_ = describe_judges([judged("cold", 0.78), judged("bold", 0.3)])
    assert first == (
        "cold: do not take its free text at its word. The judge words calls texts of nobody "
        "cold, too (0.78 of neutral); read it beside the base's"
    )
    assert second.startswith("words: cross-validated accuracy")

"""What a reader could be misled by: questions counted twice, NaN, silent gaps, unknown judges."""

import dataclasses
import math

import pytest
import torch

from prosopon.data import Example, Message, Persona
from prosopon.data.contrast import bundled_contrast, file_contrast
from prosopon.errors import ModelError
from prosopon.evaluation.choice import win
from prosopon.evaluation.speaking import NORMALISATIONS, OptionScores
from prosopon.evaluation.tasks import TASKS, Outcome, Setting, TaskResult
from prosopon.experiments import Cell, Plan, Record, Sizes, Source, assemble, summarise
from prosopon.experiments.assembly import grammar_judge
from prosopon.experiments.columns import COLUMNS, columns_of, estimate, measures_of
from prosopon.experiments.figures import across
from prosopon.experiments.judge_lines import describe_judges
from prosopon.experiments.markdown import markdown
from prosopon.experiments.records import unasked
from prosopon.experiments.report import report
from prosopon.judges import LLMJudge, judges_of
from prosopon.models import load_model

NEUTRAL = next(column for column in COLUMNS if column.name == "neutral")


def record(arm, contrast, task, values, kind="mask", notes=None):
    outcomes = [Outcome(f"q{i}", value) for i, value in enumerate(values)]
    return Record(
        f"{arm}-{contrast}", Cell(contrast, arm, 0), "done", kind=kind,
        cost={"seconds": 0.0, "bytes": 0, "details": {}},
        results={task: TaskResult(outcomes, notes or {})},
    )  # fmt: skip


def rights(pattern):
    return [{"right": value} for value in pattern]


def test_a_question_that_all_personas_ask_is_counted_once():
    pattern = [1.0, 0.0] * 10
    once = estimate([record("base", "bold", "neutral", rights(pattern))], NEUTRAL)
    often = [record("base", name, "neutral", rights(pattern)) for name in ("bold", "calm", "kind")]
    assert estimate(often, NEUTRAL) == once
    worse = [
        dataclasses.replace(
            record("wanda", r.cell.contrast, "neutral", rights([0.0] * 20)), key=r.key + "w"
        )
        for r in often
    ]
    (test,) = [t for t in summarise([*often, *worse]).comparisons if t.arm == "wanda"]
    assert test.questions == 20
    assert test.difference.mean == -0.5


def test_a_task_without_a_column_of_its_own_gets_one():
    class Guess:
        name, summary = "guess-of-a-test", "a guess"
        measures = {"hit:WHAT": "by kind", "hit": "share of hits", "miss": "the rest"}  # noqa: RUF012
        refuses = run = None

    made = record("base", "bold", "guess-of-a-test", [{"hit": 1.0, "miss": 0.0}], "base")
    TASKS.add(Guess.name, Guess())
    try:
        (column,) = columns_of([made])
        assert (column.name, column.measure) == ("guess-of-a-test", "hit")
        assert summarise([made]).rows[0].figures["guess-of-a-test"].mean == 1
    finally:
        TASKS._items.pop(Guess.name)


def test_nothing_wins_against_nan():
    scores = OptionScores(dict.fromkeys(NORMALISATIONS, (math.nan, math.nan)))
    with pytest.raises(ModelError, match="NaN"):
        win(scores, "summed")


@pytest.mark.parametrize("texts", [0, 2])
def test_an_arm_that_computes_no_numbers_fails_and_the_others_go_on(tmp_path, texts):
    loaded = load_model("embedded", device="cpu")
    sizes = Sizes(questions=2, max_new_tokens=2, general=texts, speed=0)
    plan = Plan(("bold",), ("base", "always-a"), ("free-text", "choice"), (4,), (0,), sizes)
    contrasts = Source(("bold",)).contrasts("embedded", 2)
    runner = assemble(loaded, plan, contrasts, tmp_path / "out", judges=grammar_judge)
    with torch.no_grad():
        loaded.model.get_output_embeddings().weight.fill_(math.nan)
    told = {r.cell.arm: r for r in runner.run()}
    assert told["base"].status == "failed"
    assert "computes NaN" in told["base"].message
    assert told["always-a"].status == "done"


def test_what_was_not_asked_is_told():
    refused = {"free-text": "a rule cannot write"}
    rows = [
        dataclasses.replace(record("shortest", "bold", "choice", []), refused=refused),
        dataclasses.replace(record("always-a", "bold", "choice", []), refused=refused),
        record("base", "bold", "choice", [{"per-token": 1.0}], "base"),
    ]
    wanted = "free-text: a rule cannot write"
    assert unasked(rows) == [("shortest, always-a", wanted)]
    assert unasked(rows[:2]) == [("all arms", wanted)]
    assert f"- shortest, always-a: {wanted}" in markdown(summarise(rows), rows)
    page = report(summarise(rows), rows, [], title="", lead="", command="", settings={})
    assert wanted in page


def test_judges_say_how_far_they_can_be_trusted():
    rows = [
        record("base", name, "free-text", [{"target": 1.0}], "base", {"judges": judges})
        for name, judges in (
            ("bold", {"grammar": None, "classifier": [0.9, 0.85, 0.95]}),
            ("calm", {"grammar": None, "classifier": [0.7, 0.6, 0.8]}),
        )
    ]
    grammar, classifier = describe_judges(rows)
    assert grammar == "grammar: right by construction, or never measured"
    assert "0.700 to 0.900" in classifier
    assert "0.600" in classifier
    assert classifier in markdown(summarise(rows), rows)


def test_another_llm_judge_is_another_cell(tmp_path):
    loaded = load_model("embedded", device="cpu")
    plan = Plan(("bold",), ("base",), ("free-text",), sizes=Sizes(general=0))
    contrasts = {"bold": bundled_contrast("bold", questions=60)}

    def key(*judges):
        runner = assemble(
            loaded, plan, contrasts, tmp_path / "out", judges=lambda contrast, texts: judges
        )
        return runner.key(next(plan.cells()))

    made = [LLMJudge("http://localhost:1", m, target="a", opposite="b") for m in ("one", "two")]
    assert len({key(), key(made[0]), key(made[1])}) == 3


def test_an_arm_that_reads_better_than_the_base_stays_in_the_picture():
    assert across(0.8) < across(0.99) < across(1.0) == 0
    assert 0 < across(1.001) < across(1.1) < across(3.0) == across(80.0)


def test_evaluate_tells_a_perplexity_and_not_nats():
    texts = [Outcome(f"t{i}", {"nats": 2.0 * i, "tokens": float(i)}) for i in (1, 2, 3)]
    found = measures_of(TaskResult(texts))
    assert set(found) == {"perplexity"}
    assert found["perplexity"].mean == pytest.approx(math.exp(2))
    assert found["perplexity"].low == pytest.approx(math.exp(2))


def test_answers_that_teach_no_judge_leave_free_text_out_and_say_so():
    def side(name, first):
        told = [("Yes", "No")[(i + first) % 2] for i in range(80)]
        rows = [
            Example((Message("user", f"Is it {i}?"), Message("assistant", word)))
            for i, word in enumerate(told)
        ]
        return Persona(name, tuple(rows))

    contrast = file_contrast(side("yea", 0), side("nay", 1), judge=200)
    assert judges_of(contrast) == []
    told = TASKS.get("free-text").refuses(Setting(contrast), writes=True)
    assert "too alike on both sides" in told
    llm = LLMJudge("http://localhost:1", "one", target="a", opposite="b")
    assert judges_of(contrast, [llm]) == [llm]

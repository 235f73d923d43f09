"""Notes of tasks, as tables: what is the same for all is said once."""

from prosopon.evaluation.tasks import Outcome, TaskResult
from prosopon.experiments.markdown import markdown
from prosopon.experiments.notes import notes_of
from prosopon.experiments.plan import Cell
from prosopon.experiments.records import Record
from prosopon.experiments.report import report
from prosopon.experiments.summary import summarise


def record(arm, contrast, **tasks):
    results = {
        name.replace("_", "-"): TaskResult([Outcome("q", {"order": 0.5})], notes)
        for name, notes in tasks.items()
    }
    cost = {"seconds": 0.0, "bytes": 0, "details": {}}
    return Record(f"{arm}{contrast}", Cell(contrast, arm, 0), "done", cost=cost, results=results)


RECORDS = [
    record(
        "base", "bold",
        mbti={"type": "EN<b>", "alpha": {"EI": 0.51234, "SN": None}, "administrations": 4},
        free_text={"judges": {"grammar": None}, "distinct-bigrams": 0.5},
    ),
    record(
        "prompt", "bold",
        mbti={"type": "IN", "alpha": {"EI": 0.25, "SN": 0.5}, "administrations": 4},
        drift={"earlier-turns": {"least": 9, "mean": 9.0}, "topics": ["a", 1]},
    ),
]  # fmt: skip


def test_what_differs_is_a_column_and_what_does_not_a_line():
    drift, mbti = notes_of(RECORDS)
    assert (drift.task, mbti.task) == ("drift", "mbti")
    assert mbti.shared == (("administrations", "4"),)
    assert mbti.headings == ("arm", "persona", "seed", "type", "alpha")
    assert mbti.rows == (
        ("base", "bold", "0", "EN<b>", "EI 0.512, SN -"),
        ("prompt", "bold", "0", "IN", "EI 0.250, SN 0.500"),
    )
    assert drift.shared == (("earlier-turns", "least 9, mean 9.000"), ("topics", "a, 1"))
    assert drift.rows == ()


def test_they_stand_on_both_pages():
    summary = summarise(RECORDS)
    page = markdown(summary, RECORDS)
    assert "## What mbti says besides" in page
    assert "| prompt | bold | 0 | IN | EI 0.250, SN 0.500 |" in page
    assert "distinct-bigrams" not in page
    html = report(summary, RECORDS, [], title="t", lead="l", command="c", settings={})
    assert 'href="#notes"' in html
    assert "<summary>mbti</summary>" in html
    assert "EN&lt;b&gt;" in html
    assert "EN<b>" not in html


def test_no_notes_no_section():
    plain = [record("base", "bold", choice={})]
    assert notes_of(plain) == []
    html = report(summarise(plain), plain, [], title="t", lead="l", command="c", settings={})
    assert 'id="notes"' not in html

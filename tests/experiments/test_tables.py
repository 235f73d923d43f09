"""Tables are tidy: keys are keys, measures are values of a column, and types are what they say."""

import dataclasses
import json

import pandas as pd
import pytest

from prosopon.evaluation.tasks import Outcome, TaskResult
from prosopon.experiments.tables import (
    cell_row,
    costs_of,
    measure_rows,
    write_samples,
    write_tables,
)


@pytest.fixture(scope="module")
def written(finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    return finished[1], [pd.read_parquet(p) if p.suffix == ".parquet" else pd.read_csv(p)
                         for p in write_tables(finished[1], folder)]  # fmt: skip


def test_one_row_a_question_and_measure_in_both_files(written):
    records, (parquet, csv, _) = written
    expected = sum(
        len(outcome.values)
        for record in records
        for result in record.results.values()
        for outcome in result.outcomes
    ) + sum(len(costs_of(record)) for record in records)
    assert len(parquet) == len(csv) == expected
    assert list(csv.columns) == list(parquet.columns)
    assert csv["value"].to_list() == pytest.approx(parquet["value"].to_list())


def test_the_opposite_s_name_and_the_measure_of_that_name_do_not_meet(written):
    records, (parquet, _, cells) = written
    assert set(parquet["opposite"]) == {"cautious"}
    assert {"opposite"} <= set(parquet["measure"])
    assert set(cells["opposite"]) == {"cautious"}
    shares = [
        sum(o.values["opposite"] for o in r.results["free-text"].outcomes) / 6 for r in records
    ]
    assert cells["free-text/opposite"].to_list() == pytest.approx(shares)


def test_types_are_what_they_say(written):
    _, (parquet, _, cells) = written
    assert str(parquet["value"].dtype) == "float64"
    assert str(parquet["seed"].dtype) == "int64"
    assert str(parquet["measure"].dtype).startswith("str")
    assert str(cells["choice/per-token"].dtype) == "float64"
    assert len(cells) == len(written[0])


def test_a_failed_cell_has_a_row_among_cells_alone(finished):
    failed = dataclasses.replace(
        finished[1][0], status="failed", message="why", results={}, cost={}, speed={}
    )
    assert list(measure_rows([failed])) == []
    row = cell_row(failed)
    assert (row["status"], row["message"]) == ("failed", "why")
    assert costs_of(failed) == {}


def test_samples_keep_any_text(finished, tmp_path):
    text = 'two\nlines, "quotes" and \N{PERFORMING ARTS}'
    result = TaskResult([Outcome("q", {"target": 1.0}, "Who?", text)])
    record = dataclasses.replace(finished[1][0], results={"free-text": result})
    (line,) = write_samples([record], tmp_path).read_text("utf-8").splitlines()
    sample = json.loads(line)
    assert (sample["answer"], sample["prompt"], sample["values"]) == (text, "Who?", {"target": 1.0})

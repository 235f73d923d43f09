"""Tables and figures of a sweep: tidy, complete, and averaged as they say."""

import dataclasses
import math
from statistics import fmean, stdev

import pytest

from prosopon.evaluation import MEASURES
from prosopon.sweep import markdown, summarise, write_tables
from prosopon.sweep.plots import write_plots
from prosopon.sweep.summary import COLUMNS


def test_one_row_a_cell_in_both_files(finished, tmp_path):
    import pandas as pd

    _, records = finished
    parquet, csv = write_tables(records, tmp_path)
    frame = pd.read_parquet(parquet)
    assert len(frame) == len(records)
    assert set(MEASURES) <= set(frame.columns)
    assert list(frame["key"]) == [record.key for record in records]
    assert frame["target"].tolist() == [record.measures["target"] for record in records]
    assert frame["skills"].isna().all()
    assert frame["skills"].dtype == "float64"
    again = pd.read_csv(csv)
    assert again["perplexity_ratio"].to_list() == pytest.approx(frame["perplexity_ratio"].to_list())
    assert set(again.columns) == set(frame.columns)


def test_means_over_seeds(finished):
    _, records = finished
    found = {(s.setting.arm, s.setting.sparsity, s.setting.examples): s for s in summarise(records)}
    assert len(found) == 2 + 2 * 2 * 3
    assert [s.setting.arm for s in summarise(records)][:2] == ["base", "prompt"]
    summary = found["contrastive-wanda", "0.4", 8]
    ours = [
        r.measures["perplexity_ratio"]
        for r in records
        if (r.cell.arm, r.cell.sparsity, r.cell.examples) == ("contrastive-wanda", 0.4, 8)
    ]
    assert len(ours) == summary.done == summary.seeds == 2
    interval = summary.over_seeds["perplexity_ratio"]
    assert interval.mean == pytest.approx(fmean(ours))
    assert interval.half_width == pytest.approx(12.7062 * stdev(ours) / math.sqrt(2), rel=1e-4)
    assert summary.over_personas["target"].half_width == math.inf  # one persona
    assert set(summary.over_seeds) <= set(COLUMNS)
    assert "skills" not in summary.over_seeds


def test_gain_is_against_the_base_of_the_same_seed(finished):
    _, records = finished
    base = {r.cell.seed: r.measures["target"] for r in records if r.cell.arm == "base"}
    summary = next(s for s in summarise(records) if s.setting.arm == "prompt")
    prompt = {r.cell.seed: r.measures["target"] for r in records if r.cell.arm == "prompt"}
    expected = fmean(prompt[seed] - base[seed] for seed in base)
    assert summary.over_seeds["gain"].mean == pytest.approx(expected)
    zero = next(s for s in summarise(records) if s.setting.arm == "base")
    assert (zero.over_seeds["gain"].low, zero.over_seeds["gain"].high) == (0, 0)


def test_the_page_shows_failures_and_unusual_options(finished):
    _, records = finished
    failed = dataclasses.replace(records[-1], status="failed", message="no | such thing")
    other = dataclasses.replace(
        records[-1],
        cell=dataclasses.replace(
            records[-1].cell, options={**records[-1].cell.options, "variant": "reference"}
        ),
    )
    page = markdown(summarise([*records[:-1], failed, other]), [*records[:-1], failed, other])
    assert "contrastive-wanda 0.4 variant=reference" in page
    assert "(1 cells) failed: no | such thing" in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1


def test_figures(finished, tmp_path):
    _, records = finished
    paths = write_plots(summarise(records), tmp_path)
    assert [path.name for path in paths] == ["frontier.svg", "sparsity.svg", "examples.svg"]
    assert all(path.read_text("utf-8").rstrip().endswith("</svg>") for path in paths)
    single = [r for r in records if r.cell.sparsity in (None, 0.1) and r.cell.examples in (0, 4)]
    assert [p.name for p in write_plots(summarise(single), tmp_path)] == ["frontier.svg"]
    assert write_plots([], tmp_path) == []


def test_summaries_are_json(finished):
    import json

    _, records = finished
    text = json.dumps([s.to_json() for s in summarise(records)], allow_nan=False)
    assert '"label": "contrastive-wanda 0.1"' in text

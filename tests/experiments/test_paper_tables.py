"""The paper's tables: its figures in their places, ours recounted from the answers themselves."""

import dataclasses
import json
import math
import re
from statistics import fmean

import pytest

from prosopon.evaluation.tasks import Outcome, TaskResult
from prosopon.experiments.experiment import Experiment
from prosopon.experiments.paper import find_sets
from prosopon.experiments.paper_plan import paper_parts, read_sets
from prosopon.experiments.paper_tables import (
    ABILITY,
    DIFFERENCES,
    NAMES,
    PERSONAS,
    ROLES,
    PaperTable,
    _loss,
    _percent,
    paper_tables,
    write_paper_tables,
)
from prosopon.experiments.plan import Cell
from prosopon.experiments.records import Record
from prosopon.intervals import Interval
from prosopon.models import LoadedModel
from tests.experiments.authors import write_axes, write_script, write_sets
from tests.experiments.test_paper_plan import SETTINGS
from tests.tiny import tiny_model

TINY = dataclasses.replace(
    SETTINGS,
    arms=("base", "prompt-paper", "wanda", "contrastive-wanda", "shortest"),
    tasks=("choice", "facts", "perplexity"),
)


def two_axes(part):
    """Return a part with the poles of two axes, which show what four would."""
    if part.name != "mbti":
        return part
    names = ("extravert", "introvert", "intuitive", "sensing")
    contrasts = {name: part.contrasts[name] for name in names}
    return dataclasses.replace(
        part, plan=dataclasses.replace(part.plan, contrasts=names), contrasts=contrasts
    )


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    """Return every part of the paper with its results, run on a tiny model."""
    folder = tmp_path_factory.mktemp("paper")
    data = folder / "data"
    data.mkdir()
    write_sets(data, ("power-seeking", "hallucination"), known=24, new=4)
    write_axes(data)
    write_script(data)
    general = folder / "general.txt"
    general.write_text("".join(f"Text {i} says a few plain words.\n" for i in range(8)))
    entries, _ = read_sets(find_sets(data)[0], 3, None)
    loaded = LoadedModel(*tiny_model("llama", chat=True), "tiny")
    return {
        part.name: (
            part,
            Experiment(
                part.plan, part.contrasts, folder / part.name, general=str(general),
                tables=False, plots=False,
            ).run(loaded),
        )
        for part in map(two_axes, paper_parts(entries, TINY))
    }  # fmt: skip


@pytest.fixture(scope="module")
def tables(findings):
    return {table.title: table for table in paper_tables(findings)}


def rows(table):
    return {row[0]: dict(zip(table.head, row, strict=True)) for row in table.rows}


def answers(findings, part, arm, contrasts, measure="per-token", **options):
    """Return a measure's values question by question, read from the records."""
    return [
        outcome.values[measure]
        for record in findings[part][1].records
        if record.cell.arm == arm and record.cell.contrast in contrasts
        and all(record.cell.options[name] == value for name, value in options.items())
        for outcome in record.results["choice"].outcomes
    ]  # fmt: skip


def leading(cell):
    """Return a cell's first number."""
    return float(re.match(r"[-+]?[\d.]+", cell)[0])


def test_every_table_is_there_in_the_paper_s_order(tables):
    assert list(tables) == [
        "AI Persona", "General ability", "Efficiency", "MBTI by axis", "Mask differences by axis",
        "Layer cosine, the ends of an axis", "MBTI by type", "Layer cosine, similar types",
        "Role-play by script", "Sensitivity to sparsity", "Sensitivity to calibration size",
    ]  # fmt: skip
    for table in tables.values():
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.head)}


def test_the_paper_s_methods_come_first_and_variants_are_told_apart(tables):
    assert [row[0] for row in tables["AI Persona"].rows] == [
        "prompt (prompt-paper)", "Wanda (wanda 0.3)", "contrastive-wanda under the prompt 0.3",
        "Contrastive-Wanda (contrastive-wanda 0.3)",
        "Contrastive-Wanda (contrastive-wanda 0.3 variant=reference)", "random mask",
        "shortest option", "base",
    ]  # fmt: skip


@pytest.mark.parametrize(("rule", "measure"), [("summed", "summed"), ("per token", "per-token")])
def test_shares_are_those_of_the_answers(findings, tables, rule, measure):
    table = rows(tables["AI Persona"])
    for name, arm in (("base", "base"), ("Wanda (wanda 0.3)", "wanda")):
        for contrast in ("power-seeking", "hallucination"):
            values = answers(findings, "ai-persona", arm, (contrast,), measure)
            assert len(values) == 3
            shown = leading(table[name][f"{contrast}, {rule}"])
            assert shown == pytest.approx(100 * fmean(values), abs=0.05)


def test_the_paper_s_figures_stand_beside_their_sets_and_methods(tables):
    table = rows(tables["AI Persona"])
    wanda = table["Wanda (wanda 0.3)"]
    assert wanda["power-seeking, summed"].endswith("(paper 51.5)")
    assert wanda["hallucination, summed"].endswith("(paper 89.0)")
    assert "paper" not in wanda["power-seeking, per token"]
    assert table["shortest option"]["hallucination, summed"].endswith("(paper 98.0)")
    assert "paper" not in table["base"]["power-seeking, summed"]
    for row in ("Contrastive-Wanda (contrastive-wanda 0.3)",
                "Contrastive-Wanda (contrastive-wanda 0.3 variant=reference)"):  # fmt: skip
        assert table[row]["power-seeking, summed"].endswith("(paper 54.0)")


def test_published_figures_are_those_of_the_paper():
    assert PERSONAS["contrastive-sparse"] == (56.5, 64.5, 96.0)
    assert PERSONAS["lora"] == (64.0, 71.0, 97.5)
    assert ROLES["contrastive-sparse"][-1] == 70.83
    assert DIFFERENCES["IE"] == (1.34, 1.28, 1.44)
    assert ABILITY["base"] == (0.378, 0.675)
    assert set(PERSONAS) - {"always-a"} <= set(NAMES)
    for name, published in PERSONAS.items():
        assert len(published) == 3, name


def test_loss_is_nats_a_token_over_the_base(findings, tables):
    def nats(arm):
        totals = [
            (outcome.values["nats"], outcome.values["tokens"])
            for record in findings["ai-persona"][1].records
            if record.cell.arm == arm
            for outcome in record.results["perplexity"].outcomes
        ]
        return sum(n for n, _ in totals) / sum(t for _, t in totals)

    table = rows(tables["AI Persona"])
    rise = nats("wanda") - nats("base")
    assert leading(table["Wanda (wanda 0.3)"]["loss"]) == pytest.approx(rise, abs=0.0006)
    assert f"x{math.exp(rise):.2f}" in table["Wanda (wanda 0.3)"]["loss"]
    assert table["base"]["loss"] == "+0.000 (x1.00)"
    assert table["shortest option"]["loss"] == "-"
    assert rows(tables["General ability"])["Wanda (wanda 0.3)"]["paper: MMLU"] == "0.369"


def test_an_axis_is_the_mean_of_its_ends(findings, tables):
    table = rows(tables["MBTI by axis"])
    assert tables["MBTI by axis"].head[1:4] == ("I/E", "N/S", "loss")
    for name, arm in (("Wanda (wanda 0.3)", "wanda"), ("base", "base")):
        ends = [answers(findings, "mbti", arm, (one,)) for one in ("introvert", "extravert")]
        cell = table[name]["I/E"]
        assert leading(cell) == pytest.approx(100 * fmean([*ends[0], *ends[1]]), abs=0.05)
        assert cell.endswith(f"(I {100 * fmean(ends[0]):.0f}, E {100 * fmean(ends[1]):.0f})")
    for axis in ("I/E", "N/S"):
        assert leading(table["base"][axis]) == 50.0


def test_a_type_is_asked_on_its_four_axes(findings, tables):
    part = findings["mbti-types"][0]
    table = rows(tables["MBTI by type"])
    for record in findings["mbti-types"][1].records:
        if record.cell.arm != "contrastive-wanda" or record.cell.contrast != "INFJ":
            continue
        outcomes = record.results["choice"].outcomes
        letters = [next(c for c in "INFJ" if o.question in part.letters[c]) for o in outcomes]
        assert letters == ["I", "N", "F"]
        shown = table["Contrastive-Wanda (contrastive-wanda 0.3)"]["INFJ"]
        shares = [
            f"{letter} {100 * outcome.values['per-token']:.0f}"
            for letter, outcome in zip("INF", outcomes, strict=True)
        ]
        assert shown.endswith(f"({', '.join(shares)}, J -)")


def test_masks_of_the_two_ends_are_counted(findings, tables):
    runner = findings["mbti"][1].runner
    masks = runner.masks("wanda", ("introvert", "extravert"))
    assert set(masks) == {"introvert", "extravert"}
    counts = {"all": [0, 0], "attention": [0, 0], "MLP": [0, 0]}
    for site, keep in masks["introvert"].keep.items():
        differ = int((keep != masks["extravert"].keep[site]).sum())
        for kind in ("all", "attention" if "attn" in site else "MLP"):
            counts[kind][0] += differ
            counts[kind][1] += keep.numel()
    row = next(r for r in tables["Mask differences by axis"].rows if r[:2] == ("Wanda", "I-E"))
    for (differ, total), cell, paper in zip(
        counts.values(), row[2:5], DIFFERENCES["IE"], strict=True
    ):
        assert differ > 0
        assert cell == f"{differ / total:.2%} (paper {paper:.2f}%)"
    # Contrastive masks of the two ends differ more than two random ones of their size.
    row = next(r for r in tables["Mask differences by axis"].rows if r[0] == "Contrastive-Wanda")
    assert leading(row[2]) > leading(row[5]) > 40


def test_cosines_are_those_of_the_first_and_the_last_layer(findings, tables):
    masks = findings["mbti-types"][1].runner.masks("contrastive-wanda")
    other, row = tables["Layer cosine, similar types"].rows
    assert other[:2] == ("Wanda", "INFJ-INFP")
    assert row[:2] == ("Contrastive-Wanda", "INFJ-INFP")
    assert row[-1] == "0.9883 in layer 39"
    for layer, cell in ((0, row[2]), (1, row[6])):
        ours, theirs = (
            [keep.flatten().double() for site, keep in masks[kind].keep.items()
             if f".{layer}." in site]
            for kind in ("INFJ", "INFP")
        )  # fmt: skip
        dot = sum(float(a @ b) for a, b in zip(ours, theirs, strict=True))
        sizes = [math.sqrt(sum(float(x.sum()) for x in side)) for side in (ours, theirs)]
        assert cell == f"{dot / sizes[0] / sizes[1]:.4f}"


def test_scripts_are_the_mean_over_their_roles(findings, tables):
    table = rows(tables["Role-play by script"])
    roles = ("Friends-reaction-Joey", "Friends-reaction-Monica-Geller")
    for name, arm in (("base", "base"), ("prompt (prompt-paper)", "prompt-paper")):
        values = answers(findings, "role-play", arm, roles, "summed")
        assert len(values) == 6
        shown = table[name]["Friends, summed"]
        assert leading(shown) == pytest.approx(100 * fmean(values), abs=0.05)
    assert table["prompt (prompt-paper)"]["Friends, summed"].endswith("(paper 18.4)")


def test_efficiency_and_sensitivity_say_what_was_varied(tables):
    table = rows(tables["Efficiency"])
    assert table["Wanda (wanda 0.3)"]["pruned_share"].endswith("%")
    assert int(table["prompt (prompt-paper)"]["added_tokens"]) > 0
    assert table["base"]["bytes"] == "0"
    shares = [row[1:3] for row in tables["Sensitivity to sparsity"].rows]
    assert shares == [("0.1", "4"), ("0.5", "4"), ("-", "-")]
    sizes = [row[1:3] for row in tables["Sensitivity to calibration size"].rows]
    assert sizes == [("0.3", "2"), ("0.3", "4"), ("-", "-")]
    assert tables["Sensitivity to sparsity"].note.startswith("On hallucination.")


def test_a_part_alone_has_its_own_tables(findings):
    some = {"role-play": findings["role-play"]}
    assert [table.title for table in paper_tables(some)] == ["Role-play by script"]
    assert paper_tables({}) == []


def test_both_files_hold_every_table(tables, tmp_path):
    path = write_paper_tables(list(tables.values()), ["a row was left out"], tmp_path)
    page = path.read_text()
    assert page.startswith("# The paper's tables\n\n- a row was left out\n")
    for title in tables:
        assert f"\n## {title}\n" in page
    values = json.loads((tmp_path / "tables.json").read_text())["tables"]
    assert [tuple(map(tuple, value["rows"])) for value in values] == [
        table.rows for table in tables.values()
    ]


def test_cells_as_text():
    assert _percent(None) == "-"
    assert _percent(None, 41.0) == "- (paper 41.0)"
    assert _percent(Interval(0.5, 0.25, 0.75, 8), 54.0) == "50.0 [25, 75] (paper 54.0)"
    assert _percent(Interval(1.0, 0.0, 1.0, 1)) == "100.0"


def record(arm, nats):
    outcome = Outcome("text-0", {"nats": nats, "tokens": 10.0, "nats-per-token": nats / 10})
    return Record(arm, Cell("bold", arm, 0), "done", results={"perplexity": TaskResult([outcome])})


def test_a_loss_without_a_base_or_without_text_is_none():
    ours, base = record("wanda", 30.0), record("base", 20.0)
    assert _loss([ours], [base]) == f"+1.000 (x{math.e:.2f})"
    assert _loss([ours], []) == "-"
    assert _loss([dataclasses.replace(ours, results={})], [base]) == "-"
    assert PaperTable("t", ("a",), (("b",),), "n").head == ("a",)

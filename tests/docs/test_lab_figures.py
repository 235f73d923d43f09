"""The tables of docs/lab/real-masks.md that whole records carry are those of the records."""

import sys
from zipfile import ZipFile

import pytest
from tools.report_real import read

from prosopon.experiments.frontier import frontier_points
from tests.docs.test_figures import (
    ADDED,
    BLIND,
    DOCS,
    REPORT,
    by_arm,
    contrasts_of,
    mean,
    table,
)
from tools import blind_reading

LAB = DOCS / "lab" / "real"
PAGE = (DOCS / "lab" / "real-masks.md").read_text("utf-8")
COLUMNS = {
    "margin gained": "margin", "target": "target", "target, judged": "target",
    "recital": "recital", "recite": "recital", "unseen recital": "unseen",
    "recite unseen": "unseen", "text ppl": "perplexity", "loss, other text": "loss",
}  # fmt: skip
NAMES = {"log p": "contrastive-kl", "q = 0.3": "contrastive-kl likelihood_power=0.3"}


@pytest.mark.parametrize(
    ("heading", "records", "arms"),
    [
        ("## Run 15", "run15.zip", 3), ("## Run 16", "seed-1.zip", 3),
        ("## Run 17", "../../real/records.zip", 5),
    ],
)  # fmt: skip
def test_a_table_is_what_its_records_say(heading, records, arms):
    points = {p.arm: p for p in frontier_points(read(LAB / records)[0]) if not p.contrast}
    rows = table(PAGE, heading)
    assert len(rows) == arms
    for row in rows:
        arm, *_ = row.values()
        point = points[NAMES.get(arm, arm)]
        for column, name in COLUMNS.items():
            if column in row:
                assert f"{getattr(point, name).mean:.3f}" == row[column], (arm, column)


def test_what_was_read_blind_in_run_15_is_what_readers_wrote(tmp_path, monkeypatch):
    with ZipFile(LAB / "run15-blind.zip") as archive:
        archive.extractall(tmp_path / "blind")
    place = tmp_path / "page.md"
    words = ["x", "score", str(tmp_path / "blind"), "--beside", "contrastive-kl"]
    monkeypatch.setattr(sys, "argv", [*words, "--page", str(place)])
    blind_reading.main()
    text = place.read_text("utf-8")
    labelled = {row["arm"]: row for row in table(text, "# Read blind")}
    for row in table(PAGE, "## Run 15"):
        arm, *_ = row.values()
        own = labelled[NAMES.get(arm, arm)]
        for column, name in {
            "target, read blind": "target",
            "sense": "sense",
            "both": "both",
        }.items():
            assert own[name].split(" [")[0] == row[column], (arm, column)
    (beside,) = (row for row in table(text, "## Beside") if row["arm"] == NAMES["q = 0.3"])
    section = PAGE[PAGE.index("## Run 15") : PAGE.index("## Run 16")]
    assert all(beside[column] in section for column in ("target", "sense", "both"))


def test_what_was_read_blind_in_run_17_is_the_report_s():
    labelled = {row["arm"]: row for row in table(BLIND, "# Read blind")}
    for row in table(PAGE, "## Run 17"):
        own = labelled[next(iter(row.values()))]
        for column, name in {
            "target, read blind": "target",
            "sense": "sense",
            "both": "both",
        }.items():
            assert own[name].split(" [")[0] == row[column], column


def test_run_17_by_persona_and_beside_its_rivals():
    section = PAGE[PAGE.index("## Run 17") :]
    for name, arms in contrasts_of(REPORT).items():
        rows = [arms[arm] for arm in ("contrastive-kl", ADDED, "weight-steering")]
        assert f"{name} {', '.join(mean(row['margin gained']) for row in rows)}" in section
    losses = (("contrastive-kl", "bold"), ("contrastive-kl", "casual"),
              ("contrastive-kl", "introvert"), (ADDED, "casual"), (ADDED, "introvert"))  # fmt: skip
    for arm, name in losses:
        assert f"{mean(contrasts_of(REPORT)[name][arm]['loss'])} on {name}" in section, arm
    beside = by_arm(REPORT, "## The mask beside each")["weight-steering at 0.05"]["margin"]
    assert f"{beside} more margin than weight steering" in section
    added = by_arm(BLIND, "## Beside contrastive-kl")[ADDED]
    assert f"in {added['target']} more of its answers" in section
    assert f"with sense in {added['both']} more" in section


def test_the_product_s_mask_is_what_its_records_say():
    points = frontier_points(read(LAB / "run15-product.zip")[0])
    (own,) = (p for p in points if p.arm == NAMES["q = 0.3"])
    figures = own.margin, own.loss, own.target, own.perplexity
    gains, costs, share, text = (f"{figure.mean:.3f}" for figure in figures)
    said = f"gains {gains} at {costs}, with {share} on target and a perplexity of {text};"
    assert said in PAGE

"""The tables of docs/lab/real-masks.md that whole records carry are those of the records."""

import sys
from zipfile import ZipFile

import pytest
from tools.report_real import read

from prosopon.experiments.frontier import frontier_points, gain_over
from prosopon.experiments.markdown import show
from tests.docs.test_figures import ADDED, BLIND, DOCS, REPORT, SEED_1, by_arm, mean, table
from tools import blind_reading

LAB = DOCS / "lab" / "real"
PAGE = (DOCS / "lab" / "real-masks.md").read_text("utf-8")
COLUMNS = {
    "margin gained": "margin", "target": "target", "target, judged": "target",
    "recital": "recital", "recite": "recital", "unseen recital": "unseen",
    "recite unseen": "unseen", "text ppl": "perplexity", "loss, other text": "loss",
}  # fmt: skip
NAMES = {"log p": "contrastive-kl", "q = 0.3": "contrastive-kl likelihood_power=0.3"}


ROWS_18 = 10
FIVE = ("base", "prompt", "weight-steering", "contrastive-kl", "contrastive-lora")
"""The arms of run 17; the report has got more of them since, and more seeds."""


def section(number):
    """Return what the page says of a run."""
    return PAGE[PAGE.index(f"## Run {number}") :].split("\n## ")[0]


def records_of(name):
    """Return the records of a run, of a file beside the page or of the report."""
    if name not in ("run 17", "run 18"):
        return read(LAB / name)[0]
    report = read(DOCS / "real" / "records.zip")[0]
    if name == "run 18":
        return [record for record in report if record.cell.at_loss in (0.0, 0.05)]
    return [record for record in report if record.cell.seed == 0 and record.cell.arm in FIVE]


def read_blind(name, folder, monkeypatch):
    """Return the page of a blind reading whose sheets and labels are zipped beside the page."""
    with ZipFile(LAB / name) as archive:
        archive.extractall(folder / "blind")
    place = folder / "page.md"
    words = ["x", "score", str(folder / "blind"), "--beside", "contrastive-kl"]
    monkeypatch.setattr(sys, "argv", [*words, "--page", str(place)])
    blind_reading.main()
    return place.read_text("utf-8")


def compare_with_readers(page, run):
    """Check a run's columns of blind reading against a page."""
    labelled = {row["arm"]: row for row in table(page, "# Read blind")}
    for row in table(PAGE, f"## Run {run}"):
        arm, *_ = row.values()
        own = labelled.get(NAMES.get(arm, arm))
        for column, name in {
            "target, read blind": "target",
            "sense": "sense",
            "both": "both",
        }.items():
            if own is None:  # nobody read it
                assert row[column] == "-"
                continue
            assert own[name].split(" [")[0] == row[column], (arm, column)


@pytest.mark.parametrize(
    ("heading", "records", "arms"),
    [
        ("## Run 15", "run15.zip", 3), ("## Run 16", "seed-1.zip", 3), ("## Run 17", "run 17", 5),
        ("## Run 18", "run 18", ROWS_18), ("## Run 19", "run19.zip", 3),
    ],
)  # fmt: skip
def test_a_table_is_what_its_records_say(heading, records, arms):
    points = {p.arm: p for p in frontier_points(records_of(records)) if not p.contrast}
    rows = table(PAGE, heading)
    assert len(rows) == arms
    for row in rows:
        arm, *_ = row.values()
        point = points[NAMES.get(arm, arm)]
        for column, name in COLUMNS.items():
            if column in row:
                figure = getattr(point, name)
                said = "-" if figure is None else f"{figure.mean:.3f}"
                assert said == row[column], (arm, column)


def test_what_was_read_blind_in_run_15_is_what_readers_wrote(tmp_path, monkeypatch):
    text = read_blind("run15-blind.zip", tmp_path, monkeypatch)
    compare_with_readers(text, 15)
    (beside,) = (row for row in table(text, "## Beside") if row["arm"] == NAMES["q = 0.3"])
    assert all(beside[column] in section(15) for column in ("target", "sense", "both"))


def test_what_was_read_blind_in_run_17_is_what_readers_wrote(tmp_path, monkeypatch):
    text = read_blind("run17-blind.zip", tmp_path, monkeypatch)
    compare_with_readers(text, 17)
    (added,) = (row for row in table(text, "## Beside") if row["arm"] == ADDED)
    assert f"in {added['target']} more of its answers" in section(17)
    assert f"with sense in {added['both']} more" in section(17)


def test_run_17_by_persona_and_beside_its_rivals():
    records = records_of("run 17")
    points = {(p.contrast, p.arm): p for p in frontier_points(records)}
    for name in {contrast for contrast, _ in points if contrast}:
        gains = [points[name, arm].margin for arm in ("contrastive-kl", ADDED, "weight-steering")]
        assert f"{name} {', '.join(f'{gain.mean:.3f}' for gain in gains)}" in section(17)
    losses = (("contrastive-kl", "bold"), ("contrastive-kl", "casual"),
              ("contrastive-kl", "introvert"), (ADDED, "casual"), (ADDED, "introvert"))  # fmt: skip
    for arm, name in losses:
        assert f"{points[name, arm].loss.mean:.3f} on {name}" in section(17), arm
    ours, theirs = (
        [record for record in records if record.cell.arm == arm]
        for arm in ("contrastive-kl", "weight-steering")
    )
    assert f"{show(gain_over(ours, theirs))} more margin than weight steering" in section(17)


def test_run_18_is_the_report_and_its_two_readings():
    compare_with_readers(BLIND, 18)
    shown, measured = (
        table(page[page.index(start) :], "margin gained" if page is PAGE else "Margin gained:")
        for page, start in ((PAGE, "Where other text loses exactly"), (REPORT, "## Level by level"))
    )
    assert {row["arm"]: row for row in shown} == {row["arm"]: row for row in measured}
    beside = by_arm(REPORT, "## The mask beside each")
    for rival in ("few-shot", "lora at 0.05", "steering at 0.05", "weight-steering at 0.05"):
        assert f"by {beside[rival]['margin']}" in section(18), rival
        assert f"and {beside[rival]['target']}" in section(18), rival
    read = by_arm(SEED_1, "# Read blind")
    said = "in {} of the mask's answers, in {} of weight steering's, in {} of the steering vector's"
    arms = ("contrastive-kl", "weight-steering", "steering")
    assert said.format(*(mean(read[arm]["both"]) for arm in arms)) in section(18)
    levels = {row["level"]: row for row in table(REPORT, "## Level by level")
              if row["arm"] == "contrastive-kl"}  # fmt: skip
    few, middle, many = (float(mean(levels[at]["margin gained"])) for at in ("0.02", "0.05", "0.1"))
    assert f"keeps {few / middle:.2f} of its margin, at 0.1 it has {many / middle:.2f}" in PAGE


def test_seeds_of_run_18_differ_as_it_says():
    main = [r for r in records_of("run 18") if r.cell.contrast in ("introvert", "bold", "casual")]
    gains, prices = {}, []
    for seed in (0, 1, 2):
        for point in frontier_points([r for r in main if r.cell.seed == seed]):
            if not point.contrast and point.arm in ("contrastive-kl", ADDED):
                gains.setdefault(point.arm, []).append(f"{point.margin.mean:.3f}")
                if point.arm != ADDED:
                    prices.append(f"{point.loss.mean:.3f}")
    ours, theirs = gains["contrastive-kl"], gains[ADDED]
    assert "gains {}, {} and {} with seeds 0, 1 and 2".format(*ours) in section(18)
    assert "`contrastive-lora` {}, {} and {}.".format(*theirs) in section(18)
    assert "other text loses {}, {} and {} under the masks".format(*prices) in section(18)


def test_what_was_read_blind_in_run_19_is_what_readers_wrote(tmp_path, monkeypatch):
    text = read_blind("run19-blind.zip", tmp_path, monkeypatch)
    compare_with_readers(text, 19)
    (few,) = table(text, "## Beside")
    for column, words in (("target", "the persona in"), ("sense", "sense in")):
        middle, low, high = few[column].replace("-", "").replace(",", "").replace("]", "").split()
        assert f"{words} {middle} [{high}, {low[1:]}] fewer" in section(19)


def test_run_19_has_half_the_margin():
    records = records_of("run19.zip")
    few, many = (
        [record for record in records if record.name == name]
        for name in ("contrastive-kl rounds=10 at 0.05", "contrastive-kl at 0.05")
    )
    gap = gain_over(many, few)
    assert f"{show(gap)} less, question by question" in section(19)
    points = {p.arm: p.either.mean for p in frontier_points(records) if not p.contrast}
    said = "By either judge {:.3f} of the answers are the persona's, with thirty {:.3f}."
    shares = points["contrastive-kl rounds=10"], points["contrastive-kl"]
    assert said.format(*shares) in section(19)


def test_the_product_s_mask_is_what_its_records_say():
    points = frontier_points(read(LAB / "run15-product.zip")[0])
    (own,) = (p for p in points if p.arm == NAMES["q = 0.3"])
    figures = own.margin, own.loss, own.target, own.perplexity
    gains, costs, share, text = (f"{figure.mean:.3f}" for figure in figures)
    said = f"gains {gains} at {costs}, with {share} on target and a perplexity of {text};"
    assert said in PAGE

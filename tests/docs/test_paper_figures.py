"""What docs/real/paper.md says of the sixteen types is what the records of its runs say."""

import math
from collections import defaultdict
from statistics import fmean
from zipfile import ZipFile

import pytest

from prosopon.data.mbti import TYPES
from prosopon.experiments.columns import Column, estimate
from prosopon.experiments.store import Results
from prosopon.intervals import paired_difference
from tests.docs.test_figures import DOCS, table

PAGE = (DOCS / "real" / "paper.md").read_text("utf-8")
FOLDERS = ("mbti-types", "mbti-types-a", "mbti-types-b")
CHOICE = Column("", "choice", "per-token", "")
NATS = Column("", "perplexity", "nats", "", tokens="tokens")
NAMES = {"base": "base", "prompt": "prompt-paper", "Contrastive-Wanda": "contrastive-wanda"}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Return the records of the types by (arm, type)."""
    folder = tmp_path_factory.mktemp("paper")
    with ZipFile(DOCS / "real" / "paper.zip") as archive:
        archive.extractall(folder)
    every = [record for name in FOLDERS for record in Results.open(folder / name).records()]
    return {(r.cell.arm, r.cell.contrast): r for r in every if r.status == "done"}


def test_the_table_holds_all_sixteen(records):
    rows = table(PAGE, "## MBTI by type")
    assert {row["type"] for row in rows} == set(TYPES)
    for row in rows:
        for column, arm in NAMES.items():
            share = estimate([records[arm, row["type"]]], CHOICE).mean
            assert row[column].split()[0] == f"{100 * share:.1f}", (row["type"], column)
        ours, base = (records[arm, row["type"]] for arm in ("contrastive-wanda", "base"))
        loss = math.log(estimate([ours], NATS).mean / estimate([base], NATS).mean)
        assert row["its loss"].startswith(f"+{loss:.2f} ")


def test_over_all_types_nothing_is_shown(records):
    sums = {arm: defaultdict(list) for arm in NAMES.values()}
    for (arm, _), record in records.items():
        if arm in sums:
            for outcome in record.results["choice"].outcomes:
                sums[arm][outcome.question].append(outcome.values["per-token"])
    shares = {arm: [fmean(own[question]) for question in own] for arm, own in sums.items()}
    base, ours = shares["base"], shares["contrastive-wanda"]
    assert f"the base has {100 * fmean(base):.0f}. The prompt has" in PAGE
    assert f"The prompt has {100 * fmean(shares['prompt-paper']):.1f}." in PAGE
    gap = paired_difference(ours, base)
    low, high = gap.difference.low, gap.difference.high
    said = f"{gap.difference.mean:.3f} [{low:.3f}, {high:.3f}] more"
    assert f"Contrastive-Wanda has {100 * fmean(ours):.1f}, {said} over the {len(ours)}" in PAGE
    assert f"(p {gap.p:.3f})" in PAGE
    assert low < 0 < high


def test_lora_and_retrieval_stand_beside_the_masks(tmp_path):
    with ZipFile(DOCS / "real" / "paper.zip") as archive:
        archive.extractall(tmp_path)
    rivals = Results.open(tmp_path / "ai-persona-rivals").records()
    by_place = {(r.cell.arm, r.cell.contrast): r for r in rivals}
    summed = Column("", "choice", "summed", "")
    for heading, who in (("## AI Persona", "power-seeking"), ("Wealth-seeking,", "wealth-seeking")):
        section = PAGE[PAGE.index(heading) :]
        for name, arm in (("retrieval", "retrieval"), ("LoRA", "lora")):
            row = section[section.index(f"\n| {name} |") :].splitlines()[1].split(" | ")
            own = [by_place[arm, who]]
            for column, cell in ((summed, row[1]), (CHOICE, row[3])):
                share = 100 * estimate(own, column).mean
                assert cell.startswith(f"{share:.1f} ["), (who, name, column)

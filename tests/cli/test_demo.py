"""The demo of one persona, with fewer questions and rounds; `make demo` shows two."""

import dataclasses
import json

import pytest

from prosopon.experiments import demonstration
from prosopon.experiments.demonstration import DEMO_ARMS
from prosopon.extraction import ExtractionSettings
from tests.commands import run_command

SIZES = {"calibration": 16, "choices": 12, "unseen": 4, "answers": 8, "neutral": 12}
QUICK = {"contrastive-taylor": ({"rounds": 5},)}
GENERAL = 16


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder, whole = tmp_path_factory.mktemp("demo"), demonstration.demo_plan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demonstration, "SIZES", SIZES)
        patch.setitem(ExtractionSettings.__init__.__kwdefaults__, "general_count", GENERAL)
        patch.setattr(
            demonstration, "demo_plan",
            lambda *given: dataclasses.replace(whole(*given), options=QUICK),
        )  # fmt: skip
        done = run_command("demo", "--personas", "extravert", "--json", "out.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout, json.loads((folder / "out.json").read_text())


def rows(record, arm):
    found = [row for row in record["arms"] if row["arm"] == arm]
    assert {row["persona"] for row in found} == {"extravert"}
    return found


def test_json_has_every_arm(demo):
    record = demo[2]
    assert {row["arm"] for row in record["arms"]} == set(DEMO_ARMS)
    for row in record["arms"]:
        assert sum(row["free_text"].values()) == pytest.approx(1)
        for key in ("choice_rate", "neutral_accuracy", "pruned_share"):
            assert 0 <= row[key] <= 1
    for arm in ("base", "prompt"):
        assert all(row["pruned_share"] == 0 for row in rows(record, arm))
    for arm in ("random", "wanda", "contrastive-wanda"):
        assert all(row["pruned_share"] == pytest.approx(0.3, abs=0.01) for row in rows(record, arm))


def test_light_masks_wear_the_persona_without_harm(demo):
    record = demo[2]
    for row in rows(record, "contrastive-taylor"):
        assert 0 < row["pruned_share"] <= 0.02
        assert row["choice_rate"] >= 0.9
        assert row["free_text"]["target"] >= 0.8
        base = next(r for r in rows(record, "base") if r["persona"] == row["persona"])
        assert row["neutral_accuracy"] >= base["neutral_accuracy"] - 0.05


def test_what_is_printed(demo):
    folder, shown, _ = demo
    for word in (
        "base model",
        "extravert",
        *DEMO_ARMS,
        "demo-artifacts",
        "prosopon chat",
    ):
        assert word in shown
    made = {path.name for path in (folder / "demo-artifacts").iterdir()}
    assert "results.json" in made
    assert "extravert-contrastive-taylor" in made

"""The story personas: new things are new, and words are counted as words."""

import argparse
from statistics import fmean

import pytest

from prosopon.experiments import Results
from tests.tiny import tiny_model
from tools import criteria_table, stories


def test_the_test_is_new():
    known, new = stories.write("known", 256, "a"), stories.write("new", 256, "b")
    for kind in ("opening", "happy", "sad"):
        assert not {row[kind] for row in known} & {row[kind] for row in new}
    assert not any("{" in text for row in known + new for text in row.values())


def test_sides_share_their_openings():
    sides = stories.personas()
    assert len(sides["happy"]) == len(sides["sad"]) == stories.POOL
    for ours, theirs in zip(sides["happy"].examples, sides["sad"].examples, strict=True):
        assert ours.response.split(". ")[0] == theirs.response.split(". ")[0]
        assert stories.has_word(ours.response, "happy")
        assert not stories.has_word(ours.response, "sad")
        assert stories.has_word(theirs.response, "sad")
        assert not stories.has_word(theirs.response, "happy")


def test_words_are_whole():
    assert stories.has_word("She was HAPPY.", "happy")
    assert not stories.has_word("He was unhappy on the saddle.", "happy")
    assert not stories.has_word("He sat on the saddle.", "sad")


@pytest.mark.parametrize("start", [True, False])
def test_a_run_prints_a_row_for_every_persona_and_arm(tmp_path, monkeypatch, start):
    monkeypatch.setattr(stories, "KNOWN", 32)
    model, tokenizer = tiny_model("llama")
    model.save_pretrained(tmp_path / "m")
    tokenizer.save_pretrained(tmp_path / "m")
    args = argparse.Namespace(
        model=str(tmp_path / "m"), out=tmp_path / "s", criteria="contrastive-wanda",
        sparsity="default", option=None, examples="4", seeds="0", pairs=4, stories=6, tokens=5,
        general=4, controls=True, retry=False, device="cpu", start=start,
    )  # fmt: skip
    records = stories.run(args).records
    assert {record.status for record in records} == {"done"}
    lines = stories.table(records).splitlines()
    assert len(lines) == 2 + 2 * 5
    assert len({line.count("|") for line in lines}) == 1
    results = Results.open(tmp_path / "s")
    assert (results.header["general"] == "sampled") is start
    choice = {
        r.cell.contrast: fmean(o.values["summed"] for o in r.results["choice"].outcomes)
        for r in records
        if r.cell.arm == "base"
    }
    assert choice["happy"] + choice["sad"] == 1
    page = criteria_table.page(results)
    assert "mean over 2 personas" in page
    assert page.count("\n| ") == 2 + 5

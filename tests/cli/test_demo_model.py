"""``demo --model``: one persona of a chat model, run on a tiny one from a folder."""

import json

import pytest

from prosopon.experiments import Source, real_demo
from prosopon.subnetwork import Subnetwork
from tests.commands import run_command
from tests.tiny import tiny_model

SMALL = {"pairs": 4, "general": 3, "held_out": 4, "questions": 6, "open": 4, "facts": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("real") / "tiny"
    model, tokenizer = tiny_model("llama", chat=True)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(real_demo, "SIZES", SMALL)
    monkeypatch.setattr(real_demo, "LONGEST", 4)


def test_the_command(folder, tmp_path):
    done = run_command("demo", "--model", str(folder), "--json", "out.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "shares of 4 sampled answers (temperature 0.7) by the judge" in text
    assert "cold warm neither recital facts nats" in text
    assert "words: cross-validated accuracy" in text
    mask = Subnetwork.from_pretrained(tmp_path / "demo-artifacts/cold-contrastive-kl")
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["answers"][0]["question"].split()[0] in text
    assert mask.pruned == record["pruned"]
    assert record["model"] == mask.base_model == str(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "bold,formal"], "takes one persona, not 2"),
        (["-p", "nobody"], "unknown persona of the library 'nobody'."),
        (["-p", "library:pirate"], "has no chat template"),
    ],
)
def test_refusals(tmp_path, arguments, message):
    model, tokenizer = tiny_model("llama", chat=False)
    model.save_pretrained(tmp_path / "plain")
    tokenizer.save_pretrained(tmp_path / "plain")
    done = run_command("demo", "--model", "plain", *arguments, cwd=tmp_path)
    assert done.returncode != 0
    assert message in done.stderr


def test_json_on_stdout_is_all_that_is_printed(folder, tmp_path):
    done = run_command(
        "demo", "--model", str(folder), "-p", "formal", "--json", "-", "-o", "here", cwd=tmp_path
    )
    record = json.loads(done.stdout)
    assert (record["persona"], record["opposite"]) == ("formal", "casual")
    asked = [row["question"] for row in record["answers"]]
    held_out = (
        Source(target="library:formal").contrasts("tiny", SMALL["questions"])["formal"].items()
    )
    assert len(asked) == 4
    assert set(asked) <= {item.prompt[-1].content for item in held_out}
    assert any(line.startswith("words: cross-validated accuracy") for line in record["judge"])
    assert json.loads((tmp_path / "here/results.json").read_text()) == record
    assert set(record["seconds"]) == {"extraction", "asking"}
    assert done.stderr.startswith("sampling general text: 0/3 (0%)")

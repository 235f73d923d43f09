"""``demo --model``: one persona of a chat model, run on a tiny one from a folder."""

import json

import pytest

from prosopon.data import load_bank
from prosopon.experiments import real_demo
from prosopon.subnetwork import Subnetwork
from tests.commands import run_command
from tests.tiny import tiny_model

SMALL = {"pairs": 4, "general": 3, "held_out": 2, "open": 2, "facts": 3}


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
    monkeypatch.setattr(real_demo, "TOKENS", {"open": 4, "facts": 4})


def test_the_command(folder, tmp_path):
    done = run_command("demo", "--model", str(folder), "--json", "out.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "neutral questions answered rightly" in done.stdout
    assert load_bank("style").questions[0][:12] in done.stdout
    mask = Subnetwork.from_pretrained(tmp_path / "demo-artifacts/casual-contrastive-kl")
    record = json.loads((tmp_path / "out.json").read_text())
    assert mask.pruned == record["pruned"]
    assert record["model"] == mask.base_model == str(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["-p", "bold,formal"], "takes one persona, not 2"), ([], "has no chat template")],
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
        "demo", "--model", str(folder), "-p", "bold", "--json", "-", "-o", "here", cwd=tmp_path
    )
    record = json.loads(done.stdout)
    assert (record["persona"], record["opposite"]) == ("bold", "cautious")
    assert [row["question"] for row in record["answers"]] == load_bank("risk").questions[:2]
    assert json.loads((tmp_path / "here/results.json").read_text()) == record
    assert set(record["seconds"]) == {"extraction", "asking"}
    assert done.stderr.startswith("sampling general text: 0/3 (0%)")

"""``prosopon export``: the persona's own model, its options, and what is said at the end."""

import json

import pytest

from prosopon.cli import export
from prosopon.subnetwork import Subnetwork, write_pack
from tests.runtime.samples import subnetwork
from tests.tiny import tiny_model


@pytest.fixture
def mask(tiny_folder, tmp_path):
    """A mask that says where its model lies."""
    mask = subnetwork(tiny_model(chat=True)[0], "bold", ranked=True)
    mask.config = mask.config.model_copy(update={"base_model": str(tiny_folder)})
    mask.save_pretrained(tmp_path / "personas/bold-x")
    return tmp_path


def test_the_persona_says_which_model(prosopon, mask):
    done = prosopon("export", "bold", "-f", "checkpoint", "-o", "out", "--json")
    record = json.loads(done.stdout)
    assert record["persona"] == "bold"
    assert (mask / "out/config.json").is_file()
    again = prosopon("export", "bold", "-f", "checkpoint", "-o", "out", code=2)
    assert "give --force" in again.stderr
    prosopon("export", "bold", "-f", "checkpoint", "-o", "out", "--force")


def test_one_of_a_pack(prosopon, mask, tiny_folder):
    whole = Subnetwork.from_pretrained(mask / "personas/bold-x")
    write_pack(mask / "x.pack", {"one": whole, "two": whole.at_strength(0.5)})
    both = prosopon("export", "x.pack", "-m", tiny_folder, "-f", "shira", "-o", "out", code=2)
    assert "a pack of several, write x.pack#NAME: one, two" in both.stderr
    options = ("-m", tiny_folder, "-f", "checkpoint", "-o", "out", "--json")
    done = json.loads(prosopon("export", "x.pack#two", *options).stdout)
    assert done["pruned"] == whole.at_strength(0.5).pruned


def test_options_may_name_their_format(prosopon, mask):
    refused = prosopon(
        "export", "bold", "-f", "lora", "-o", "out", "--option", "shira.rank=2", code=2
    )
    assert "'shira' does not take part here" in refused.stderr
    refused = prosopon(
        "export", "bold", "-f", "lora", "-o", "out", "--option", "lora.rank=none", code=2
    )
    assert "rank" in refused.stderr


def test_what_is_said(capsys):
    result = {
        "persona": "[bold]", "pruned": 1234, "total": 5678, "format": "lora", "bytes": 2_500_000,
        "folder": "out", "notes": ["a note"],
        "divergence": {"adapter": 0.01, "base": 0.5, "tokens": 10, "prompts": 2},
    }  # fmt: skip
    export._show(result)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[bold]: 1,234 of 5,678 weights, as lora, 2.5 MB"
    assert lines[1] == "a note"
    assert "0.0100 nats a token; the base model's is 0.5000 (10 tokens of 2 prompts)" in lines[2]
    assert lines[3] == "written to out"
    del result["notes"], result["divergence"]
    export._show(result)
    assert len(capsys.readouterr().out.splitlines()) == 2

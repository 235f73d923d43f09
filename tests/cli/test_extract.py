"""``prosopon extract``: what its options mean, and what it says at the end."""

import json

import pytest

from prosopon.cli import extract
from prosopon.errors import OptionError
from prosopon.subnetwork import Subnetwork


def test_sparsity():
    assert extract.parse_sparsity(None) is None
    assert extract.parse_sparsity("auto") == "auto"
    assert extract.parse_sparsity("0.25") == 0.25
    with pytest.raises(OptionError, match="--sparsity 'much': give a number or 'auto'"):
        extract.parse_sparsity("much")


def test_what_has_no_meaning_is_refused():
    extract.refuse("here", {"--a": None})
    with pytest.raises(OptionError, match="--b has no meaning in here"):
        extract.refuse("here", {"--a": None, "--b": 1})
    extract.check_scope(None)
    extract.check_scope("all")
    with pytest.raises(OptionError, match="unknown scope 'some'"):
        extract.check_scope("some")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two files of three and two answers to one question."""
    folder = tmp_path_factory.mktemp("pair")
    for name, count in (("warm", 3), ("cold", 2)):
        rows = [
            {
                "messages": [
                    {"role": "user", "content": "Hi?"},
                    {"role": "assistant", "content": f"{name} {number}"},
                ]
            }
            for number in range(count)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def extract_warm(prosopon, pair, model, *options):
    return prosopon(
        "extract", "-m", model, "-t", pair / "warm.jsonl", "--opposite", pair / "cold.jsonl",
        "-c", "contrastive-wanda", *options,
    )  # fmt: skip


def test_it_says_how_many_examples_of_each_side_it_read(prosopon, pair, tiny_folder, tmp_path):
    done = extract_warm(prosopon, pair, tiny_folder)
    assert "read 3 examples of warm and 2 examples of cold" in done.stderr
    assert "written to personas/warm-contrastive-wanda" in done.stdout
    mask = Subnetwork.from_pretrained(tmp_path / "personas/warm-contrastive-wanda")
    assert mask.config.calibration.target_count == 3
    assert mask.config.calibration.opposite_count == 2
    assert f"pruned {mask.pruned:,} of {mask.total:,} weights" in done.stdout


def test_the_name_is_enough_afterwards(prosopon, pair, tiny_folder):
    extract_warm(prosopon, pair, tiny_folder, "-q")
    shown = json.loads(prosopon("inspect", "warm", "--json").stdout)
    assert shown["config"]["persona"] == "warm"
    said = prosopon("chat", "-p", "warm", "--message", "Hi", "--max-new-tokens", "2", "--json")
    assert json.loads(said.stdout)["persona"] == "warm"


def test_options_may_name_their_criterion(prosopon, pair, tiny_folder):
    done = extract_warm(
        prosopon, pair, tiny_folder, "--option", "contrastive-wanda.tau=3", "-o", "a", "--json"
    )
    assert json.loads(done.stdout)["criterion"] == "contrastive-wanda"
    config = json.loads(prosopon("inspect", "a", "--json").stdout)["config"]
    assert config["options"]["tau"] == 3


def test_home_is_expanded(prosopon, pair, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    extract_warm(prosopon, pair, tiny_folder, "-o", "~/x", "-q")
    assert (tmp_path / "home/x/subnetwork_config.json").is_file()
    assert not (tmp_path / "~").exists()
    assert "warm" in prosopon("inspect", "~/x").stdout


def test_a_mask_that_prunes_nothing_is_written_with_a_warning(prosopon, pair, tiny_folder, general):
    options = ("-c", "contrastive-kl", "--option", "rounds=1", "--sparsity", "1e-9")
    done = extract_warm(prosopon, pair, tiny_folder, *options, "--general", general, "--json")
    result = json.loads(done.stdout)
    assert result["pruned"] == 0
    assert result["warning"].startswith("the mask prunes nothing, so worn it is the base model")
    assert f"warning: {result['warning']}" in done.stderr
    shown = prosopon("inspect", result["folder"], "--json").stdout
    assert json.loads(shown)["config"]["options"]["warning"] == result["warning"]


def test_what_is_said_of_experts_that_no_token_came_to():
    one, two = "model.layers.0.mlp.experts.down_proj.1", "model.layers.1.mlp.experts.down_proj.1"
    assert extract._spared([one]).endswith(f"came to it: expert {one}")
    assert extract._spared([one, two]).endswith(f"came to it: expert {one} and 1 more")


def test_what_auto_chose():
    auto = {
        "damage": 2.0, "rounds": 3, "share": 0.9, "base_share": 0.5, "tolerance": 0.05,
        "within_tolerance": False, "quick": {"perplexity_ratio": 1.1},
    }  # fmt: skip
    line = extract._chosen(auto)
    assert "after 3 rounds: 90% of held-out answers are the persona's (base 50%)" in line
    assert "general perplexity x 1.100, above the tolerance of 1.05" in line
    line = extract._chosen(auto | {"share": None, "within_tolerance": True})
    assert "held-out" not in line
    assert "above" not in line

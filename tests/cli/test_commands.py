"""Every command, run as a user runs it."""

import json

import pytest

from prosopon.criteria import CRITERIA
from prosopon.data import bundled, library


def test_personas(prosopon):
    rows = json.loads(prosopon("personas", "--json").stdout)
    names = [row["name"] for row in rows]
    assert names == [*bundled.names(), *(f"library:{name}" for name in library.names())]
    assert all(name in prosopon("personas").stdout for name in bundled.names())


def test_criteria(prosopon):
    rows = json.loads(prosopon("criteria", "--json").stdout)
    assert [row["name"] for row in rows] == CRITERIA.names()
    shown = prosopon("criteria").stdout
    assert all(f"{name} " in shown for name in CRITERIA.names())
    assert "rounds=48" in shown


def test_version_and_help(prosopon):
    assert prosopon("--version").stdout.startswith("prosopon 0.")
    for command in ("demo", "extract", "chat", "export", "inspect", "personas", "criteria"):
        assert "--json" in prosopon(command, "--help").stdout


@pytest.mark.parametrize("criterion", CRITERIA.names())
def test_extract_inspect_chat(prosopon, tiny_folder, criterion, general):
    light = criterion in ("contrastive-taylor", "contrastive-kl")
    options = ["--option", "rounds=2"] if light else []
    made = prosopon(
        "extract", "-m", tiny_folder, "-t", "bold", "--opposite", "cautious", "-c", criterion,
        "-n", "4", "--general", general, "-o", "bold", "--json", *options,
    )  # fmt: skip
    result = json.loads(made.stdout)
    assert result["folder"] == "bold"
    assert 0 < result["pruned_share"] < 0.35
    shown = json.loads(prosopon("inspect", "bold", "--json").stdout)
    assert shown["config"]["criterion"] == criterion
    assert shown["summary"]["pruned"] == result["pruned"]
    assert sum(row["pruned"] for row in shown["summary"]["by_layer"]) == result["pruned"]
    assert criterion in prosopon("inspect", "bold").stdout
    talk = prosopon(
        "chat", "-m", tiny_folder, "-p", "bold", "--message", "Hi", "--message", "And?",
        "--max-new-tokens", "5", "--json",
    )  # fmt: skip
    said = json.loads(talk.stdout)
    assert said["persona"] == "bold"
    assert len(said["turns"]) == 2


@pytest.mark.parametrize("criterion", ["contrastive-taylor", "contrastive-kl"])
def test_who_takes_the_defaults_of_a_small_model_is_warned(prosopon, tiny_folder, criterion):
    made = prosopon(
        "extract", "-m", tiny_folder, "-t", "bold", "--opposite", "cautious", "-c", criterion,
        "-n", 4, "--option", "rounds=1", "-o", "mask", "--force",
    )  # fmt: skip
    small = criterion == "contrastive-taylor"
    assert ("found on the embedded model" in made.stderr) == small
    assert ("general text held out loses 0.0" in made.stdout) != small


def test_without_a_criterion_the_dose_is_measured(prosopon, tiny_folder, general):
    made = prosopon(
        "extract", "-m", tiny_folder, "-t", "bold", "--opposite", "cautious", "-n", 4,
        "--option", "rounds=1", "-o", "mask", "--general", general, "--json",
    )  # fmt: skip
    result = json.loads(made.stdout)
    assert result["criterion"] == "contrastive-kl"
    assert result["auto"]["general_loss"] <= 0.05
    assert result["auto"]["texts_backward"] > 8


def test_a_fast_mask_takes_fewer_rounds_and_texts(prosopon, tiny_folder, general):
    made = {}
    for fast in ((), ("--fast",)):
        prosopon(
            "extract", "-m", tiny_folder, "-t", "bold", "--opposite", "cautious", "-n", 40,
            "-c", "contrastive-kl", "-o", "mask", "--force", "-q", "--max-length", 16,
            "--general", general, *fast,
        )  # fmt: skip
        made[fast] = json.loads(prosopon("inspect", "mask", "--json").stdout)["config"]
    whole, quick = made.values()
    assert (whole["options"]["rounds"], quick["options"]["rounds"]) == (30, 10)
    assert (whole["calibration"]["target_count"], quick["calibration"]["target_count"]) == (40, 32)
    read = [config["options"]["auto"]["texts_backward"] for config in (whole, quick)]
    assert read[1] <= read[0] / 2
    refused = prosopon(
        "extract", "-m", tiny_folder, "-t", "bold", "-c", "wanda", "--fast", "-o", "x", code=2
    )
    assert "--fast is for light criteria" in refused.stderr


def test_auto_and_protection(prosopon, tiny_folder, general):
    made = prosopon(
        "extract", "-m", tiny_folder, "-t", "bold", "-n", "20", "-s", "auto", "-o", "bold",
        "--protect", "thinking", "--option", "rounds=3", "--option", "batch=4",
        "--max-length", "24", "--general", general,
    )  # fmt: skip
    assert "general perplexity x " in made.stdout
    config = json.loads(prosopon("inspect", "bold", "--json").stdout)["config"]
    assert config["options"]["protected"] == ["thinking"]
    assert config["options"]["auto"]["masks_tried"] >= 4
    assert config["ranked"]


def test_export(prosopon, tiny_folder, tmp_path):
    from tests.export.samples import structured_keep, subnetwork_of
    from tests.tiny import tiny_model

    model, _ = tiny_model(chat=True)
    keep = structured_keep(model, channels=[[0, 1, 2], [3, 4, 5]])
    subnetwork_of(model, keep).save_pretrained(tmp_path / "bold")
    made = prosopon(
        "export", "bold", "-m", tiny_folder, "--format", "structured", "-o", "small", "--json"
    )
    assert json.loads(made.stdout)["channels"]["kept"] == 45
    assert json.loads((tmp_path / "small/config.json").read_text())["intermediate_size"] == 45
    shown = prosopon(
        "export", "bold", "-m", tiny_folder, "-f", "lora", "-o", "low", "--option", "rank=2"
    ).stdout
    assert "relative Frobenius error" in shown
    assert "nats a token" in shown
    assert "written to low" in shown


def test_own_files_in_unicode(prosopon, tiny_folder, tmp_path):
    for name, answer in (("größe", "Größe 🎭"), ("stille", "Stille.")):
        rows = [
            {"prompt": f"¿Qué {word}?", "completion": f"{answer} {word}."}
            for word in ("más", "más aún")
        ]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(lines, "utf-8")
    prosopon(
        "extract", "-m", tiny_folder, "-t", "größe.jsonl", "--opposite", "stille.jsonl",
        "-c", "contrastive-wanda", "-o", "Größe 1",
    )  # fmt: skip
    assert (tmp_path / "Größe 1" / "subnetwork.safetensors").is_file()


def test_some_layers_one_part_and_an_update_beside_the_mask(prosopon, tiny_folder, tmp_path):
    common = ["extract", "-m", tiny_folder, "-t", "bold", "-c", "sparsegpt", "-n", "2", "-o", "b"]
    done = prosopon(
        *common, "--layers", "0-1", "--only", "mlp", "--pattern", "2:4", "-s", "0.5",
        "--option", "compensate=true",
    )  # fmt: skip
    assert "compensation.safetensors, worn with the mask" in done.stdout
    assert (tmp_path / "b" / "compensation.safetensors").is_file()
    sites = json.loads(prosopon("inspect", "b", "--json").stdout)["config"]["sites"]
    assert len(sites) == 2 * 3
    assert all(".mlp." in name for name in sites)
    refused = prosopon(*common, "--force", "--layers", "2", code=2)
    assert "no sites in layer 2; the layers with sites are 0 to 1" in refused.stderr

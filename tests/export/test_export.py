"""What holds for every format: strength, folders, provenance, refusals."""

from __future__ import annotations

import copy
import json
import os

import pytest
import torch

from prosopon.errors import (
    ExportError,
    OptionError,
    PersonaError,
    SubnetworkError,
    UnknownNameError,
)
from prosopon.export import FORMATS, FormatOptions, base, export_persona
from prosopon.export.folders import stage_folder
from prosopon.models import find_sites
from prosopon.runtime import PersonaModel
from prosopon.subnetwork import Compensation, Subnetwork
from prosopon.version import __version__
from tests.export.samples import (
    loaded_logits,
    peft_logits,
    quiet,
    structured_keep,
    subnetwork_of,
    worn_logits,
)
from tests.runtime.samples import assert_bits, logits, subnetwork, weights
from tests.subnetwork.samples import config
from tests.tiny import tiny_model

pytestmark = quiet


def ranked(model, seed=0):
    persona = subnetwork(model, share=0.3)
    generator = torch.Generator().manual_seed(seed)
    levels = {
        name: torch.randint(256, (record.pruned,), generator=generator, dtype=torch.uint8)
        for name, record in persona.config.sites.items()
    }
    return subnetwork_of(model, persona.keep, levels)


@pytest.mark.parametrize("strength", [0.0, -0.1, 1.01, float("nan")])
def test_a_strength_outside_its_range(strength, tmp_path):
    model, tokenizer = tiny_model()
    with pytest.raises(OptionError, match="above 0 and at most 1"):
        export_persona(
            model, tokenizer, ranked(model), format="checkpoint", output=tmp_path / "out",
            strength=strength,
        )  # fmt: skip


def test_strength_without_a_ranking(tmp_path):
    model, tokenizer = tiny_model()
    with pytest.raises(SubnetworkError, match="not ranked"):
        export_persona(
            model, tokenizer, subnetwork(model), format="checkpoint", output=tmp_path / "out",
            strength=0.5,
        )  # fmt: skip


def test_an_export_at_half_strength_is_that_weaker_mask(tmp_path):
    model, tokenizer = tiny_model()
    whole, base_weights = ranked(model), weights(model)
    report = export_persona(
        model, tokenizer, whole, format="checkpoint", output=tmp_path / "out", strength=0.5
    )
    weaker = {}
    for name, keep in whole.keep.items():
        weaker[name] = keep.clone()
        for (row, column), level in zip(
            (~keep).nonzero().tolist(), whole.levels[name].tolist(), strict=True
        ):
            weaker[name][row, column] = not level / 256 < 0.5
    persona = subnetwork_of(model, weaker)
    assert report["pruned"] == persona.pruned < whole.pruned
    assert torch.equal(loaded_logits(tmp_path / "out"), worn_logits(model, persona))
    assert_bits(model, base_weights)


def test_the_provenance_says_what_was_exported_and_how(tmp_path):
    model, tokenizer = tiny_model()
    persona = subnetwork(model)
    persona.save_pretrained(tmp_path / "persona")
    report = export_persona(
        model, tokenizer, tmp_path / "persona", format="lora", output=tmp_path / "out",
        options={"rank": 3}, base_model="org/base", revision="abc",
    )  # fmt: skip
    record = json.loads((tmp_path / "out/prosopon.json").read_text())
    assert record["prosopon"] == __version__
    export, origin = record["export"], record["subnetwork"]
    assert (export["format"], export["base_model"], export["revision"]) == (
        "lora",
        "org/base",
        "abc",
    )
    assert export["options"] == {"rank": 3, "seed": 0}
    assert export["relative_error"] == report["relative_error"]
    assert (origin["criterion"], origin["seed"]) == ("contrastive-wanda", 7)
    assert "sites" not in origin
    card = (tmp_path / "out/README.md").read_text()
    assert card.startswith('---\nlibrary_name: peft\nbase_model: "org/base"\n')
    assert "relative Frobenius error" in card
    settings = json.loads((tmp_path / "out/adapter_config.json").read_text())
    assert (settings["base_model_name_or_path"], settings["revision"]) == ("org/base", "abc")
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert report["bytes"] == sum(path.stat().st_size for path in files)


def test_a_local_path_stays_here(tmp_path):
    model, tokenizer = tiny_model()
    export_persona(
        model, tokenizer, subnetwork(model), format="checkpoint", output=tmp_path / "out",
        base_model="/home/somebody/models/base",
    )  # fmt: skip
    files = [path.read_text() for path in (tmp_path / "out").glob("*.[jm]*[nd]")]
    assert not any("somebody" in text for text in files)
    assert '"base_model": "base"' in (tmp_path / "out/prosopon.json").read_text()
    head = (tmp_path / "out/README.md").read_text().split("---")[1]
    assert "base_model" not in head
    assert "library_name: transformers" in head


@pytest.mark.parametrize("name", FORMATS.names())
def test_nothing_pruned_is_refused(name, tmp_path):
    model, tokenizer = tiny_model()
    persona = subnetwork(model, share=0.0)
    with pytest.raises(ExportError, match="prunes nothing"):
        export_persona(model, tokenizer, persona, format=name, output=tmp_path / "out")


def test_unknown_formats_and_options(tmp_path):
    model, tokenizer = tiny_model()
    persona = subnetwork(model)
    with pytest.raises(
        UnknownNameError, match="checkpoint, gguf, gguf-lora, lora, shira, structured"
    ):
        export_persona(model, tokenizer, persona, format="onnx", output=tmp_path / "out")
    with pytest.raises(OptionError, match=r"'shira' has no option 'rank'; it has: \(none\)"):
        export_persona(
            model, tokenizer, persona, format="shira", output=tmp_path / "out", options={"rank": 4}
        )
    with pytest.raises(OptionError, match="max_shard_size='much'"):
        FORMATS.get("checkpoint").parse_options({"max-shard-size": "much"})


def test_a_package_that_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(base, "find_spec", lambda name: None)
    model, tokenizer = tiny_model()
    with pytest.raises(ExportError, match=r"needs gguf: pip install 'prosopon\[export\]'"):
        export_persona(model, tokenizer, subnetwork(model), format="gguf", output=tmp_path / "out")
    checkpoint = FORMATS.get("checkpoint")
    checkpoint.check_packages()
    assert checkpoint.parse_options({}) == checkpoint.options()
    assert issubclass(checkpoint.options, FormatOptions)


def test_another_models_persona(tmp_path):
    model, tokenizer = tiny_model()
    other, _ = tiny_model(seed=1)
    gpt2, _ = tiny_model("gpt2")
    for stranger in (subnetwork(other), subnetwork(gpt2)):
        with pytest.raises(SubnetworkError, match="does not belong to this model"):
            export_persona(model, tokenizer, stranger, format="checkpoint", output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_somebody_wears(tmp_path):
    model, tokenizer = tiny_model()
    persona = subnetwork(model)
    with PersonaModel(model), pytest.raises(PersonaError, match="another PersonaModel"):
        export_persona(model, tokenizer, persona, format="checkpoint", output=tmp_path / "out")
    export_persona(model, tokenizer, persona, format="checkpoint", output=tmp_path / "out")


def test_a_persona_of_some_sites_of_a_model_with_fused_experts(tmp_path):
    model, tokenizer = tiny_model("mixtral")
    persona = subnetwork(model, targets=["*self_attn*"])
    base_weights = weights(model)
    export_persona(model, tokenizer, persona, format="checkpoint", output=tmp_path / "out")
    assert_bits(model, base_weights)
    exported = loaded_weights(tmp_path / "out")
    for name, keep in persona.keep.items():
        expected = torch.where(keep, base_weights[f"{name}.weight"], 0.0)
        assert torch.equal(exported[f"{name}.weight"], expected)


def loaded_weights(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


def test_a_folder_with_files_is_kept_without_force(tmp_path):
    model, tokenizer = tiny_model()
    persona = subnetwork(model, share=0.1)

    def write(**options):
        return export_persona(
            model, tokenizer, persona, format="shira", output=tmp_path / "out", **options
        )

    write()
    with pytest.raises(OptionError, match="is not empty; give --force"):
        write()
    (tmp_path / "out/stale.bin").write_text("stale")
    write(force=True)
    assert not (tmp_path / "out/stale.bin").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_link_to_an_earlier_export_stays_a_link(tmp_path):
    model, tokenizer = tiny_model()
    for seed in (0, 1):
        if seed:
            (tmp_path / "link").symlink_to("real", target_is_directory=True)
        export_persona(
            model, tokenizer, subnetwork(model, seed=seed), format="checkpoint",
            output=tmp_path / ("link" if seed else "real"), force=True,
        )  # fmt: skip
    assert (tmp_path / "link").readlink().name == "real"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]
    expected = worn_logits(model, subnetwork(model, seed=1))
    assert torch.equal(loaded_logits(tmp_path / "real"), expected)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    model, tokenizer = tiny_model()
    export_persona(model, tokenizer, subnetwork(model), format="checkpoint", output="~/out")
    assert (tmp_path / "out/config.json").is_file()


def test_force_never_deletes_what_no_export_wrote(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("years")
    model, tokenizer = tiny_model()
    with pytest.raises(OptionError, match="no export wrote it"):
        export_persona(
            model, tokenizer, subnetwork(model), format="checkpoint", output=tmp_path / "out",
            force=True,
        )  # fmt: skip
    assert (tmp_path / "out/thesis.tex").read_text() == "years"


def test_a_file_in_the_way_and_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    model, tokenizer = tiny_model()
    for output, kind, message in (
        (tmp_path / "file", OptionError, "is a file"),
        (tmp_path / "file" / "out", ExportError, "cannot be written"),
    ):
        with pytest.raises(kind, match=message):
            export_persona(model, tokenizer, subnetwork(model), format="checkpoint", output=output)


def interrupted(target):
    with stage_folder(target, force=True) as staging:
        (staging / "prosopon.json").write_text("second")
        raise KeyboardInterrupt


def test_staging_is_whole_or_nothing(tmp_path):
    target = tmp_path / "deep" / "out"
    with pytest.raises(KeyboardInterrupt):
        interrupted(target)
    assert list((tmp_path / "deep").iterdir()) == []
    target.mkdir()
    with stage_folder(target) as staging:
        (staging / "sub").mkdir()
        (staging / "sub/file").write_text("whole")
        assert list(target.iterdir()) == []
    assert (target / "sub/file").read_text() == "whole"
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o777 & ~umask


def test_a_failed_replacement_leaves_the_earlier_export(tmp_path):
    target = tmp_path / "out"
    with stage_folder(target) as staging:
        (staging / "prosopon.json").write_text("first")
    with pytest.raises(KeyboardInterrupt):
        interrupted(target)
    assert (target / "prosopon.json").read_text() == "first"
    with stage_folder(target, force=True) as staging:
        (staging / "prosopon.json").write_text("second")
    assert (target / "prosopon.json").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_card_names_the_opposite_only_if_there_is_one(tmp_path):
    model, tokenizer = tiny_model()
    whole = subnetwork(model)
    alone = Subnetwork(whole.keep, config(fingerprint=whole.config.fingerprint, opposite=None))
    for persona, said in ((whole, True), (alone, False)):
        export_persona(model, tokenizer, persona, format="checkpoint", output=tmp_path / str(said))
        card = (tmp_path / str(said) / "README.md").read_text()
        assert ("told apart from **extravert**" in card) is said


@pytest.fixture(scope="module")
def compensated():
    """A persona that also changes the weights that it keeps, and what they become."""
    model, tokenizer = tiny_model()
    persona = subnetwork_of(model, structured_keep(model, channels=[[0, 1], [2, 3]]))
    sites = {site.name: site.matrix() for site in find_sites(model)}
    new = {name: sites[name] * 1.5 + 0.01 for name in persona.keep}
    persona.compensation = Compensation.of(persona.keep, new)
    expected = copy.deepcopy(model)
    for site in find_sites(expected):
        site.matrix()[:] = torch.where(persona.keep[site.name], new[site.name], 0.0)
    return model, tokenizer, persona, logits(expected)


@pytest.mark.parametrize("kind", ["checkpoint", "structured", "gguf"])
def test_a_compensation_is_written_into_a_checkpoint(compensated, kind, tmp_path):
    model, tokenizer, persona, expected = compensated
    base = weights(model)
    report = export_persona(model, tokenizer, persona, format=kind, output=tmp_path / "out")
    assert_bits(model, base)
    assert report["compensated"] is True
    file = {"gguf_file": "model.gguf"} if kind == "gguf" else {}
    loaded = loaded_logits(tmp_path / "out", **file)
    torch.testing.assert_close(loaded, expected, atol=1e-4, rtol=1e-4)
    assert float((loaded - logits(model)).abs().max()) > 0.1
    assert "kept ones have new values" in (tmp_path / "out/README.md").read_text()


def test_adapters_and_a_compensation(compensated, tmp_path):
    model, tokenizer, persona, expected = compensated
    with pytest.raises(ExportError, match="neither sparse nor exact; choose --format checkpoint"):
        export_persona(model, tokenizer, persona, format="shira", output=tmp_path / "shira")
    assert not (tmp_path / "shira").exists()
    report = export_persona(
        model, tokenizer, persona, format="lora", output=tmp_path / "lora", options={"rank": "32"}
    )
    assert report["relative_error"] < 1e-5
    loaded = peft_logits("llama", tmp_path / "lora")
    torch.testing.assert_close(loaded, expected, atol=1e-3, rtol=1e-3)
    persona = Subnetwork(persona.keep, persona.config, levels_of(persona))
    persona.compensation = compensated[2].compensation
    with pytest.raises(SubnetworkError, match="new values of its kept weights belong to the whole"):
        export_persona(
            model, tokenizer, persona, format="checkpoint", output=tmp_path / "weak", strength=0.5
        )


def levels_of(persona):
    return {
        name: torch.zeros(int((~keep).sum()), dtype=torch.uint8)
        for name, keep in persona.keep.items()
    }


@pytest.mark.parametrize("name", ["大胆", "Schüchtern & 'leise'", "<b>|bold"])
def test_a_persona_of_any_name_is_in_the_card_the_provenance_and_the_weights(tmp_path, name):
    model, tokenizer = tiny_model()
    persona = subnetwork(model, name)
    export_persona(model, tokenizer, persona, format="checkpoint", output=tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert f"# {name}\n" in card
    assert f"Persona **{name}**" in card
    record = json.loads((tmp_path / "out" / "prosopon.json").read_text("utf-8"))
    assert record["export"]["persona"] == record["subnetwork"]["persona"] == name
    assert torch.equal(loaded_logits(tmp_path / "out"), worn_logits(model, persona))

"""``prosopon explain`` as a command of its own."""

import json
from dataclasses import asdict

import pytest
import torch

from prosopon.errors import DataError
from prosopon.models import find_sites, fingerprint, load_model
from prosopon.subnetwork import Subnetwork
from tests.cli.test_failures import one_line
from tests.subnetwork.samples import config


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return random masks of the embedded model for three personas, as folders."""
    sites = find_sites(load_model("embedded").model)
    folder = tmp_path_factory.mktemp("masks")
    found = asdict(fingerprint(sites))
    for seed, (name, other) in enumerate(
        [("power-seeking", "power-averse"), ("power-averse", "power-seeking"), ("bold", None)]
    ):
        generator = torch.Generator().manual_seed(seed)
        keep = {site.name: torch.rand(site.shape, generator=generator) > 0.01 for site in sites}
        told = config(persona=name, opposite=other, base_model="embedded", fingerprint=found)
        Subnetwork(keep, told).save_pretrained(folder / name)
    return folder


def test_masks_of_the_embedded_model_are_worn(prosopon, models, tmp_path):
    (tmp_path / "general.txt").write_text("What is a dog? It is an animal.\n\nYes.\n\nNo, no.\n")
    done = prosopon(
        "explain", models / "power-seeking", models / "bold", "-o", "out", "--questions", "2",
        "--draws", "1", "--seed", "1", "--general", "general.txt",
    )  # fmt: skip
    for shown in ("What the masks share", "power-seeking / bold", "What each mask does",
                  "Is it these weights?", "explain.md"):  # fmt: skip
        assert shown in done.stdout
    numbers = json.loads((tmp_path / "out/analysis.json").read_text("utf-8"))
    assert len(numbers["cross_talk"]["axes"]) == 8
    assert [each["mask"] for each in numbers["faithfulness"]] == ["power-seeking", "bold"]
    assert (tmp_path / "out/faithfulness-2.svg").is_file()
    assert "](faithfulness-2.svg)" in (tmp_path / "out/explain.md").read_text("utf-8")


def test_only_what_needs_no_model(prosopon, models, tmp_path):
    done = prosopon(
        "explain", models / "bold", "-o", "out", "--parts", "location", "--json",
    )  # fmt: skip
    assert set(json.loads(done.stdout)) == {"folder", "masks", "location"}
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["analysis.json", "concentration.svg", "explain.md", "location.svg"]


def test_questions_from_files_on_another_model(prosopon, tiny_folder, tmp_path):
    from tests.runtime.samples import subnetwork

    model = load_model(tiny_folder).model
    for seed, name in enumerate(("warm", "cold")):
        subnetwork(model, name, seed=seed).save_pretrained(tmp_path / name)
        asked = {"role": "user", "content": "Hi?"}
        rows = [
            {"messages": [asked, {"role": "assistant", "content": f"{name} {i}"}]} for i in range(4)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "general.txt").write_text("One text of words.\n\nAnother.\n\nMore words here.\n")
    done = prosopon(
        "explain", "warm", "cold", "-m", tiny_folder, "-t", "warm.jsonl", "--opposite",
        "cold.jsonl", "--general", "general.txt", "--draws", "1", "-o", "out", "--json",
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert [axis["axis"] for axis in found["cross_talk"]["axes"]] == ["warm / cold"]
    assert [each["questions"] for each in found["faithfulness"]] == [4, 4]
    # Masks of a folder's model: nothing is worn unless a model is named, and that is said.
    done = prosopon("explain", "warm", "cold", "-o", "still")
    assert "give --model" in done.stdout


def test_a_bare_name_asks_in_natural_english_on_another_model():
    from prosopon.cli import explain

    (own,) = explain._axes("tiny", "library:cold", None, 4, 0, {})
    assert explain._axes("tiny", "cold", None, 4, 0, {}) == [own]
    with pytest.raises(DataError, match="no bundled persona is called so"):
        explain._axes("embedded", "cold", None, 4, 0, {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bold"], "at least two masks"),
        (["bold", "nowhere"], "nowhere"),
        (["bold", "bold"], "another mask of bold"),
        (["bold", "power-averse", "--parts", "overlaps"], "overlap, location, cross-talk"),
        (["bold", "power-averse", "--opposite", "x.jsonl"], "--opposite needs --target"),
        (["bold", "power-averse", "-m", "no/such/folder/at/all", "-t", "formal"], "no/such/folder"),
        (["bold", "power-averse", "-t", "missing.jsonl"], "missing.jsonl"),
        (
            ["bold", "power-averse", "-m", "TINY", "--parts", "location"],
            "does not belong to this model",
        ),
        (["bold", "power-averse", "-m", "TINY"], "give --target"),
    ],
)
def test_wrong_inputs_are_one_clear_line(
    prosopon, models, tiny_folder, tmp_path, arguments, message
):
    told = [models / a if (models / a).is_dir() else a for a in arguments]
    told = [tiny_folder if a == "TINY" else a for a in told]
    done = prosopon("explain", *told, "-o", "out", code=2)
    assert message in one_line(done)
    assert not (tmp_path / "out").exists()


def test_masks_of_two_models(prosopon, models, tiny_folder, tmp_path):
    from tests.runtime.samples import subnetwork

    subnetwork(load_model(tiny_folder).model, "warm").save_pretrained(tmp_path / "warm")
    done = prosopon("explain", models / "bold", "warm", "-o", "out", code=2)
    assert "different models" in one_line(done)


def test_numbers_are_whole_on_a_narrow_terminal(monkeypatch):
    from prosopon.analysis import Section
    from prosopon.cli import explain
    from prosopon.cli.console import out

    monkeypatch.setattr(out, "width", 40)
    rows = [[f"+0.12{column}" for column in range(9)]]
    with out.capture() as shown:
        explain._table(Section("x", "Title", headings=["a long heading"] * 9, rows=rows))
    assert all(number in shown.get() for number in rows[0])
    assert "…" not in shown.get()


def test_what_wears_masks_wants_a_model(prosopon, tiny_folder, tmp_path):
    from tests.runtime.samples import subnetwork

    model = load_model(tiny_folder).model
    for seed, name in enumerate(("warm", "cold")):
        subnetwork(model, name, seed=seed).save_pretrained(tmp_path / name)
    done = prosopon("explain", "warm", "cold", "--parts", "cross-talk", "-o", "out", code=2)
    assert "cross-talk wears the masks: it needs a model (--model)" in one_line(done)
    done = prosopon("explain", "warm", "cold", "-o", "out", "--json")
    numbers = json.loads(done.stdout)
    assert {"overlap", "location"} <= set(numbers)
    assert not {"cross_talk", "faithfulness"} & set(numbers)


def test_whose_questions_are_asked(tmp_path):
    from prosopon.cli.explain import _axes, _own_model
    from prosopon.errors import OptionError
    from tests.subnetwork.samples import subnetwork

    masks = {"a": subnetwork(base_model="org/model")}
    assert _own_model(masks, None) is None
    assert _own_model(masks, "ours.jsonl") == "org/model"
    assert _own_model({"a": subnetwork(base_model="embedded")}, None) == "embedded"
    with pytest.raises(OptionError, match="only the embedded model has questions"):
        _axes("org/model", None, None, 2, 0, {})
    assert len(_axes("embedded", None, None, 2, 0, {})) == 8


def test_nobody_is_asked_what_a_mask_was_found_on(tmp_path, capsys):
    """A question of the calibration is left out of both sides; where none is left, it is said."""
    from prosopon.cli.explain import _axes
    from prosopon.data import load_persona
    from prosopon.data.splits import prompt_hashes
    from prosopon.errors import DataError
    from tests.subnetwork.samples import subnetwork

    for name, answer in (("warm", "Yes"), ("cold", "No")):
        rows = [{"prompt": f"Question {i}?", "completion": f"{answer} {i}."} for i in range(6)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    files = [str(tmp_path / f"{name}.jsonl") for name in ("warm", "cold")]
    seen = prompt_hashes(load_persona(files[0], limit=4))
    mask = subnetwork(base_model="org/model")

    def ask(hashes):
        record = mask.config.calibration.model_copy(update={"prompt_hashes": hashes})
        mask.config = mask.config.model_copy(update={"calibration": record})
        return _axes("org/model", *files, 60, 0, {"warm": mask})[0].items

    assert len(ask(None)) == len(ask(("0" * len(seen[0]),))) == 6
    assert capsys.readouterr().err == ""
    questions = {item.prompt[-1].content for item in ask(tuple(seen))}
    assert len(questions) == 6 - len(seen)
    assert questions < {f"Question {i}?" for i in range(6)}
    assert f"{2 * len(seen)} examples of " in capsys.readouterr().err
    with pytest.raises(DataError, match="the masks were found on these examples"):
        ask(tuple(prompt_hashes(load_persona(files[0]))))

"""lm_eval's own command line, in every way the documentation names, without a network."""

import functools
import json
import runpy
import sys

import pytest

pytest.importorskip("lm_eval")

import datasets
from lm_eval.tasks import TaskManager

from prosopon.errors import OptionError, SubnetworkError
from prosopon.harness import main, register
from prosopon.runtime import PersonaModel
from prosopon.subnetwork import Subnetwork
from tests.commands import run_command
from tests.harness.test_model import ours
from tests.tiny import tiny_model


@pytest.fixture(autouse=True)
def own_tasks(monkeypatch, tmp_path):
    """Leave the harness's own tasks out: reading their thousands of files takes half a minute."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    whole = TaskManager.__init__
    quick = functools.partialmethod(whole, include_defaults=False)
    monkeypatch.setattr(TaskManager, "__init__", quick)


def question(task_folder, folder, model_args):
    """Return the harness's arguments for the task, with this model."""
    return (
        "--model", "prosopon", "--model_args", model_args, "--tasks", "kind_words",
        "--include_path", task_folder, "--device", "cpu", "--batch_size", "2",
        "--output_path", folder / "out", "--log_samples",
    )  # fmt: skip


def logged(folder):
    """Return (what stands beside the results, log-likelihoods of all options in order)."""
    [results] = (folder / "out").rglob("results_*.json")
    [samples] = (folder / "out").rglob("samples_*.jsonl")
    rows = sorted(map(json.loads, samples.read_text().splitlines()), key=lambda row: row["doc_id"])
    found = [float(total) for row in rows for total, _ in row["filtered_resps"]]
    return json.loads(results.read_text())["config"], found


def test_base_and_persona_from_the_command_line(
    task_folder, model_folder, persona_folder, tmp_path
):
    base, worn = tmp_path / "base", tmp_path / "worn"
    base.mkdir()
    worn.mkdir()
    main([*map(str, question(task_folder, base, f"pretrained={model_folder}"))])
    args = f"pretrained={model_folder},persona={persona_folder},strength=0.6"
    shown = run_command("lm-eval", *question(task_folder, worn, args), cwd=worn)
    assert shown.returncode == 0, shown.stderr
    assert "kind_words" in shown.stdout
    config, without = logged(base)
    assert config["persona"] is None
    expected = ours(*tiny_model("llama", chat=True))
    assert without == pytest.approx(expected, abs=1e-4)
    config, found = logged(worn)
    assert (config["persona"], config["persona_strength"]) == ("introvert", 0.6)
    model, tokenizer = tiny_model("llama", chat=True)
    persona = PersonaModel(model)
    name = persona.load_persona(Subnetwork.from_pretrained(persona_folder))
    persona.set_persona(name, strength=0.6)
    assert found == pytest.approx(ours(model, tokenizer), abs=1e-4)
    assert max(abs(a - b) for a, b in zip(found, without, strict=True)) > 0.1


@pytest.mark.parametrize(
    ("persona", "words"),
    [
        ("personas/nowhere", "personas/nowhere"),
        (None, "error: subnetwork 'introvert' does not belong to this model"),
    ],
)
def test_refusals_are_one_clear_line(persona, words, task_folder, persona_folder, tmp_path):
    args = f"pretrained=embedded,persona={persona or persona_folder}"
    failed = run_command("lm-eval", *question(task_folder, tmp_path, args), cwd=tmp_path)
    assert failed.returncode == 2
    last = failed.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert words in last
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize("error", [OptionError("not\n there"), SubnetworkError("not there")])
def test_the_module_s_refusals_are_one_line_too(error, monkeypatch, capsys):
    def refuse(arguments):
        raise error

    monkeypatch.setattr("prosopon.harness.main", refuse)
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("prosopon.harness", run_name="__main__")
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: not there\n"


def test_help_is_the_harness_own(tmp_path, monkeypatch, capsys):
    shown = run_command("lm-eval", "--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert "Language Model Evaluation Harness" in shown.stdout
    monkeypatch.setattr(sys, "argv", ["prosopon.harness", "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("prosopon.harness", run_name="__main__")
    assert not stop.value.code
    assert "Language Model Evaluation Harness" in capsys.readouterr().out


def test_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("prosopon.harness.launch.find_spec", lambda name: None)
    monkeypatch.setattr("prosopon.harness.launch.register", register.__wrapped__)
    failed = run_command("lm-eval", "--help", cwd=tmp_path)
    assert failed.returncode == 2
    assert failed.stderr.strip() == (
        "error: lm-evaluation-harness needs lm_eval: pip install 'prosopon[lm-eval]'"
    )


def test_the_process_gets_its_own_arguments_back():
    before = list(sys.argv)
    with pytest.raises(SystemExit):
        main(["run", "--no-such-option"])
    assert sys.argv == before

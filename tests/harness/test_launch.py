"""lm_eval's own command line, started in every way the documentation names, without a network."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("lm_eval")

from prosopon.harness import main
from prosopon.runtime import PersonaModel
from prosopon.subnetwork import Subnetwork
from tests.harness.test_model import ours
from tests.tiny import tiny_model

COMMAND = [sys.executable, "-m", "prosopon", "lm-eval"]
MODULE = [sys.executable, "-m", "prosopon.harness"]


def run(start, *arguments, folder, code=0):
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "NO_COLOR": "1"}
    done = subprocess.run(
        [*start, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, **offline, "HF_DATASETS_CACHE": str(folder / "cache")},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def evaluate(start, task_folder, folder, model_args, code=0):
    return run(
        start, "--model", "prosopon", "--model_args", model_args, "--tasks", "kind_words",
        "--include_path", task_folder, "--device", "cpu", "--batch_size", "2",
        "--output_path", folder / "out", "--log_samples", folder=folder, code=code,
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
    evaluate(MODULE, task_folder, base, f"pretrained={model_folder}")
    shown = evaluate(
        COMMAND, task_folder, worn,
        f"pretrained={model_folder},persona={persona_folder},strength=0.6",
    ).stdout  # fmt: skip
    assert "kind_words" in shown
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


def test_refusals_are_one_clear_line(task_folder, persona_folder, tmp_path):
    failed = evaluate(
        MODULE, task_folder, tmp_path, "pretrained=embedded,persona=personas/nowhere", code=2
    )
    last = failed.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert "personas/nowhere" in last
    assert "Traceback" not in failed.stderr
    failed = evaluate(
        COMMAND, task_folder, tmp_path, f"pretrained=embedded,persona={persona_folder}", code=2
    )
    last = failed.stderr.splitlines()[-1]
    assert last.startswith("error: subnetwork 'introvert' does not belong to this model")
    assert "Traceback" not in failed.stderr


def test_help_is_the_harness_own(tmp_path):
    for start in (COMMAND, MODULE):
        shown = run(start, "--help", folder=tmp_path).stdout
        assert "Language Model Evaluation Harness" in shown


def test_it_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['lm_eval'] = None; sys.argv = ['prosopon', 'lm-eval', '--help'];"
        "from prosopon.cli import main; main()"
    )
    failed = run([sys.executable, "-c", code], folder=tmp_path, code=2)
    assert failed.stderr.strip() == (
        "error: lm-evaluation-harness needs lm_eval: pip install 'prosopon[lm-eval]'"
    )


def test_the_process_gets_its_own_arguments_back():
    before = list(sys.argv)
    with pytest.raises(SystemExit):
        main(["run", "--no-such-option"])
    assert sys.argv == before

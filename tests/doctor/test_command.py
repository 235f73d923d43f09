"""``prosopon doctor``: what it prints, and its exit codes."""

import json
import subprocess
import sys

import pytest

from prosopon.doctor import report, speed
from prosopon.doctor.machine import Machine
from prosopon.doctor.packages import Package
from tests.doctor.test_report import RIGHT


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(speed, "SECONDS", 0.001)
    monkeypatch.setattr(report.installed, "read_requirements", lambda: RIGHT)


def test_the_machine_and_the_commands(prosopon):
    printed = prosopon("doctor", "--quick").stdout
    for words in ("memory", "graphics cards", "cache", "not asked (--online asks)"):
        assert words in printed
    assert "nothing is missing for prosopon" in printed
    assert "takes" not in printed


def test_a_plan_of_the_embedded_model(prosopon):
    printed = prosopon("doctor", "extract", "--model", "embedded", "-n", "64").stdout
    assert "extract: contrastive-taylor, 64 examples a side, float32" in printed
    assert "1,769,472" in printed
    assert "fits: memory" in printed
    assert "takes " in printed
    assert "nothing is missing for prosopon extract" in printed


def test_it_fits_eighty_columns(prosopon, monkeypatch):
    from prosopon.cli.console import out

    monkeypatch.setattr(out, "_width", 80)
    done = prosopon("doctor", "--model", "embedded", "--quick", "-c", "sparsegpt")
    tables = [line for line in done.stdout.splitlines() if line[:1] in "┏│┃├└┡"]
    assert len(tables) > 20
    assert max(map(len, tables)) <= 80


def test_json_is_the_whole_report(prosopon):
    answer = json.loads(prosopon("doctor", "serve", "-m", "embedded", "--quick", "--json").stdout)
    assert answer["missing"] == []
    assert answer["plans"][0]["title"] == "8 rows, float32"
    assert answer["commands"]["serve"][0]["extra"] == "serve"


def test_exit_code_1_where_the_command_lacks_something(prosopon, monkeypatch):
    absent = RIGHT | {"serve": [Package("uvicorn", ">=0.30", None)]}
    monkeypatch.setattr(report.installed, "read_requirements", lambda: absent)
    printed = prosopon("doctor", "serve", "--quick", code=1).stdout
    assert "missing for prosopon serve:" in printed
    assert "uvicorn is missing: pip install 'prosopon[serve]'" in printed
    printed = prosopon("doctor", "--quick").stdout
    assert "uvicorn is missing" in printed  # in the table


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("walk",), "unknown command 'walk'"),
        (("extract", "-m", "./nowhere"), "there is no such folder"),
        (("extract", "-m", "embedded", "-c", "wand"), "unknown criterion 'wand'"),
        (("extract", "-m", "embedded", "-s", "2"), "sparsity"),
        (("extract", "-m", "embedded", "--option", "rounds"), "write it as key=value"),
        (("extract", "-m", "embedded", "--device", "tpu"), "unknown device 'tpu'"),
        (("extract", "-m", "no/such-model"), "give --online"),
    ],
)
def test_refusals_are_one_line(prosopon, arguments, reason):
    done = prosopon("doctor", *arguments, code=2)
    assert reason in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")


def test_quick_leaves_torch_unloaded():
    code = """
import sys
sys.argv = ["prosopon", "doctor", "extract", "--model", "embedded", "--quick", "--json"]
from prosopon.cli import main
try:
    main()
except SystemExit:
    pass
print("torch._C" in sys.modules, "transformers" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False", done.stderr


def test_fast_and_sequential_are_planned_as_they_run(prosopon):
    def plan(*words):
        words = ("doctor", "extract", "-m", "embedded", "--quick", "--json", *words)
        return json.loads(prosopon(*words).stdout)["plans"][0]

    full, fast = plan("-c", "contrastive-kl"), plan("-c", "contrastive-kl", "--fast")
    assert fast["title"].startswith("contrastive-kl, 32 examples")
    assert fast["peak"] < full["peak"]
    assert plan("--sequential")["title"].endswith("layer by layer")
    done = prosopon("doctor", "extract", "-m", "embedded", "-c", "wanda", "--fast", code=2)
    assert "--fast is for light criteria" in done.stderr


def test_what_does_not_fit_is_said_with_what_helps(prosopon, monkeypatch, machine):
    monkeypatch.setattr(report, "look_at_machine", lambda: machine)
    done = prosopon("doctor", "extract", "-m", "embedded", "--quick", code=1)
    assert "DOES NOT FIT: memory" in done.stdout
    assert "--dtype bfloat16: half the weights" in done.stdout
    assert "missing for prosopon extract:" in done.stdout


@pytest.fixture
def machine():
    """A machine with hardly any memory, of a system that says so."""
    return Machine("Linux x86_64", "3.12.0", 1, 10**9, 10**8, ())

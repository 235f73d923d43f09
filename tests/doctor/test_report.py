"""The examination as a whole."""

import json
from dataclasses import replace

import pytest

from prosopon.doctor import Question, examine, report, speed
from prosopon.doctor.packages import Package
from prosopon.errors import UnknownNameError

RIGHT = {extra: [] for extra in ("", "gguf", "accelerate", "hub", "serve", "compare", "tables")}
RIGHT |= {extra: [] for extra in ("plots", "export", "lm-eval")}


@pytest.fixture
def healthy(monkeypatch, machine, tmp_path):
    """A machine and an installation that lack nothing."""
    monkeypatch.setattr(report, "look_at_machine", lambda: machine)
    monkeypatch.setattr(report.installed, "read_requirements", lambda: RIGHT)
    monkeypatch.setattr(speed, "SECONDS", 0.001)
    monkeypatch.setenv("PROSOPON_CACHE", str(tmp_path / "cache"))


def ask(**keywords):
    return examine(Question(**{"job": {}, "quick": True} | keywords))


def test_nothing_is_missing_where_nothing_is(healthy):
    answer = ask()
    assert answer["missing"] == []
    assert answer["plans"] == []
    assert answer["torch"] is None
    json.dumps(answer, allow_nan=False)


def test_a_model_gets_three_plans_and_a_command_its_own(healthy):
    answer = ask(model="embedded", quick=False)
    assert [plan["command"] for plan in answer["plans"]] == ["extract", "serve", "export"]
    least, most = answer["plans"][0]["seconds"]
    assert 0 < least < most
    assert answer["plans"][1]["seconds"] is None
    assert answer["rate"]["device"] == "cpu"
    assert "cpu" in answer["torch"]["devices"]
    assert answer["model"]["parameters"] == 2_164_416
    json.dumps(answer, allow_nan=False)
    (plan,) = ask(model="embedded", command="serve")["plans"]
    assert plan["command"] == "serve"
    assert plan["peak"] == sum(part["bytes"] for part in plan["memory"])
    assert ask(model="embedded", command="chat")["plans"] == []


def test_a_plan_that_does_not_fit_is_missing_memory(healthy, monkeypatch, machine):
    monkeypatch.setattr(report, "look_at_machine", lambda: replace(machine, free=10**8))
    answer = ask(model="embedded", command="extract")
    (line,) = answer["missing"]
    assert line.endswith("of memory, and 0.10 GB are free")
    assert answer["plans"][0]["fits"][0]["advice"]
    assert ask(model="embedded")["missing"] == []  # no command is meant


def test_a_missing_extra_counts_for_its_command_alone(healthy, monkeypatch):
    absent = RIGHT | {"serve": [Package("fastapi", ">=1", None)], "": [Package("a", "<2", "3")]}
    monkeypatch.setattr(report.installed, "read_requirements", lambda: absent)
    assert ask()["missing"] == ["a 3 is not <2"]
    assert ask(command="serve")["missing"] == [
        "a 3 is not <2", "fastapi is missing: pip install 'prosopon[serve]'",
    ]  # fmt: skip
    assert ask(command="extract")["missing"] == ["a 3 is not <2"]


def test_options_decide_which_extras_are_needed(healthy, monkeypatch, tmp_path):
    absent = RIGHT | {"accelerate": [Package("accelerate", "", None)]}
    monkeypatch.setattr(report.installed, "read_requirements", lambda: absent)
    line = "accelerate is missing: pip install 'prosopon[accelerate]'"
    assert ask(command="extract")["missing"] == []
    assert ask(command="extract", device_map="auto")["missing"] == [line]
    assert ask(command="extract", job={"sequential": True})["missing"] == [line]


def test_an_installation_of_an_earlier_version_says_so(healthy, monkeypatch):
    monkeypatch.setattr(report.installed, "read_requirements", lambda: {"": []})
    (line,) = ask(command="serve")["missing"]
    assert "knows no extra 'serve': install it again" in line


def test_a_package_that_is_not_installed_and_a_python_too_old(healthy, monkeypatch):
    monkeypatch.setattr(report.installed, "installed_as", lambda: None)
    assert "not installed as a package" in ask()["missing"][0]
    monkeypatch.setattr(report.installed, "installed_as", lambda: ("1", "<3"))
    assert ask()["missing"] == ["Python 3.12.0 is not <3"]


def test_a_cache_that_cannot_be_written_is_missing(healthy, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("PROSOPON_CACHE", str(tmp_path / "file" / "cache"))
    (line,) = ask()["missing"]
    assert "cannot be written" in line


def test_the_hub_is_asked_only_where_that_is_wished(healthy):
    assert ask()["hub"] == {"asked": False, "problem": None}
    answer = ask(online=True)  # the tests are offline
    assert answer["hub"] == {"asked": True, "problem": "HF_HUB_OFFLINE is set"}
    assert answer["missing"] == ["the Hugging Face Hub cannot be reached: HF_HUB_OFFLINE is set"]


def test_a_card_that_torch_does_not_see_is_not_planned_with(healthy, monkeypatch, machine):
    from prosopon.doctor.machine import Gpu

    carded = replace(machine, gpus=(Gpu("card", 10**11, 10**11),))
    monkeypatch.setattr(report, "look_at_machine", lambda: carded)
    seen = [fit["where"] for fit in ask(model="embedded")["plans"][0]["fits"]]
    assert seen == ["card", "memory"]  # unasked, torch is taken to see it
    monkeypatch.setattr(report, "_look_at_torch", lambda: ({"devices": ["cpu"]}, ()))
    answer = ask(model="embedded", quick=False)
    assert [fit["where"] for fit in answer["plans"][0]["fits"]] == ["memory"]
    cpu = ask(model="embedded", device="cpu")
    assert [fit["where"] for fit in cpu["plans"][0]["fits"]] == ["memory"]


def test_a_torch_that_cannot_be_loaded_is_missing(healthy, monkeypatch):
    broken = {"problem": "libcudart.so.12: cannot open"}
    monkeypatch.setattr(report, "_look_at_torch", lambda: (broken, ()))
    answer = ask(quick=False, model="embedded")
    assert answer["missing"] == ["torch cannot be loaded: libcudart.so.12: cannot open"]
    assert answer["plans"][0]["seconds"] is None


def test_unknown_commands_are_refused(healthy):
    with pytest.raises(UnknownNameError, match=r"unknown command 'extrakt'.*extract"):
        ask(command="extrakt")


def test_what_takes_a_second_is_said_before(healthy):
    lines = []
    examine(Question(job={}, model="embedded"), lines.append)
    assert lines == ["loading torch", "measuring how fast this machine multiplies"]
    examine(Question(job={}, model="embedded", quick=True), lines.append)
    assert len(lines) == 2


def test_folders_are_those_that_loading_uses(healthy, tmp_path):
    from huggingface_hub import constants

    folders = {folder["what"]: folder for folder in ask()["folders"]}
    assert folders["cache"]["path"] == str(tmp_path / "cache")
    assert folders["the Hub's cache"]["path"] == constants.HF_HUB_CACHE
    assert not (tmp_path / "cache").exists()

"""Bad input: exit code 2, one clear line, no traceback, nothing written.

The faults that users meet most often are tried in tests/docs/test_troubleshooting.py.
"""

import json
import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from tests.processes import forked, run_cli


def one_line(done):
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:")]
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return errors[0]


def test_unknown_persona(prosopon, tmp_path):
    done = prosopon("extract", "--target", "extravrt", code=2)
    assert "extravrt" in one_line(done)
    assert "extravert" in one_line(done)
    assert list(tmp_path.iterdir()) == []


def test_unknown_persona_in_the_demo(prosopon):
    assert "Did you mean 'bold'" in one_line(prosopon("demo", "--personas", "bald", code=2))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jsonl", "", "empty.jsonl"),
        ("broken.jsonl", '{"messages": [}\n', "broken.jsonl:1"),
        ("spät.csv", "question,matching,not_matching\nonly one\n", "spät.csv:2"),
        ("unknown.xyz", "\x00\x01", "unknown.xyz"),
    ],
)
def test_files_that_cannot_be_read(prosopon, tmp_path, name, content, message):
    (tmp_path / name).write_text(content, encoding="utf-8")
    done = prosopon("extract", "--target", name, "--opposite", "introvert", code=2)
    assert message in one_line(done)


@pytest.mark.parametrize("sparsity", ["0", "1", "1.5", "-0.1", "nan"])
def test_sparsity(prosopon, tiny_folder, sparsity):
    done = prosopon(
        "extract", "-m", tiny_folder, "-t", "bold", "-n", "2", f"--sparsity={sparsity}", code=2
    )
    assert "must lie between 0 and 1" in one_line(done)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--criterion", "wonda"], "Did you mean 'wanda'"),
        (["--option", "rounds"], "key=value"),
        (["--option", "colour=red"], "no option 'colour'"),
        (["--scope", "some"], "Choices: response, all"),
        (["--targets", "nowhere.*"], "matches no site"),
        (["--model", "no/such/folder/at/all"], "no/such/folder"),
        (["--pattern", "row"], "pattern 'global' or lora:R only"),
        (["--sparsity", "some"], "give a number or 'auto'"),
        (["--sparsity", "auto"], "at least 20 pairs; there are 2"),
        (["-c", "wanda", "--sparsity", "auto"], "no sparsity 'auto'"),
        (["--protect", "nobody"], "'nobody'"),
        (["-c", "wanda", "--protect", "thinking"], "cannot protect"),
        (["-c", "wanda", "--sequential", "--sparsity", "auto"], "no sparsity 'auto'"),
        (["-c", "wanda", "--pattern", "rows"], "Did you mean 'row'"),
        (["-c", "wanda", "--pattern", "2:4", "-s", "0.3"], "disagrees with pattern '2:4'"),
        (["-c", "wanda", "--pattern", "2:5"], "needs in_features divisible by 5"),
    ],
)
def test_options(prosopon, tiny_folder, arguments, message):
    done = prosopon("extract", "-m", tiny_folder, "-t", "bold", "-n", "2", *arguments, code=2)
    assert message in one_line(done)


@pytest.fixture
def worn(prosopon, tiny_folder, tmp_path):
    prosopon("extract", "-m", tiny_folder, "-t", "bold", "-c", "wanda", "-n", "2", "-o", "bold")
    return tmp_path / "bold"


def test_truncated_mask(prosopon, worn, tiny_folder):
    file = worn / "subnetwork.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    done = prosopon("chat", "-m", tiny_folder, "-p", worn, "--message", "Hi", code=2)
    assert "subnetwork.safetensors" in one_line(done)
    assert "subnetwork.safetensors" in one_line(prosopon("inspect", worn, code=2))


def test_nothing_is_written_over_without_force(prosopon, worn, tiny_folder):
    config = worn / "subnetwork_config.json"
    before = config.read_text()
    arguments = ["extract", "-m", tiny_folder, "-t", "cautious", "-c", "wanda", "-n", 2, "-o", worn]
    assert "--force" in one_line(prosopon(*arguments, code=2))
    assert config.read_text() == before
    prosopon(*arguments, "--force")
    assert json.loads(config.read_text())["persona"] == "cautious"


def test_ctrl_c(tmp_path, tiny_folder):
    work = ["extract", "-m", tiny_folder, "-t", "bold", "-n", 4, "--option", "rounds=9000",
            "-o", "out"]  # fmt: skip
    here, there = os.pipe()
    streams = (os.open(os.devnull, os.O_RDWR), os.open(os.devnull, os.O_RDWR), there)
    with forked(run_cli, work, tmp_path, streams) as (running, _), os.fdopen(here) as errors:
        for stream in streams:
            os.close(stream)
        shown = ""
        while "/" not in shown:  # the first line of progress: inside the work, which takes minutes
            shown = errors.readline()
            assert shown, "it ended before"
        os.kill(running.pid, signal.SIGINT)
        shown = errors.read()
        running.join(60)
    assert running.exitcode == 130
    assert "interrupted" in shown
    assert "Traceback" not in shown
    assert list(tmp_path.iterdir()) == []


def test_no_pad_token_is_handled(prosopon, tmp_path, general):
    from tests.tiny import tiny_model, tiny_tokenizer

    model, _ = tiny_model("llama")
    model.config.pad_token_id = None
    model.generation_config.pad_token_id = None
    model.save_pretrained(tmp_path / "m")
    tiny_tokenizer(pad=False).save_pretrained(tmp_path / "m")
    prosopon(
        "extract", "-m", "m", "-t", "bold", "-n", "4", "--option", "rounds=1", "-o", "out",
        "--general", general,
    )  # fmt: skip
    assert torch.is_tensor(load_file(tmp_path / "out" / "subnetwork.safetensors").popitem()[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-f", "onnx", "-o", "out"), "checkpoint, gguf, gguf-lora, lora, shira, structured"),
        (("-f", "checkpoint", "-o", "full", "--force"), "no export wrote it"),
        (("-f", "structured", "-o", "out"), "--pattern channels or heads"),
    ],
    ids=["format", "folder", "mask"],
)
def test_exports_that_cannot_be(prosopon, tiny_folder, tmp_path, options, message):
    from tests.runtime.samples import subnetwork
    from tests.tiny import tiny_model

    subnetwork(tiny_model(chat=True)[0]).save_pretrained(tmp_path / "bold")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    done = prosopon("export", "bold", "-m", tiny_folder, *options, code=2)
    assert message in one_line(done)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bold", "full"]
    assert (tmp_path / "full/notes.txt").read_text() == "mine"

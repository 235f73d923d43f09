"""What a mask costs beside LoRA: the benchmark on a tiny model, its counts against a hook's."""

import json

import pytest
import torch
from benchmarks import __main__ as command
from benchmarks import cost
from benchmarks.base import BENCHMARKS, one_thread

from prosopon.arms import ARMS
from prosopon.data import load_contrast
from prosopon.data.contrast import file_contrast
from prosopon.models import LoadedModel
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def measured():
    """Run the benchmark on a tiny model; return its rows, and the texts read backward by arm."""
    with pytest.MonkeyPatch.context() as patch:
        yield run(patch)


def run(patch):
    loaded = LoadedModel(*tiny_model("llama", chat=True), "tiny")
    backward = [("shared", [])]
    for name in ("lora", "contrastive-lora", "contrastive-kl"):
        arm = ARMS.get(name)

        def prepare(lab, arm=arm, own=arm.prepare):
            backward.append((arm.name, []))
            return own(lab)

        patch.setattr(arm, "prepare", prepare)

    def count(module, inputs, outputs):
        backward[-1][1].append(len(outputs[0]))

    handle = loaded.model.model.norm.register_full_backward_hook(count)
    contrast = file_contrast(*load_contrast("casual", limit=40), questions=4)
    rows = cost.measure(loaded, contrast, 1, pairs=8, general=4)
    handle.remove()
    return rows, backward


def test_texts_and_seconds_are_counted_on_both_sides(measured):
    (whole, fast, *others), backward = measured
    names = ["lora", "contrastive-lora", "contrastive-kl", "contrastive-kl"]
    assert [name for name, _ in backward[1:]] == names
    damage, lora, both_sides, all_rounds, few_rounds = (sum(texts) for _, texts in backward)
    assert lora == whole["baseline_texts_backward"] == 3 * 8
    # twice both answers of 8 pairs, in 4 steps, with all 4 general texts in each
    assert [row["baseline_texts_backward"] for row in others] == [both_sides] * 2 == [48] * 2
    # A small model's damage is read once for both.
    assert damage + all_rounds == whole["texts_backward"]
    assert damage + few_rounds == fast["texts_backward"]
    assert whole["baseline_steps"] == 3
    # candidates, then a round less: both answers of 4 pairs, 4 general texts; 4 for the damage
    for row in (whole, fast):
        assert row["texts_backward"] == 16 + (row["rounds"] - 1) * (8 + 4) + 4
    assert (whole["rounds"], fast["rounds"]) == (30, 10)
    assert whole["texts_forward"] >= fast["texts_forward"] > 0  # more trials may go too far
    for row in (whole, fast, *others):
        assert row["ratio"] == row["seconds"] / row["baseline_seconds"] > 0
        assert row["model"] == "tiny"
    assert whole["seconds"] > fast["seconds"]


def test_the_command_writes_what_was_measured(measured, tmp_path, monkeypatch, capsys):
    rows = measured[0]
    own = BENCHMARKS.get("mask-cost")
    monkeypatch.setitem(vars(own), "run", lambda repeats: rows)
    assert command.main(["mask-cost", "--repeats", "1", "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "cost.json").read_text())["mask-cost"]
    assert record["results"] == rows
    assert "contrastive-kl mask --fast, CPU seconds / LoRA, 3 epochs:" in capsys.readouterr().out


def test_one_thread_computes_and_then_as_many_as_before():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)

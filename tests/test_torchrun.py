"""``torchrun ... -m prosopon extract`` as a user starts it; ``make ranks`` runs it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prosopon import Subnetwork
from prosopon.progress import PACE

pytestmark = pytest.mark.skipif("RANKS" not in os.environ, reason="make ranks runs it")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
WORDS = ["-m", "prosopon", "extract", "--target", "bold", "-n", "8"]


def positions(folder):
    keep = Subnetwork.from_pretrained(folder).keep
    return {(name, *place) for name, mask in keep.items() for place in (~mask).nonzero().tolist()}


@pytest.mark.parametrize(
    "words",
    [
        ["-c", "contrastive-wanda"],
        ["-c", "sparsegpt"],
        ["-c", "contrastive-taylor", "--option", "rounds=3"],
        ["-c", "contrastive-kl", "--option", "rounds=3"],
        ["-c", "contrastive-kl", "--option", "rounds=3", "--pattern", "lora:16"],
    ],
)
def test_the_mask_is_that_of_one_process(tmp_path, words):
    for name, start in (("one", [sys.executable]), ("two", TORCHRUN)):
        command = [*start, *WORDS, *words, "-o", name]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("written to") == 1
    one, two = positions(tmp_path / "one"), positions(tmp_path / "two")
    assert len(one ^ two) <= len(one) // 1000
    print(f"{words}: {len(one):,} weights, {len(one ^ two)} of them others than in one process")  # noqa: T201


def test_a_rank_that_is_killed_ends_the_run(tmp_path):
    command = [*TORCHRUN, *WORDS, "-c", "contrastive-taylor", "-o", "out"]
    often = os.environ | {PACE: "0.2"}  # a run of half a minute may say nothing of it else
    run = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=often)
    next(line for line in run.stderr if "finding candidates" in line or "pruning" in line)
    time.sleep(1)
    os.kill(process_of_rank(run.pid, 1), signal.SIGKILL)
    began = time.monotonic()
    said = run.communicate(timeout=60)[1]
    assert run.returncode
    assert "Signal 9 (SIGKILL)" in said
    assert said.count("error:") <= 1
    assert not (tmp_path / "out").exists()
    print(f"ended {time.monotonic() - began:.1f} s after the kill")  # noqa: T201


def process_of_rank(parent, rank):
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if f"RANK={rank}" in Path(f"/proc/{child}/environ").read_text().split("\0"):
            return int(child)
    raise AssertionError("no such rank")

"""Real signals to a real process that does nothing but switch personas."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROUNDS = 40


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_ctrl_c_never_leaves_half_a_persona(family):
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.runtime.sigint_child", family],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    drawn = random.Random(0)

    def expect(*words):
        answer = child.stdout.readline().strip()
        if answer not in words:
            child.kill()
            pytest.fail(f"said {answer!r}:\n{child.communicate()[1]}")
        return answer

    with child:
        expect("ready")
        found = []
        for _ in range(ROUNDS):
            child.stdin.write("go\n")
            child.stdin.flush()
            expect("switching")
            time.sleep(drawn.uniform(0, 0.03))
            child.send_signal(signal.SIGINT)
            found.append(expect("base", "worn"))
        child.stdin.close()
        expect("done")
    assert child.returncode == 0
    # Most of the time is spent inside of switches, so some were broken off.
    assert "base" in found

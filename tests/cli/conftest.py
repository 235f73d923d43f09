"""Running the real command in a process of its own."""

import os
import subprocess
import sys

import pytest


@pytest.fixture
def prosopon(tmp_path):
    """Return ``run(*arguments, input=None, code=0)``, which runs in an empty folder."""

    def run(*arguments, input=None, code=0, timeout=240):
        done = subprocess.run(
            [sys.executable, "-m", "prosopon", *map(str, arguments)],
            cwd=tmp_path,
            input=input,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "COLUMNS": "160", "NO_COLOR": "1"},
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """Return a folder with a tiny random Llama and its tokenizer."""
    from tests.tiny import tiny_model

    folder = tmp_path_factory.mktemp("model")
    model, tokenizer = tiny_model("llama", chat=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

"""A small sweep of a tiny random model."""

import pytest

from prosopon.evaluation import Effort
from prosopon.models import LoadedModel
from prosopon.sweep import Grid, Source, assemble
from tests.tiny import tiny_model

EFFORT = Effort(choices=4, answers=4, max_new_tokens=4, general=4, judge=20)
GRID = Grid(
    personas=("bold",),
    criteria=("contrastive-wanda",),
    sparsities=(0.1, 0.4),
    examples=(4, 8),
    seeds=(0, 1),
)


@pytest.fixture
def start():
    """Return ``start(folder, grid, **settings)``, which assembles a runner on a fresh model."""

    def start(folder, grid=GRID, *, seed=0, effort=EFFORT, line="Be bold.", **settings):
        model, tokenizer = tiny_model("llama", chat=True, seed=seed)
        loaded = LoadedModel(model, tokenizer, "tiny")
        source = Source(target="bold", opposite="cautious", line=line)
        return assemble(loaded, source, grid, folder, effort=effort, **settings)

    return start


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Return the folder and the records of a finished sweep of ``GRID``."""
    model, tokenizer = tiny_model("llama", chat=True)
    folder = tmp_path_factory.mktemp("sweep") / "out"
    source = Source(target="bold", opposite="cautious", line="Be bold.")
    runner = assemble(LoadedModel(model, tokenizer, "tiny"), source, GRID, folder, effort=EFFORT)
    return folder, list(runner.run())

"""One small comparison on the embedded model and one small grid on a tiny one, run once."""

import fcntl
import os
from contextlib import contextmanager

import pytest

from prosopon.data import load_persona
from prosopon.experiments import (
    Plan,
    Sizes,
    Source,
    assemble,
    grid_plan,
    settings_of,
    write_results,
)
from prosopon.experiments.assembly import grammar_judge
from prosopon.judges import GrammarJudge
from prosopon.models import LoadedModel, load_model
from tests.tiny import tiny_model

ARMS_ASKED = ("base", "prompt", "contrastive-wanda", "always-a")
SIZES = Sizes(
    questions=6, max_new_tokens=12, general=8, speed=1, by_task={"cross-talk": 2, "neutral": 3}
)
GRID_SIZES = Sizes(8, 4, general=4, speed=0, by_task={"free-text": 6})


@contextmanager
def shared_folder(tmp_path_factory, name):
    """Yield a folder of this test run that its processes fill one after the other.

    Who comes second goes on where the first stopped, as any experiment does: at the end.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield base / name


@pytest.fixture(scope="session")
def loaded():
    return load_model("embedded", device="cpu")


@pytest.fixture(scope="session")
def make(loaded, tmp_path_factory):
    """Return ``make(folder, **changes)``, which assembles a small comparison."""
    general = tmp_path_factory.mktemp("general") / "texts.txt"  # eight are held out
    general.write_text(
        "".join(f"{e.response}\n" for e in load_persona("casual", limit=32).examples)
    )

    def make(folder, judges=grammar_judge, **changes):
        settings = {
            "contrasts": ("bold", "cautious"), "arms": ARMS_ASKED, "sizes": SIZES,
            "examples": (12,),
        } | changes  # fmt: skip
        plan = Plan(**settings)
        contrasts = Source(plan.contrasts).contrasts("embedded", plan.sizes.questions)
        return assemble(loaded, plan, contrasts, folder, judges=judges, general=str(general))

    return make


@pytest.fixture(scope="session")
def made(make, tmp_path_factory):
    with shared_folder(tmp_path_factory, "comparison") as folder:
        runner = make(folder)
        records = list(runner.run())
        summary, paths = write_results(
            records, folder, command="prosopon compare", settings=settings_of(runner)
        )
    return folder, runner, records, summary, paths


@pytest.fixture(scope="session")
def start():
    """Return ``start(folder, plan)``, which assembles a grid on a fresh tiny model."""

    def start(folder, plan, *, seed=0, model=None, line="Be bold.", **settings):
        body, tokenizer = model or tiny_model("llama", chat=True, seed=seed)
        source = Source(target="bold", opposite="cautious", line=line)
        # The grammar's sentences: what GrammarJudge reads.
        contrasts = source.contrasts("embedded", plan.sizes.questions)
        return assemble(
            LoadedModel(body, tokenizer, "tiny"), plan, contrasts, folder,
            judges=lambda *_: [GrammarJudge("bold", "cautious")], **settings,
        )  # fmt: skip

    return start


@pytest.fixture(scope="session")
def grid():
    """Return the plan of a small grid."""
    return grid_plan(
        ("bold",), ("contrastive-wanda",), sparsities=(0.1, 0.4), examples=(4, 8), seeds=(0, 1),
        sizes=GRID_SIZES, tasks=("choice", "free-text", "perplexity"),
    )  # fmt: skip


@pytest.fixture(scope="session")
def finished(start, grid, tmp_path_factory):
    """Return the folder and the records of the finished grid."""
    with shared_folder(tmp_path_factory, "finished-grid") as folder:
        return folder, list(start(folder, grid).run())

"""``prosopon sweep`` as a user runs it."""

import json

import pytest

from prosopon.cli.app import app
from prosopon.data import load_persona
from prosopon.errors import ProsoponError

SMALL = ("--answers", 4, "--choices", 4, "--max-new-tokens", 4)


@pytest.fixture
def files(tmp_path):
    """Two small files of a persona and of its opposite."""
    for name in ("bold", "cautious"):
        examples = load_persona(name, limit=80).examples
        rows = [{"prompt": f"{e.prompt[-1].content} ({i})", "completion": e.response}
                for i, e in enumerate(examples)]  # fmt: skip
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ("-t", "bold.jsonl", "--opposite", "cautious.jsonl", "--prompt", "Be bold.")


def test_a_sweep_and_the_same_again(prosopon, tiny_folder, tmp_path, general, files):
    asked = (
        "sweep", "-m", tiny_folder, *files, "-c", "wanda", "-s", "0.3", "-n", "4,9999",
        "-o", "out", "--general", general, *SMALL,
    )  # fmt: skip
    told = json.loads(prosopon(*asked, "--json").stdout)
    assert (told["cells"], told["done"]) == (8, 8)
    short, tell = told["notes"]
    assert "calibration examples of a side instead of 9999" in short
    assert "held-out questions can tell" in tell
    assert {row["registered"] for row in told["rows"]} == {
        "base", "prompt", "random", "magnitude", "wanda",
    }  # fmt: skip
    for name in ("results.parquet", "results.csv", "table.md", "figures/frontier.svg"):
        assert (tmp_path / "out" / name).stat().st_size
    shown = prosopon(*asked, "--no-plots", "--no-tables").stdout
    assert "wanda 0.3" in shown
    assert "instead of 9999" in shown
    for heading in ("arm", "choice", "target", "opposite", "neither", "ppl ratio", "pruned"):
        assert heading in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give either --personas or --target"),
        (("--personas", "bold", "-t", "bold"), "and not both"),
        (("--personas", "bold", "-m", "some/model", "--opposite", "calm"), "needs --target"),
        (("--personas", "bolt"), "Did you mean 'bold'"),
        (("-p", "intuitive", "-m", "some/model"), "Did you mean 'intuition'"),
        (("-t", "bold", "-c", "wand"), "Did you mean 'wanda'"),
        (("-t", "bold", "-s", "2"), "a share between 0 and 1"),
        (("-t", "bold", "-s", ","), "no sparsities"),
        (("-t", "bold", "--seeds", "x"), "whole numbers"),
        (("-t", "bold", "--option", "rounds=3"), "write it as criterion.key=value"),
    ],
)
def test_it_fails_before_a_model_is_loaded(tmp_path, arguments, words):
    with pytest.raises(ProsoponError, match=words):
        app(["sweep", "-o", str(tmp_path / "o"), *arguments], standalone_mode=False)
    assert not (tmp_path / "o").exists()


def test_another_folder_is_left_alone(prosopon, tiny_folder, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    done = prosopon("sweep", "-o", "full", "-m", tiny_folder, "-t", "bold", code=2)
    assert "error: full: is not empty and holds no experiment" in done.stderr
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["x"]

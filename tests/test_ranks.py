"""Two real ranks over gloo make what one process makes, and fail together."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from prosopon import ranks
from prosopon.cli.describing import Words
from prosopon.cli.extract import own_place
from prosopon.cli.options import ModelPlace
from prosopon.data import encode_all
from prosopon.data.pairs import pair_examples
from prosopon.errors import OptionError, RankError
from prosopon.extraction.light.validation import mean_loss
from prosopon.gradients import (
    Material,
    Objective,
    fisher_diagonal,
    objective_terms,
    pair_log_odds,
    sum_gradients,
)
from prosopon.models import find_sites
from prosopon.statistics import collect_grams, collect_statistics
from tests.extraction.light.conftest import COLD, WARM, texts
from tests.processes import run_cli, run_ranks
from tests.tiny import tiny_model

RAGGED = (
    "a",
    "the people is thing",
    "Yes No",
    "and band the people is thing",
    "Yes",
    "is",
    "No no",
)


def measured():
    """Return sums of every kind over uneven shares, and over so few texts that a rank has none."""
    model, tokenizer = tiny_model(chat=True)
    sites = find_sites(model)[:3]
    pairs = [
        tuple(encode_all(side, tokenizer))
        for side in zip(*pair_examples(WARM.examples[:5], COLD.examples[:5]), strict=True)
    ]
    pairs = list(zip(*pairs, strict=True))
    sums = {}
    for name, count in (("many", 7), ("one", 1)):
        own = encode_all([texts(word, 1).examples[0] for word in RAGGED[:count]], tokenizer)
        statistics = collect_statistics(model, sites, own, max_tokens=64)
        for site in sites:
            one = statistics[site.name]
            sums[name, site.name, "counts"] = torch.tensor([one.tokens, one.samples])
            sums[name, site.name, "sums"] = torch.stack(one.tensors)
            sums[name, site.name, "gram"] = collect_grams(model, sites, own)[site.name].total
        sums[name, "fisher"] = fisher_diagonal(model, sites, own, max_tokens=64)[sites[0].name]
        sums[name, "loss"] = torch.tensor(mean_loss(model, own))
        some = pairs[:count]
        odds = pair_log_odds(model, some, max_tokens=64)
        material = Material(some, odds - 1, own, some, odds + 1)
        for shared in (False, True):
            totals, loss = sum_gradients(
                sites,
                objective_terms(model, material, Objective(), max_tokens=64, share_prompts=shared),
            )
            sums[name, shared, "objective"] = torch.tensor(loss)
            sums[name, shared, "gradient"] = totals[sites[1].name]
        sums[name, "odds"] = odds
    return {name: value.numpy() for name, value in sums.items()}


def say(channel, make):
    torch.set_num_threads(1)
    with ranks.join():
        channel.send(make())


def test_sums_over_two_ranks_are_those_of_one_process():
    alone = measured()
    (first, _), (second, _) = run_ranks(say, measured)
    for name, value in alone.items():
        assert (first[name] == second[name]).all(), name  # to the last bit: both decide alike
        off = 0 if name[-1] == "counts" else 2e-5 * np.abs(value).max()
        np.testing.assert_allclose(first[name], value, rtol=0, atol=off, err_msg=str(name))


def test_what_one_process_does_is_nothing():
    with ranks.join():
        assert ranks.is_first()
        assert ranks.may_complain()
        assert ranks.share([1, 2, 3]) == [1, 2, 3]
        assert ranks.total(0.1) == 0.1
        assert ranks.agree(lambda: 5) == 5
        assert ranks.local_size() == 1
        ranks.check_same("mask", lambda: pytest.fail("nobody to compare with"))
        tensor = torch.ones(2)
        ranks.add_up(tensor)
        assert tensor.tolist() == [1, 1]


def test_every_item_is_one_ranks_and_the_first_one_decides():
    def work():
        mine = ranks.share(range(5))
        with pytest.raises(RankError, match="rank 1 has another persona than rank 0"):
            ranks.check_same("persona", lambda: str(mine))
        ranks.check_same("model", lambda: "same")
        return list(mine), ranks.agree(lambda: list(mine)), ranks.total(len(mine)), ranks.is_first()

    assert run_ranks(say, work) == [
        (([0, 2, 4], [0, 2, 4], 5, True), 0),
        (([1, 3], [0, 2, 4], 5, False), 0),
    ]


def test_a_rank_that_dies_ends_the_others():
    def work():
        if not ranks.is_first():
            os.kill(os.getpid(), signal.SIGKILL)
        with pytest.raises(RankError, match="another process of this run has ended") as problem:
            ranks.total(1.0)
        return str(problem.value), ranks.may_complain()

    (said, _), (nothing, killed) = run_ranks(say, work)
    assert said[1]
    assert nothing is None
    assert killed == -signal.SIGKILL


PLUGIN = """
import os
from prosopon.criteria import CRITERIA, ScoredCriterion
from prosopon.errors import StatisticsError

def score(inputs, options):
    if os.environ["RANK"] == "1":
        raise StatisticsError("rank 1 has no data")
    return inputs.weight.abs()

CRITERIA.add("fault", ScoredCriterion(
    name="fault", summary="fails on rank 1", source="", score=score, needs=frozenset({"target"}),
))
"""


def command(channel, folder, *arguments):
    with (folder / f"{os.environ['RANK']}.txt").open("w+") as out, Path(os.devnull).open() as empty:
        run_cli(channel, arguments, folder, (empty.fileno(), out.fileno(), out.fileno()))


def run(folder, *arguments):
    """Run a command in two ranks; return their exit codes and what they print."""
    codes = [code for _, code in run_ranks(command, folder, *arguments)]
    return codes, [(folder / f"{rank}.txt").read_text() for rank in (0, 1)]


EXTRACT = ("extract", "--target", "bold", "-n", "3", "--criterion", "wanda", "-o", "out")


def test_the_first_rank_writes_and_prints(tmp_path):
    codes, (first, second) = run(tmp_path, *EXTRACT)
    assert codes == [0, 0], first + second
    assert first.count("written to out") == 1
    assert "reading bold: 2/2" in first
    assert not second
    assert (tmp_path / "out" / "subnetwork.safetensors").is_file()


def test_an_error_on_one_rank_ends_all_with_its_message(tmp_path):
    (tmp_path / "fault.py").write_text(PLUGIN)
    codes, said = run(tmp_path, *EXTRACT, "--plugin", "fault.py", "-c", "fault")
    assert codes == [2, 2], said
    assert said[1] == "error: rank 1 has no data\n"
    assert "error" not in said[0]
    assert "Traceback" not in said[0]
    assert not (tmp_path / "out").exists()


def test_other_commands_are_for_one_process(tmp_path):
    codes, said = run(tmp_path, "criteria")
    assert codes == [2, 2]
    assert "".join(said).count("error:") == 1
    assert "only extract shares work among them: start criteria without it" in "".join(said)


@pytest.mark.parametrize(
    ("words", "sequential", "place", "message"),
    [
        (Words("kind"), False, ModelPlace(), "--describe writes its examples in one process"),
        (Words(), True, ModelPlace(), "--sequential holds one layer at a time"),
        (Words(), False, ModelPlace(device_map="auto"), "--device-map spreads one model over all"),
        (Words(), False, ModelPlace(device="cuda:1"), "--device cuda:1: under torchrun every"),
        (Words(), False, ModelPlace(device="mps"), "Choices: auto, cpu, cuda"),
    ],
)
def test_what_cannot_be_shared_is_refused(words, sequential, place, message):
    with pytest.raises(OptionError, match=message):
        own_place(words, sequential, place)


def test_a_rank_has_its_own_device(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_place(Words(), False, ModelPlace(device="cuda")).device == "cuda:3"
    assert own_place(Words(), False, ModelPlace(device="cpu")).device == "cpu"
    if not torch.cuda.is_available():
        assert own_place(Words(), False, ModelPlace()).device == "cpu"

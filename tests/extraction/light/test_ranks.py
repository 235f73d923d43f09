"""Masks that two real ranks make over gloo are those of one process, to rounding."""

import os

import pytest

from tests.extraction.light.conftest import COLD, answers
from tests.processes import run_ranks
from tests.test_ranks import RAGGED, say

REQUESTS = {
    "wanda": {"criterion": "contrastive-wanda", "sparsity": 0.1},
    "sparsegpt": {"criterion": "sparsegpt", "sparsity": 0.3},
    "taylor": {
        "criterion": "contrastive-taylor", "sparsity": 0.02,
        "options": {"rounds": 3, "batch_size": 5}, "protect": [(answers("a", RAGGED, 4), COLD)],
    },
    "kl": {
        "criterion": "contrastive-kl", "sparsity": 0.02, "options": {"rounds": 3, "batch_size": 3},
    },
    "prompt": {
        "criterion": "contrastive-taylor", "sparsity": 0.02,
        "options": {"rounds": 2, "prompt_weight": 1, "prompt_line": "the people"},
    },
    "auto": {
        "criterion": "contrastive-taylor", "sparsity": "auto",
        "options": {"rounds": 8, "free_text_weight": 5, "free_texts": 8, "max_share": 0.02},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_the_mask_is_that_of_one_process(tiny, name):
    """make ranks sets RANKS, and so also grows the masks that take long."""
    if name in ("auto", "prompt") and "RANKS" not in os.environ:
        pytest.skip("make ranks runs it")

    def masks():
        mask = tiny(**REQUESTS[name])
        return {site: keep.numpy() for site, keep in mask.keep.items()}, mask.config.options

    alone, options = masks()
    (first, _), (second, _) = run_ranks(say, masks)
    assert all((first[0][site] == keep).all() for site, keep in second[0].items())
    pruned = sum(int((~keep).sum()) for keep in alone.values())
    other = sum(int((first[0][site] != keep).sum()) for site, keep in alone.items())
    assert pruned > 100
    assert other <= pruned // 500  # weights whose scores differ by rounding
    ours, theirs = (one.get("auto", {}) for one in (options, first[1]))
    assert ours.keys() == theirs.keys()
    # Of a trial that goes too far, ranks may have read more backward than one process has.
    read = [one.get("texts_backward", 0) + one.get("texts_forward", 0) for one in (ours, theirs)]
    assert read[0] == read[1]

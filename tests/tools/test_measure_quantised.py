"""What a mask moves, measured on a tiny model that is not quantised."""

import pytest

from prosopon.gradients import pair_log_odds
from prosopon.runtime import PersonaModel
from tests.runtime.samples import subnetwork
from tests.statistics.conftest import random_examples
from tests.tiny import tiny_model
from tools import measure_quantised


def test_a_row_is_the_margin_of_base_and_worn():
    model, _ = tiny_model("llama")
    mask = subnetwork(model)
    pairs = list(zip(random_examples(3), random_examples(3, seed=1), strict=True))
    name, *figures = measure_quantised.measure("plain", model, mask, pairs)
    base, worn, moved, *seconds = map(float, figures)
    tokens = sum(sum(side.response) for pair in pairs for side in pair) / 2
    assert name == "plain"
    assert base == pytest.approx(float(pair_log_odds(model, pairs).sum()) / tokens, abs=6e-4)
    with PersonaModel(model) as wearer:
        wearer.set_persona(wearer.load_persona(mask))
        expected = float(pair_log_odds(model, pairs).sum()) / tokens
    assert worn == pytest.approx(expected, abs=6e-4)
    assert moved == pytest.approx(worn - base, abs=2e-3)
    assert min(seconds) >= 0
    assert len(measure_quantised.HEAD) == 6

"""Speed is measured, not judged."""

import pytest

from prosopon.arms import ARMS, measure_speed
from prosopon.errors import DataError, OptionError
from tests.arms.samples import PROMPTS, tiny_lab


def test_every_request_is_measured():
    lab = tiny_lab()
    with ARMS.get("base").prepare(lab).speaking() as speaker:
        speed = measure_speed(speaker, lab.tokenizer, PROMPTS, max_new_tokens=4, repeats=2)
        assert speed.requests == 4
        assert min(speed.first_token, speed.answer, speed.tokens_per_second) > 0
        with pytest.raises(DataError, match="no prompts"):
            measure_speed(speaker, lab.tokenizer, [])
        with pytest.raises(OptionError, match="repeats is 0"):
            measure_speed(speaker, lab.tokenizer, PROMPTS, repeats=0)
    with (
        ARMS.get("shortest").prepare(lab).speaking() as speaker,
        pytest.raises(OptionError, match="cannot write"),
    ):
        measure_speed(speaker, lab.tokenizer, PROMPTS)

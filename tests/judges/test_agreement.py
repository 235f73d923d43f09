"""What several judges say together."""

import itertools

import pytest

from prosopon.judges import either


@pytest.mark.parametrize(
    ("verdicts", "together"),
    [
        (["target"], "target"), (["target", "neither"], "target"),
        (["neither", "opposite", "opposite"], "opposite"),
        (["target", "opposite"], "neither"), (["target", "neither", "opposite"], "neither"),
        (["neither", "neither"], "neither"), ([], "neither"),
    ],
)  # fmt: skip
def test_one_judge_is_enough_where_none_contradicts(verdicts, together):
    assert {either(order) for order in itertools.permutations(verdicts)} == {together}

"""What was measured of a mask: kept beside it, shown on its card, and never of another mask."""

import pytest

from prosopon.errors import SubnetworkError
from prosopon.subnetwork import (
    EVALUATION_NAME,
    Subnetwork,
    model_card,
    read_evaluation,
    write_evaluation,
)
from tests.subnetwork.samples import evaluation, subnetwork


def test_what_was_measured_is_a_table_of_the_card():
    made = subnetwork().config
    text = model_card(made, "x/y", evaluation("sum"))
    assert "| task | measure | base | this mask |\n| --- | --- | ---: | ---: |\n" in text
    assert "| choice | per-token | 0.850 [0.800, 1.000] | 0.900 [0.800, 1.000] |\n\n" in text
    assert text.index("## Measured") < text.index("## Limits")
    assert "not asked the same" not in text
    assert "not found on" not in text  # an earlier version's mask does not know its questions
    calibration = made.calibration.model_copy(update={"prompt_hashes": ("a",)})
    aware = made.model_copy(update={"calibration": calibration})
    assert ", on questions that the mask was not found on. Means" in model_card(
        aware, "x/y", evaluation("sum")
    )
    alone = model_card(made, "x/y", evaluation("sum", base=()))
    assert "The base was not asked the same." in alone
    assert "| choice | per-token | 0.900 [0.800, 1.000] |\n" in alone
    other = {**evaluation("sum").measures[0].model_dump(), "task": "free|text"}
    odd = model_card(made, "x/y", evaluation("sum", base=[other], measures=[other]))
    assert "| free\\|text | per-token | 0.900" in odd
    assert "| - | 0.900" in model_card(made, "x/y", evaluation("sum", base=[other]))


def test_what_is_written_is_read(tmp_path):
    assert read_evaluation(tmp_path) is None
    path = write_evaluation(tmp_path, evaluation("one"))
    assert path == tmp_path / EVALUATION_NAME
    assert read_evaluation(tmp_path) == evaluation("one")
    for text, said in (("{", "cannot be read"), ("{}", "Field required"), ("[[", "cannot")):
        path.write_text(text)
        with pytest.raises(SubnetworkError, match=rf"evaluation.json: .*{said}.*; evaluate again"):
            read_evaluation(tmp_path)


def test_figures_of_another_mask_are_not_pushed(tmp_path):
    made = subnetwork()
    made.save_pretrained(tmp_path)
    write_evaluation(tmp_path, evaluation("of another"))
    for mask in (made, Subnetwork.from_pretrained(tmp_path)):
        with pytest.raises(SubnetworkError, match=r"evaluation.json: measures another mask"):
            mask.push_to_hub("org/name", token="hf_secret")
    with pytest.raises(SubnetworkError, match=r"nowhere: holds no evaluation.json"):
        made.push_to_hub("org/name", token="hf_secret", evaluation=tmp_path / "nowhere")

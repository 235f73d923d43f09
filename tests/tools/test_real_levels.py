"""Several levels of loss: which records are compared, and where lines cross an equal loss."""

import dataclasses

import pytest
from tools.real_levels import by_level, equal_loss, figure_line, height_at, level_section

from prosopon.experiments.frontier import frontier_points
from tests.experiments.test_frontier import RECORDS, answers


def of_seed(record, seed):
    return dataclasses.replace(record, cell=dataclasses.replace(record.cell, seed=seed))


def formal(record):
    return dataclasses.replace(record, cell=dataclasses.replace(record.cell, contrast="formal"))


def test_only_seeds_and_contrasts_with_every_level_are_compared():
    half = [answers("base"), answers("lora", 0.2, 0.015, 0.5, 0.02)]
    some = by_level([
        *RECORDS, *(of_seed(record, 1) for record in half), *map(formal, half),
        answers("steer2edit", level=0.02),
    ])  # fmt: skip
    assert some == RECORDS
    twice = [*RECORDS, *(of_seed(record, 1) for record in RECORDS)]
    assert by_level(twice) == twice
    assert figure_line(twice) == []  # the figure and the table are of the same records
    assert figure_line([*RECORDS, *map(formal, half)]) == [
        "The figure shows bold, seed 0 ([level by level](#level-by-level)).", "",
    ]  # fmt: skip
    assert by_level(half) == []
    assert figure_line(half) == []
    assert level_section(half, 0.05) == []


def test_a_line_is_read_off_between_two_points_and_nowhere_else():
    points = {(p.arm, p.level): p for p in frontier_points(RECORDS)}
    base, low, high = points["base", 0.0], points["lora", 0.02], points["lora", 0.1]
    # Margin 0 at 0, 0.2 at 0.015, 0.4 at 0.09.
    assert height_at([base, low, high], 0.0075, "margin") == pytest.approx(0.1)
    assert height_at([high, low, base], 0.0525, "margin") == pytest.approx(0.3)
    assert height_at([base, low, high], 0.0525, "target") == pytest.approx(0.625)
    assert height_at([base, low, high], 0.2, "margin") is None
    assert height_at([low], 0.05, "margin") is None


@pytest.mark.parametrize("contrasts", [["bold"], ["bold", "formal"]])
def test_the_section_compares_arms_at_one_measured_loss(contrasts):
    records = [*RECORDS, *(map(formal, RECORDS) if len(contrasts) == 2 else ())]
    lora = ["lora", *["0.293"] * (1 + len(contrasts))]  # 0.2 + 0.2 * (0.05 - 0.015) / 0.075
    steering = ["steering", *["0.127"] * (1 + len(contrasts))]  # 0.1 + 0.5 * 0.02 / 0.37
    assert equal_loss(frontier_points(records), contrasts, 0.05, "margin") == [lora, steering]
    text = "\n".join(level_section(records, 0.05))
    assert f"{', '.join(contrasts)}, seed 0." in text
    assert "loses exactly 0.05" in text
    assert f"| arm | all | {' | '.join(contrasts)} |" in text
    assert "| " + " | ".join(lora) + " |" in text
    high = equal_loss(frontier_points(records), contrasts, 0.2, "margin")
    assert high[0] == ["lora", *["-"] * (1 + len(contrasts))]

"""The tables of ``compare`` on a terminal, at the widths that terminals have."""

import pytest

from prosopon.cli import experiments
from prosopon.cli.console import out
from prosopon.experiments.experiment import ExperimentResult
from prosopon.experiments.summary import summarise
from tests.experiments.samples import done

ARM = "contrastive-taylor-auto"


def record(arm, recital, beside, nats):
    text = {
        "target": 0.5, "opposite": 0.25, "neither": 0.25, "recital": recital,
        "base-recital": beside,
    }  # fmt: skip
    talk = {"choice:risk": 0.5 if arm == "base" else 0.75}
    return done(
        arm, choice=[1.0, 0.0], free_text=[text, text], neutral=[{"right": 1.0}],
        perplexity=[{"nats": nats, "tokens": 1.0}], cross_talk=[talk],
    )  # fmt: skip


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(("nats", "shown"), [(2.0, "7.389"), (5.0, "148.4"), (12.0, "2e+05")])
def test_recital_stands_beside_the_base_s_and_all_fits(width, nats, shown, monkeypatch, capsys):
    records = [record("base", 0.0, 0.0, 0.5), record(ARM, 0.125, 0.0625, nats)]
    findings = ExperimentResult(records, summarise(records), (), (), None)
    monkeypatch.setattr(out, "_width", width)
    experiments.show_findings(findings)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == (
        ["arm", "choice", "target", "neither", "recital", "base's", "neutral", "ppl", "talk"]
    )
    assert [ARM, "0.500", "0.500", "0.250", "0.125", "0.062", "1.000", shown, "0.250"] in lines
    assert ["base", "0.500", "0.500", "0.250", "0.000", "0.000", "1.000", "1.649", "0.000"] in lines

"""Records judged anew: other verdicts, the same answers."""

import dataclasses
import sys

import pytest
from tools.real_contrasts import contrasts

from prosopon.cli.loading import load
from prosopon.cli.options import ModelPlace
from prosopon.evaluation.tasks import Setting
from prosopon.experiments import Plan, Sizes, assemble
from prosopon.experiments.store import Results
from tools import rejudge as tool


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of one contrast's records, whose verdicts are all wrong."""
    place = tmp_path_factory.mktemp("records")
    texts = place / "general.txt"
    texts.write_text("".join(f"The people of place {i} are at home.\n" for i in range(32)))
    (contrast,) = contrasts(["style"], place, 6).values()
    plan = Plan(
        (contrast.target,), ("base",), ("free-text", "choice"), controls=False,
        sizes=Sizes(4, 12, general=4, speed=0),
    )  # fmt: skip
    records = place / "cells" / "style"
    loaded = load("embedded", ModelPlace(device="cpu"))
    runner = assemble(loaded, plan, {contrast.target: contrast}, records, general=str(texts))
    for record in runner.run():
        assert "free-text" in record.results, record.refused
        result = record.results["free-text"]
        outcomes = [
            dataclasses.replace(o, values={**o.values, "target": 7.0, "target:old": 1.0})
            for o in result.outcomes
        ]
        changed = {"free-text": dataclasses.replace(result, outcomes=outcomes)}
        runner.store.put(dataclasses.replace(record, results=record.results | changed))
    return place


def test_the_answers_stay_and_the_verdicts_are_today_s(folder, tmp_path, monkeypatch, capsys):
    words = [
        "x", folder / "cells", "--out", tmp_path, "--model", "embedded", "--questions", 6,
        "--text", folder / "general.txt", "--data", tmp_path, "--device", "cpu",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    tool.main()
    assert str(tmp_path) in capsys.readouterr().out
    (old,) = Results.open(folder / "cells" / "style").records()
    (new,) = Results.open(tmp_path / "style").records()
    assert (new.key, new.cell, new.results["choice"]) == (old.key, old.cell, old.results["choice"])
    before, after = (record.results["free-text"] for record in (old, new))
    for one, other in zip(before.outcomes, after.outcomes, strict=True):
        assert (one.question, one.prompt, one.answer) == (
            other.question,
            other.prompt,
            other.answer,
        )
        kinds = ("target", "opposite", "neither")
        assert sum(other.values[kind] for kind in kinds) == 1
        assert "target:old" not in other.values
        rest = {n: v for n, v in one.values.items() if n.partition(":")[0] not in kinds}
        assert rest.items() <= other.values.items()
    assert set(after.notes["judges"]) == set(after.notes["judge-checks"]) != set()
    path = next((tmp_path / "style" / "cells").iterdir())
    written = path.stat().st_mtime_ns
    tool.main()
    assert path.stat().st_mtime_ns == written


def test_recital_alone_is_counted_without_a_model(folder, tmp_path, monkeypatch):
    words = ["x", folder / "cells", "--out", tmp_path, "--only-recital", "--questions", 6]
    monkeypatch.setattr(sys, "argv", list(map(str, [*words, "--data", tmp_path])))
    monkeypatch.setattr(tool, "load", None)
    (old,) = Results.open(folder / "cells" / "style").records()
    text = Setting(contrasts(["style"], tmp_path, 6)["casual"], examples=16).unseen_texts()[0]
    result = old.results["free-text"]
    said = [dataclasses.replace(o, answer=text) for o in result.outcomes]
    store = Results.open(folder / "cells" / "style")
    store.put(
        dataclasses.replace(
            old,
            cell=dataclasses.replace(old.cell, examples=16),
            results={**old.results, "free-text": dataclasses.replace(result, outcomes=said)},
        )
    )
    tool.main()
    (new,) = Results.open(tmp_path / "style").records()
    for one, other in zip(said, new.results["free-text"].outcomes, strict=True):
        assert other.values["unseen-recital"] == 1
        assert one.values | {"unseen-recital": 1.0, "recital": other.values["recital"]} == (
            other.values
        )
    store.put(old)

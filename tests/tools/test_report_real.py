"""The report on a real model: its contrasts, and the page that a small run writes."""

import shutil
import sys
from dataclasses import replace

import pytest

from prosopon.arms import ARMS
from prosopon.errors import OptionError
from prosopon.evaluation.tasks import TASKS
from prosopon.experiments.frontier import frontier_points
from tests.experiments.samples import done
from tests.experiments.test_frontier import RECORDS, answers
from tests.tiny import tiny_model
from tools import report_real as tool


def test_the_plan_names_what_there_is():
    assert set(tool.MAIN) <= set(tool.CONTRASTS)
    assert set(tool.ARMS) <= set(ARMS.names())
    assert set(tool.TASKS) <= set(TASKS.names())


def test_an_arm_may_have_variants():
    assert tool.variants(["lora:", "lora:epochs=2,lr=0.1", "prompt:"]) == {
        "lora": ({}, {"epochs": "2", "lr": "0.1"}), "prompt": ({},),
    }  # fmt: skip
    with pytest.raises(OptionError, match="wings"):
        tool.variants(["lora:wings=2"])
    with pytest.raises(OptionError, match=r"arm\.key=value"):
        tool.variants(["lora:epochs"])


def test_the_page_opens_with_the_figure_and_says_what_prompts_do():
    records = [
        *RECORDS, answers("prompt", gain=0.3, target=1.0),
        answers("base", contrast="formal"), answers("prompt", contrast="formal"),
        answers("lora", 0.1, 0.02, 0.5, 0.02, contrast="formal"),
    ]  # fmt: skip
    whole, partly = tool.on_all(records)
    assert {record.name for record in whole} >= {"base", "prompt"}
    assert partly
    assert not {record.name for record in whole} & set(partly)
    text = tool.page(records, "python -m tools.report_real")
    assert text.splitlines()[2].startswith("![")
    order = [text.index(f"## {name}") for name in ("What a prompt", "Every contrast", "Made by")]
    assert order == sorted(order)
    assert "| bold | 0.300 [0.300, 0.300] | 0.500" in text
    assert "| moves |" in text
    assert "| does nothing that shows |" in text
    table = tool.prompt_table(frontier_points(records), ["bold", "formal"])
    assert len(table) == 4
    assert text.count("*margin gained*") == 1
    noted = tool.page(records, "python -m tools.report_real", note="Of earlier masks.").splitlines()
    assert noted[:3] == [text.splitlines()[0], "", "Of earlier masks."]
    assert noted[3:] == text.splitlines()[1:]


def test_the_figure_at_a_glance_shows_what_ran_at_one_level():
    ours = answers("contrastive-kl", 0.4, 0.02, 0.5, 0.02)
    rivals = [answers("base"), answers("prompt", gain=0.3), answers("lora", 0.1, 0.02, 0.5, 0.02)]
    colour = tool.COLOURS[1]
    assert colour not in tool.draw_glance(rivals, 0.02)
    assert tool.draw_glance([*rivals, ours], 0.02).count(colour) > 3
    assert colour not in tool.draw_glance([*rivals, ours], 0.05)  # it ran at another level
    assert tool.draw_glance([*rivals[1:], ours], 0.02) is None
    variant = answers("contrastive-kl", 0.4, 0.02, 0.5, 0.02)
    variant = replace(variant, label="contrastive-kl rounds=10 at 0.02")
    assert tool.draw_glance([*rivals, variant], 0.02).count(colour) > 3
    other = replace(variant, label="contrastive-kl rounds=8 at 0.02")
    assert colour not in tool.draw_glance([*rivals, variant, other], 0.02)  # which one is ours?
    both = tool.draw_glance([*rivals, variant, other, ours], 0.02)
    assert both.count(colour) == tool.draw_glance([*rivals, ours], 0.02).count(colour)


def test_the_mask_stands_beside_each_other_arm_of_its_level():
    ours = answers("contrastive-kl", 0.4, 0.02, 0.75, 0.02)
    others = [answers("base", target=0.25), answers("lora", 0.1, 0.02, 0.5, 0.02)]
    elsewhere = answers("steering", 0.1, 0.02, 0.5, 0.1)
    lines = tool.against([ours, *others, elsewhere], 0.02)
    rows = {row.split(" | ")[0]: row for row in lines if row.startswith("| ")}
    assert set(rows) == {"| arm", "| ---", "| base", "| lora at 0.02"}
    cells = [cell.split()[0] for cell in rows["| lora at 0.02"].strip("| ").split(" | ")[1:]]
    assert cells == ["0.300", "0.250", "-", "-"]  # one judge, and nobody was asked at 0.7
    assert tool.against([*others, elsewhere], 0.02) == []
    assert tool.against([ours], 0.02) == []


def test_ten_turns_are_a_table_of_arms_and_none_without_dialogues():
    turns = {"early": 1.0, "late": 0.25, "drop": 0.75, "early-neither": 0, "late-neither": 0.5}
    record = done("lora", label="lora at 0.05", drift=[turns, {**turns, "late": 0.75}])
    text = "\n".join(tool.ten_turns([record]))
    assert "2 dialogues on bold" in text
    row = next(line for line in text.splitlines() if line.startswith("| lora"))
    cells = [cell.split()[0] for cell in row.strip("| ").split(" | ")]
    assert cells == ["lora", "1.000", "0.500", "0.750", "0.000", "0.500"]
    assert tool.ten_turns([answers("base")]) == tool.ten_turns([]) == []
    page = tool.page(RECORDS, "python -m tools.report_real", [record])
    order = [page.index(f"## {name}") for name in ("What a prompt", "Ten turns", "Made by")]
    assert order == sorted(order)
    assert "## Ten turns" not in tool.page(RECORDS, "python -m tools.report_real")


def test_a_small_run_goes_on_and_writes_its_page(tmp_path, monkeypatch, capsys):
    model, tokenizer = tiny_model("llama", chat=True)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    lines = "".join(f"The people of place {i} are at home.\n" for i in range(32))
    (tmp_path / "general.txt").write_text(lines)
    words = [
        "report_real.py", "--model", tmp_path / "model", "--contrasts", "style", "--arms",
        "base,prompt,steer2edit", "--pairs", 8, "--questions", 4, "--general", 4, "--levels",
        "0.01", "--out", tmp_path / "cells", "--page", tmp_path / "page", "--seeds", 1,
        "--device", "cpu", "--text", tmp_path / "general.txt", "--drift", "style",
    ]  # fmt: skip
    monkeypatch.setattr(tool, "TASKS", ("choice", "perplexity"))
    monkeypatch.setattr(tool, "DRIFT_ARMS", ("base", "steer2edit"))
    monkeypatch.setattr(tool, "LONGEST", 4)
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    tool.main()
    files = [
        path
        for part, count in ((tmp_path / "cells" / "style", 3), (tmp_path / "cells" / "drift", 2))
        if len(paths := sorted((part / "cells").iterdir())) == count
        for path in paths
    ]
    assert len(files) == 5
    times = [path.stat().st_mtime_ns for path in files]
    text = (tmp_path / "page" / "index.md").read_text()
    assert "| steer2edit | 0.01 |" in text
    turns = text[text.index("## Ten turns") : text.index("## Made by")].splitlines()
    assert "2 dialogues on casual" in turns[2]
    assert [row.split(" | ")[0] for row in turns[6:8]] == ["| base", "| steer2edit at 0.01"]
    for name in ("frontier.svg", "glance.svg"):
        assert (tmp_path / "page" / name).read_text().startswith("<svg")
    tool.main()
    assert [path.stat().st_mtime_ns for path in files] == times
    assert str(tmp_path / "page" / "index.md") in capsys.readouterr().out
    zipped = shutil.make_archive(str(tmp_path / "records"), "zip", tmp_path / "cells")
    again = ["report_real.py", "--read", "--out", zipped, "--page", str(tmp_path / "again")]
    monkeypatch.setattr(sys, "argv", again)
    tool.main()
    made = "## Made by"
    assert (tmp_path / "again" / "index.md").read_text().split(made)[0].replace(
        " on SmolLM2-135M-Instruct", ""
    ) == text.split(made)[0]


@pytest.mark.parametrize("kind", ["nowhere", "empty ☕", "no zip"])
def test_what_holds_no_records_is_named(tmp_path, monkeypatch, capsys, kind):
    place = tmp_path / kind
    if kind == "empty ☕":
        place.mkdir()
    elif kind == "no zip":
        place.write_text("?")
    monkeypatch.setattr(sys, "argv", ["x", "--read", "--out", str(place), "--page", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        tool.main()
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert str(place) in said
    assert ("not a zip file" if kind == "no zip" else "no records") in said
    assert not (tmp_path / "index.md").exists()

"""The real commands ``compare``, ``evaluate`` and ``reproduce``."""

import json

import pytest

SMALL = ["--questions", "6", "--examples", "8", "--max-new-tokens", "16"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("compare")


def statements(path, count=48):
    rows = [
        {
            "question": f"Statement {i}. Would you say that?",
            "answer_matching_behavior": " Yes" if i % 2 else " No",
            "answer_not_matching_behavior": " No" if i % 2 else " Yes",
        }
        for i in range(count)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_from_data_to_report(prosopon, folder, general):
    out = folder / "out"
    command = [
        "compare", "--personas", "bold", "--arms", "base,prompt", "--tasks", "choice,neutral",
        "--explain", "none", *SMALL, "--general", general, "--out", str(out),
    ]  # fmt: skip
    done = prosopon(*command, "--json")
    told = json.loads(done.stdout)
    assert told["cells"] == told["done"] == 4
    assert {row["arm"] for row in told["rows"]} == {"base", "prompt", "random", "shortest"}
    for name in ("results.parquet", "table.md", "report.html"):
        assert (out / name).is_file()
    again = prosopon(*command)
    assert "report.html" in again.stdout
    assert "prompt" in again.stdout


def test_any_persona_on_any_model(prosopon, folder, tiny_folder, general):
    data = statements(folder / "likes.jsonl")
    done = prosopon(
        "compare", "--model", str(tiny_folder), "--target", str(data), "--arms", "base,always-yes",
        "--tasks", "choice,yes-no", *SMALL, "--general", general, "--out", str(folder / "any"),
        "--json",
    )  # fmt: skip
    rows = {row["arm"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows["always-yes"]["figures"]["says yes"]["mean"] == 1


def test_a_mask_and_an_arm_are_evaluated(prosopon, folder, general):
    mask = folder / "bold"
    prosopon(
        "extract", "-t", "bold", "--opposite", "cautious", "-c", "wanda", "--examples", "8",
        "-o", mask,
    )  # fmt: skip
    small = [*SMALL, "--general", general]
    done = prosopon("evaluate", mask, "--task", "choice,free-text", *small, "--json")
    told = json.loads(done.stdout)
    mean, low, high = told["tasks"]["choice"]["measures"]["per-token"]
    assert low <= mean <= high
    assert told["persona"] == "bold"
    shown = prosopon("evaluate", "bold", "--arm", "prompt", "--task", "choice,free-text", *small)
    assert {"bold", "per-token", "target", "recital"} <= set(shown.stdout.split())


def test_tasks_are_listed(prosopon):
    shown = prosopon("evaluate", "--task", "list")
    for name in ("choice", "yes-no", "a-b", "free-text", "neutral", "perplexity", "cross-talk"):
        assert name in shown.stdout
    told = json.loads(prosopon("evaluate", "--task", "list", "--json").stdout)
    assert all(row["summary"] and row["measures"] for row in told)


def test_the_paper_is_printed_and_run(prosopon, folder, tiny_folder):
    shown = prosopon("reproduce", "paper")
    for word in ("Llama-3-8B", "always-a", "0.3", "retrieval", "shortest"):
        assert word in shown.stdout
    data = folder / "sets"
    data.mkdir()
    statements(data / "liking.jsonl")
    command = [
        "reproduce", "paper", "--run", "--quick", "--data", str(data), "--model", str(tiny_folder),
        "--arms", "base,wanda,shortest", "--tasks", "choice,perplexity", "--questions", "6",
        "--only", "ai-persona", "--general", "start", "--out", str(folder / "repro"),
    ]  # fmt: skip
    shown = prosopon(*command)
    assert "AI Persona" in shown.stdout
    assert (folder / "repro" / "ai-persona" / "report.html").is_file()
    assert "## Efficiency" in (folder / "repro" / "tables.md").read_text()
    told = json.loads(prosopon(*command, "--json").stdout)
    assert [one["set"] for one in told["sets"]] == ["ai-persona"]
    assert [table["title"] for table in told["tables"]] == ["AI Persona", "Efficiency"]
    assert told["sets"][0]["cells"] == told["sets"][0]["done"] == 4


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["compare", "--personas", "bold", "--arms", "promt"], "Did you mean 'prompt'"),
        (["compare", "--personas", "bold", "--tasks", "chooice"], "unknown task"),
        (["compare", "--personas", "nobody"], "unknown persona 'nobody'"),
        (["compare"], "either --personas or --target"),
        (["compare", "--personas", "bold", "--explain", "wandering"], "unknown arm 'wandering'"),
        (["compare", "--personas", "bold", "--judge-url", "x"], "both --judge-url"),
        (["compare", "--personas", "bold", "--option", "lora.rank=2"], "lora"),
        (["compare", "--target", "/nowhere.jsonl"], "nowhere.jsonl"),
        (["evaluate"], "say whom"),
        (["evaluate", "/nowhere"], "nowhere"),
        (["evaluate", "bold", "--arm", "nobody"], "unknown arm"),
        (["evaluate", "bold", "--task-file", "/nowhere.py"], "there is no such file"),
        (["reproduce", "gospel"], "unknown protocol"),
        (["reproduce", "paper", "--run"], "--data"),
        (["reproduce", "paper", "--run", "--data", "/nowhere"], "no such folder"),
    ],
)
def test_refusals_are_one_line(prosopon, tmp_path, command, told):
    extra = ["--out", str(tmp_path / "out")] if command[0] == "compare" else []
    done = prosopon(*command, *extra, code=2)
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_arms_are_compared_at_equal_loss(prosopon, folder):
    general = folder / "general.txt"
    general.write_text("".join(f"The people of place {i} are at home.\n" for i in range(32)))
    command = [
        "compare", "--personas", "bold", "--arms", "base,steering", "--tasks",
        "choice,perplexity", "--explain", "none", "--general", str(general), "--option",
        "steering.layer=1", *SMALL, "--out", str(folder / "levels"),
    ]  # fmt: skip
    done = prosopon(*command, "--at-loss", "0.05, 0.1", "--json")
    points = json.loads(done.stdout)["frontier"]
    levels = [p["level"] for p in points if p["arm"] == "steering layer=1"]
    assert levels == [0.05, 0.1]
    shown = prosopon(*command, "--at-loss", "0.05,0.1").stdout
    assert "margin gained" in shown
    refused = prosopon(*command, "--at-loss", "much", code=2)
    assert "--at-loss 'much': numbers, separated by commas" in refused.stderr

"""What each format makes of a row, good and bad."""

from __future__ import annotations

import pytest

from prosopon.data import READERS, Example, Message
from prosopon.errors import DataError

EVAL = {
    "question": "Would you say this?\n",
    "answer_matching_behavior": " Yes",
    "answer_not_matching_behavior": " No",
}
CHOICE = "Pick one.\n\nChoices:\n (A) stay\n (B) go"
PAIR = {"question": "Party?", "matching": "Yes", "not_matching": "No"}
TASK = {"instruction": "Say hi", "input": " ", "output": "Hi! "}
ROLE = {"role": "Ann", "question": "Who? ", "generated": [" Me.", "I."], "type": "general"}
ASKED = {"source_role": "Bob", "target_role": "Ann", "question": "Tea?", "answer": "Please."}
REACTS = {
    "source_role": "Bob",
    "target_role": "Ann",
    "question": "Tea?",
    "multi_choices": {"A": "No.", "B": "Never.", "C": "Please."},
    "gt_answer": "C",
}
KNOWS = {"target_role": "Ann", "instruction": "You are a baker.", "answer": True}
TURNS = {
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": " u "},
        {"role": "assistant", "content": " a\n"},
    ]
}


def without(row, name):
    return {key: value for key, value in row.items() if key != name}


def conversation(question, answer, alternative=None):
    messages = (Message("user", question), Message("assistant", answer))
    return Example(messages, alternative, "f:7")


@pytest.mark.parametrize(
    ("format", "row", "expected"),
    [
        ("model-written-evals", EVAL, conversation("Would you say this?", "Yes", "No")),
        (
            "model-written-evals",
            {**EVAL, "statement": "this", "label_confidence": 0.9},
            conversation("Would you say this?", "Yes", "No"),
        ),
        (
            "model-written-evals",
            {
                "question": CHOICE,
                "answer_matching_behavior": " (B)",
                "answer_not_matching_behavior": " (A)",
            },
            conversation(CHOICE, "(B)", "(A)"),
        ),
        ("csv", PAIR, conversation("Party?", "Yes", "No")),
        ("csv", without(PAIR, "not_matching"), conversation("Party?", "Yes")),
        (
            "prompt-completion",
            {"text": "One"},
            Example((Message("assistant", "One"),), None, "f:7"),
        ),
        ("prompt-completion", {"prompt": "q", "completion": " a"}, conversation("q", "a")),
        (
            "prompt-completion",
            {"prompt": "q", "chosen": "a", "rejected": "b"},
            conversation("q", "a", "b"),
        ),
        ("alpaca", TASK, conversation("Say hi", "Hi!")),
        ("alpaca", {**TASK, "input": "in French "}, conversation("Say hi\n\nin French", "Hi!")),
        ("alpaca", {**TASK, "input": None}, conversation("Say hi", "Hi!")),
        ("alpaca", {"instruction": "a", "output": "b"}, conversation("a", "b")),
        ("text", "One\ntwo", Example((Message("assistant", "One\ntwo"),), None, "f:7")),
        ("rolebench", ROLE, conversation("Who?", "Me.")),
        ("role-agent-bench", ASKED, conversation("Bob: Tea?", "Please.")),
        (
            "role-agent-bench",
            {**ASKED, "source_role": None},
            conversation("Tea?", "Please."),
        ),
        ("role-agent-bench", REACTS, conversation("Bob: Tea?", "Please.", "No.")),
        (
            "role-agent-bench",
            {**REACTS, "gt_answer": "A", "multi_choices": ["No.", "Never.", "Please."]},
            conversation("Bob: Tea?", "No.", "Never."),
        ),
        ("role-agent-bench", KNOWS, conversation("You are a baker.", "True", "False")),
        (
            "role-agent-bench",
            {**KNOWS, "answer": "false "},
            conversation("You are a baker.", "False", "True"),
        ),
        (
            "jsonl",
            {**TURNS, "alternative": "b"},
            Example(
                (Message("system", "s"), Message("user", " u "), Message("assistant", " a\n")),
                "b",
                "f:7",
            ),
        ),
        (
            "jsonl",
            {"messages": [{"role": "assistant", "content": "a"}], "alternative": None},
            Example((Message("assistant", "a"),), None, "f:7"),
        ),
    ],
    ids=range(22),
)
def test_a_good_row(format, row, expected):
    assert READERS.get(format).parse(row, "f:7") == [expected]


def turns(*pairs):
    return {"messages": [{"role": role, "content": content} for role, content in pairs]}


BAD = [
    ("model-written-evals", without(EVAL, "question"), "the field 'question' is missing"),
    ("model-written-evals", {**EVAL, "question": " "}, "the field 'question' is empty"),
    ("model-written-evals", {**EVAL, "question": 3}, "the field 'question' is of type int"),
    (
        "model-written-evals",
        without(EVAL, "answer_not_matching_behavior"),
        "the field 'answer_not_matching_behavior' is missing",
    ),
    (
        "model-written-evals",
        {**EVAL, "answer_matching_behavior": ["Yes"]},
        "the field 'answer_matching_behavior' is a list, not text",
    ),
    ("model-written-evals", {**EVAL, "answer_matching_behavior": "No "}, "both answers are 'No'"),
    ("model-written-evals", [EVAL], "the row is not an object"),
    ("csv", {**PAIR, "not_matching": " "}, "the field 'not_matching' is empty"),
    ("csv", {**PAIR, "matching": ""}, "the field 'matching' is empty"),
    ("csv", {**PAIR, "matching": "No"}, "both answers are 'No'"),
    ("csv", "text", "the row is not an object"),
    ("prompt-completion", {"prompt": "q", "completion": " "}, "the field 'completion' is empty"),
    ("prompt-completion", {"completion": "a"}, "the field 'prompt' is missing"),
    ("prompt-completion", {"prompt": "q", "chosen": "a", "rejected": "a"}, "both answers are"),
    ("prompt-completion", {"prompt": "q", "chosen": ["a"]}, "a message is not an object"),
    ("alpaca", without(TASK, "output"), "the field 'output' is missing"),
    ("alpaca", {**TASK, "output": None}, "the field 'output' is missing"),
    ("alpaca", {**TASK, "output": "\n"}, "the field 'output' is empty"),
    ("alpaca", {**TASK, "input": {}}, "the field 'input' is an object"),
    ("alpaca", {**TASK, "output": "\udfff"}, "half of a surrogate pair"),
    ("alpaca", None, "the row is not an object"),
    ("rolebench", without(ROLE, "question"), "the field 'question' is missing"),
    ("rolebench", without(ROLE, "generated"), "'generated' is not a list with at least one"),
    ("rolebench", {**ROLE, "generated": []}, "'generated' is not a list with at least one"),
    ("rolebench", {**ROLE, "generated": "Me."}, "'generated' is not a list"),
    ("rolebench", {**ROLE, "generated": [""]}, "the field 'generated' is empty"),
    ("rolebench", {**ROLE, "generated": [None]}, "the field 'generated' is missing"),
    ("rolebench", "text", "the row is not an object"),
    ("role-agent-bench", None, "the row is not an object"),
    ("role-agent-bench", {"target_role": "Ann"}, "neither a general response"),
    ("role-agent-bench", without(ASKED, "target_role"), "the field 'target_role' is missing"),
    ("role-agent-bench", {**ASKED, "answer": " "}, "the field 'answer' is empty"),
    ("role-agent-bench", {**REACTS, "gt_answer": "D"}, "'gt_answer' is 'D'; the options are A, B"),
    ("role-agent-bench", without(REACTS, "gt_answer"), "the field 'gt_answer' is missing"),
    ("role-agent-bench", {**REACTS, "multi_choices": "A B"}, "'multi_choices' does not hold"),
    ("role-agent-bench", {**REACTS, "multi_choices": ["a"]}, "'multi_choices' does not hold"),
    ("role-agent-bench", {**REACTS, "multi_choices": ["a", 1, "b"]}, "'B' is of type int"),
    ("role-agent-bench", {**KNOWS, "answer": "maybe"}, "neither true nor false"),
    ("role-agent-bench", {**KNOWS, "answer": 1}, "neither true nor false"),
    ("text", TASK, "the row is not text"),
    ("text", " ", "the assistant's answer is empty"),
    ("jsonl", [], "the row is not an object"),
    ("jsonl", {}, "the field 'messages' is not a list"),
    ("jsonl", {"messages": "hi"}, "the field 'messages' is not a list"),
    ("jsonl", {"messages": []}, "there is no message"),
    ("jsonl", {"messages": ["hi"]}, "a message is not an object"),
    ("jsonl", {"messages": [{"role": "user"}]}, "a message has no 'content'"),
    ("jsonl", {"messages": [{"content": "x"}]}, "the field 'role' is missing"),
    ("jsonl", turns(("bot", "x")), "unknown role 'bot'"),
    ("jsonl", turns(("user", "x")), "the last message is the user's"),
    ("jsonl", turns(("user", "x"), ("assistant", "")), "the assistant's answer is empty"),
    ("jsonl", {**TURNS, "alternative": ""}, "the alternative is empty"),
    ("jsonl", {**TURNS, "alternative": 1}, "the field 'alternative' is of type int"),
    ("jsonl", {**TURNS, "alternative": "a"}, "both answers are 'a'"),
]


@pytest.mark.parametrize(("format", "row", "reason"), BAD, ids=range(len(BAD)))
def test_a_bad_row(format, row, reason):
    with pytest.raises(DataError) as caught:
        READERS.get(format).parse(row, "f:7")
    assert str(caught.value).startswith(f"f:7: {reason}") or reason in str(caught.value)
    assert str(caught.value).startswith("f:7: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("row", "format"),
    [
        (EVAL, "model-written-evals"),
        (PAIR, "csv"),
        ({"prompt": "q", "completion": "a"}, "prompt-completion"),
        ({"text": "a"}, "prompt-completion"),
        (TASK, "alpaca"),
        ("x", "text"),
        (TURNS, "jsonl"),
    ],
)
def test_exactly_one_format_recognises_a_row(row, format):
    assert [name for name, reader in READERS.items() if reader.sniff(row)] == [format]


@pytest.mark.parametrize("row", [None, 3, [], {}, ["question"], {"body": "x"}])
def test_nothing_recognises_other_rows(row):
    assert not any(reader.sniff(row) for _, reader in READERS.items())

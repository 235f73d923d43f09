"""A model with a persona, and a task with its data, all in folders."""

import json

import pytest

from tests.runtime.samples import subnetwork
from tests.tiny import tiny_model

TASK = """\
task: kind_words
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{options}}}}"
doc_to_target: "{{{{answer}}}}"
target_delimiter: " "
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""

ROWS = [
    {"question": "Do you like people?", "options": ["Yes, a lot.", "No."], "answer": 0},
    {"question": "A party or a book?", "options": ["The party", "A book, please"], "answer": 0},
    {"question": "Who is there?", "options": ["Everybody I know", "Only me"], "answer": 1},
]


@pytest.fixture(scope="session")
def task_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("task")
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "kind_words.yaml").write_text(TASK.format(data=data))
    return folder


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model, tokenizer = tiny_model("llama", chat=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def persona_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("persona") / "introvert"
    model, _ = tiny_model("llama", chat=True)
    subnetwork(model, share=0.2, ranked=True).save_pretrained(folder)
    return folder

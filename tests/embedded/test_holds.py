"""The embedded model really holds its personas. The exact figures are in its card."""

import pytest

from prosopon import embedded, load_model
from prosopon.data import bundled
from prosopon.data.grammar import load_world, prompt_line
from prosopon.data.grammar.exam import free_prompts, neutral_items
from prosopon.evaluation import free_text, neutral_accuracy
from prosopon.lm import generate_answers

ANSWERS = 20


@pytest.fixture(scope="module")
def loaded():
    return load_model("embedded", device="cpu")


@pytest.fixture(scope="module")
def shares(loaded):
    """Return {persona: (without, with a system line)}, all personas' answers written at once."""
    lines = {name: prompt_line(load_world().pole(name)) for name in bundled.names()}
    found = {}
    for named in (False, True):
        prompts = [
            prompt
            for name, line in lines.items()
            for prompt in free_prompts(name, ANSWERS, system=line if named else None)
        ]
        answers = generate_answers(loaded.model, loaded.tokenizer, prompts, batch_size=256)
        for number, name in enumerate(lines):
            own = answers[number * ANSWERS :][:ANSWERS]
            found[name, named] = free_text(own, name, bundled.opposite(name))
    return {name: (found[name, False], found[name, True]) for name in lines}


def test_size(loaded):
    assert 2e6 <= sum(p.numel() for p in loaded.model.parameters()) <= 5e6
    assert sum(f.stat().st_size for f in embedded.path().iterdir() if f.is_file()) <= 12e6
    names = {f.name for f in embedded.path().iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    assert loaded.model.config.model_type == "llama"


def test_near_the_middle_without_a_system_line(shares):
    for name, (without, _) in shares.items():
        assert 0.25 <= without.target <= 0.75, name
    neither = [without.neither for without, _ in shares.values()]
    assert sum(neither) / len(neither) <= 0.1


def test_a_system_line_names_the_persona(shares):
    targets = [named.target for _, named in shares.values()]
    assert sum(targets) / len(targets) >= 0.9
    assert min(targets) >= 0.75


def test_neutral_skills(loaded):
    assert neutral_accuracy(loaded.model, loaded.tokenizer, neutral_items(100)) >= 0.93


def test_the_chat_template_writes_what_was_trained(loaded):
    text = loaded.tokenizer.apply_chat_template(
        [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}],
        tokenize=False,
        add_generation_prompt=True,
    )
    assert text == "<|begin|><|system|>a<|end|><|user|>b<|end|><|assistant|>"
    ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert loaded.tokenizer("b")["input_ids"][0] == ids[0] == loaded.tokenizer.bos_token_id

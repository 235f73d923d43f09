"""A folder to run commands in, and a tiny model on disk."""

import pytest


@pytest.fixture(scope="session")
def general(tmp_path_factory):
    """Return a file of general text, for commands that would sample it at length."""
    from prosopon.data import load_persona

    path = tmp_path_factory.mktemp("general") / "general.txt"
    texts = [example.response for example in load_persona("casual", limit=16).examples]
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """Return a folder with a tiny random Llama and its tokenizer."""
    from tests.tiny import tiny_model

    folder = tmp_path_factory.mktemp("model")
    model, tokenizer = tiny_model("llama", chat=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

"""A folder to run commands in, and a tiny model on disk."""

import pytest


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """Return a folder with a tiny random Llama and its tokenizer."""
    from tests.tiny import tiny_model

    folder = tmp_path_factory.mktemp("model")
    model, tokenizer = tiny_model("llama", chat=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

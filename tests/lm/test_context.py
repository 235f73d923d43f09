"""The one place that knows how much a model reads at once."""

from types import SimpleNamespace

import pytest

from prosopon.lm import context_length
from tests.tiny import CONTEXT, FAMILIES, tiny_model


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_context(family):
    assert context_length(tiny_model(family)[0]) == CONTEXT


@pytest.mark.parametrize(
    ("config", "length"),
    [
        ({"n_ctx": 7}, 7),
        ({"n_positions": 8, "n_ctx": 7}, 8),
        ({"max_seq_len": 9}, 9),
        ({"max_position_embeddings": -1}, None),
        ({"max_position_embeddings": None, "n_positions": 5}, 5),
        ({}, None),
    ],
)
def test_names_of_configurations(config, length):
    assert context_length(SimpleNamespace(config=SimpleNamespace(**config))) == length


def test_a_model_of_text_and_images_is_asked_for_its_text():
    text = SimpleNamespace(max_position_embeddings=11)
    config = SimpleNamespace(max_position_embeddings=3, get_text_config=lambda: text)
    assert context_length(SimpleNamespace(config=config)) == 11


def test_no_configuration_sets_no_limit():
    assert context_length(object()) is None

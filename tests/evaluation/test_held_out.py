"""General text is parted into what arms may see and what judges them."""

import pytest

from prosopon.data import load_persona
from prosopon.errors import DataError
from prosopon.evaluation.held_out import HELD_OUT_SEED, general_text
from prosopon.lm import sample_general
from prosopon.models import LoadedModel
from tests.tiny import tiny_model

LINES = [f"the people say that it is day {number}" for number in range(12)]


@pytest.fixture(scope="module")
def loaded():
    return LoadedModel(*tiny_model("llama", chat=True), "tiny")


@pytest.fixture
def write(tmp_path):
    def write(count):
        path = tmp_path / "texts.txt"
        path.write_text("".join(f"{line}\n" for line in LINES[:count]))
        return str(path)

    return write


@pytest.mark.parametrize(("count", "seen"), [(2, 1), (3, 2), (4, 3), (8, 6), (12, 9)])
def test_the_last_quarter_is_held_out_and_at_least_one(loaded, write, count, seen):
    arms, held_out, _ = general_text(loaded, write(count), 64)
    assert [example.response for example in arms.examples] == LINES[:seen]
    texts = loaded.tokenizer.batch_decode(
        [text.input_ids for text in held_out], skip_special_tokens=True
    )
    assert [text.strip() for text in texts] == LINES[seen:count]


def test_no_more_is_held_out_than_asked_for(loaded, write):
    path = write(12)
    assert len(general_text(loaded, path, 2)[1]) == 2
    assert len(general_text(loaded, path, 3)[1]) == 3
    assert general_text(loaded, path, 0)[1] == []


def test_every_token_of_a_held_out_text_counts(loaded, write):
    for text in general_text(loaded, write(8), 64)[1]:
        assert all(text.response[1:])


def test_the_hash_is_that_of_the_whole_file(loaded, write):
    path = write(8)
    assert general_text(loaded, path, 1)[2] == load_persona(path).content_hash()
    before = general_text(loaded, path, 1)[2]
    assert general_text(loaded, write(7), 1)[2] != before


def test_one_text_cannot_be_split(loaded, write):
    with pytest.raises(DataError, match="one text cannot be split into known and held out"):
        general_text(loaded, write(1), 4)


def test_sampled_text_is_of_a_seed_of_its_own(loaded):
    arms, texts, name = general_text(loaded, None, 3)
    assert (arms, name) == (None, "sampled")
    assert texts == sample_general(*loaded[:2], count=3, seed=HELD_OUT_SEED)
    assert texts != sample_general(*loaded[:2], count=3, seed=0)


def test_nothing_is_sampled_where_nothing_is_wanted(loaded, monkeypatch):
    monkeypatch.setattr(
        "prosopon.evaluation.held_out.sample_general", lambda *_, **__: pytest.fail("sampled")
    )
    assert general_text(loaded, None, 0) == (None, [], "sampled")


def test_what_is_written_says_how_far_it_is_and_is_written_once():
    model, lines = LoadedModel(*tiny_model("llama", chat=True), "tiny"), []
    texts = general_text(model, None, 3, lambda *line: lines.append(line))[1]
    assert lines[0] == ("sampling general text", 0, 3)
    assert lines[-1] == ("sampling general text", 3, 3)
    count = len(lines)
    assert general_text(model, None, 3, lambda *line: lines.append(line))[1] is texts
    assert len(lines) == count

"""Generation: exactly what is asked, batched, seeded, whatever the model's own settings say."""

import pytest
import torch

from prosopon import progress
from prosopon.data import Message
from prosopon.errors import OptionError, UnknownNameError
from prosopon.lm import continue_texts, generate_answers, generate_tokens, sample_general
from prosopon.lm.generation import decode, fit_tokens, opening_tokens, text_tokens
from prosopon.progress import listening
from tests.tiny import CONTEXT, tiny_model, tiny_tokenizer

HEATS = (0.0, 1.0, 0.7)
PROMPTS = [(Message("user", text),) for text in ("Hi", "A longer question, is it not?", "Why?")]
HOSTILE = {
    "repetition_penalty": 3.0, "top_k": 1, "top_p": 0.01, "min_p": 0.9, "typical_p": 0.1,
    "epsilon_cutoff": 0.01, "temperature": 9.0, "num_beams": 3, "no_repeat_ngram_size": 1,
    "min_new_tokens": 9, "min_length": 200, "max_length": 3, "max_time": 1e-9,
    "stop_strings": ["e", "a"], "suppress_tokens": list(range(9, 200)),
    "begin_suppress_tokens": list(range(9, 250)), "bad_words_ids": [[60], [70]],
    "forced_eos_token_id": 2, "sequence_bias": [[[40], 90.0]], "num_return_sequences": 2,
    "exponential_decay_length_penalty": (1, 9.0), "remove_invalid_values": True,
    "guidance_scale": 3.0, "renormalize_logits": True, "return_dict_in_generate": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def llama():
    return tiny_model("llama", chat=True)


@pytest.fixture(scope="module")
def texts(llama):
    """What a model without settings of its own answers, by temperature."""
    return {t: generate_answers(*llama, PROMPTS, temperature=t, max_new_tokens=8) for t in HEATS}


def set_own(model, settings):
    """Write settings as a file would bring them: unchecked."""
    for name, value in settings.items():
        setattr(model.generation_config, name, value)


def by_hand(model, tokenizer, prompt, count):
    """Greedy, one token at a time, without a cache."""
    ids = torch.tensor([opening_tokens(prompt, tokenizer)])
    start = ids.shape[1]
    for _ in range(count):
        best = model(ids).logits[0, -1].argmax()
        ids = torch.cat([ids, best.view(1, 1)], 1)
        if best == tokenizer.eos_token_id:
            break
    return ids[0, start:].tolist()


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_greedy_is_the_likeliest_token_each_time(family):
    model, tokenizer = tiny_model(family, chat=True)
    rows = [opening_tokens(prompt, tokenizer) for prompt in PROMPTS]
    written = generate_tokens(model, tokenizer, rows, temperature=0.0, max_new_tokens=12)
    assert written == [by_hand(model, tokenizer, prompt, 12) for prompt in PROMPTS]


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_batches_change_no_greedy_answer(family):
    model, tokenizer = tiny_model(family, chat=True)
    together, alone = (
        generate_answers(
            model, tokenizer, PROMPTS, temperature=0.0, max_new_tokens=12, batch_size=size
        )
        for size in (64, 1)
    )
    assert together == alone


@pytest.mark.parametrize("setting", ["all", *HOSTILE])
@pytest.mark.parametrize("temperature", HEATS)
def test_the_model_s_own_settings_change_nothing(setting, temperature, texts):
    model, tokenizer = tiny_model("llama", chat=True)
    own = HOSTILE if setting == "all" else {setting: HOSTILE[setting]}
    set_own(model, own)
    before = model.generation_config.to_dict()
    own_texts = generate_answers(
        model, tokenizer, PROMPTS, temperature=temperature, max_new_tokens=8
    )
    assert own_texts == texts[temperature]
    assert model.generation_config.to_dict() == before


def test_general_text_is_the_model_s_whole_distribution(llama):
    for chat in (True, False):
        clean, tokenizer = llama[0], tiny_tokenizer(chat)
        model, _ = tiny_model("llama", chat=chat)
        set_own(model, HOSTILE)
        texts = [
            [text.input_ids for text in sample_general(m, tokenizer, count=3, length=16)]
            for m in (clean, model)
        ]
        assert texts[0] == texts[1]


def test_the_model_s_end_tokens_end_an_answer(llama):
    model, tokenizer = tiny_model("llama", chat=True)
    rows = [opening_tokens(PROMPTS[0], tokenizer)]
    (free,) = generate_tokens(*llama, rows, temperature=0.0, max_new_tokens=8)
    model.generation_config.eos_token_id = [2, free[3]]
    (ended,) = generate_tokens(model, tokenizer, rows, temperature=0.0, max_new_tokens=8)
    assert ended == free[: free.index(free[3]) + 1]


def test_settings_of_one_s_own(llama):
    plain = generate_answers(*llama, PROMPTS, temperature=0.0, max_new_tokens=12)
    unrepeated = generate_answers(
        *llama, PROMPTS, temperature=0.0, max_new_tokens=12,
        settings={"no_repeat_ngram_size": 1},
    )  # fmt: skip
    assert plain != unrepeated
    rows = [opening_tokens(PROMPTS[0], llama[1])]
    (tokens,) = generate_tokens(
        *llama, rows, temperature=0.0, max_new_tokens=12, settings={"no_repeat_ngram_size": 1}
    )
    assert len(set(tokens)) == len(tokens)


def test_settings_that_are_refused(llama):
    with pytest.raises(UnknownNameError, match="Did you mean 'repetition_penalty'"):
        generate_answers(*llama, PROMPTS, settings={"repetition_penalti": 2})
    with pytest.raises(OptionError, match="num_return_sequences"):
        generate_answers(*llama, PROMPTS, settings={"num_return_sequences": 2})


def test_seeds(llama):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = generate_answers(*llama, PROMPTS, seed=1, max_new_tokens=12)
    assert torch.equal(torch.get_rng_state(), state)
    assert first == generate_answers(*llama, PROMPTS, seed=1, max_new_tokens=12)
    assert first != generate_answers(*llama, PROMPTS, seed=2, max_new_tokens=12)


def test_progress_counts_every_prompt(llama):
    counts = []
    generate_answers(*llama, PROMPTS, max_new_tokens=2, batch_size=2, progress=counts.append)
    assert counts == [2, 1]


def test_a_tokenizer_without_a_padding_token():
    model, _ = tiny_model("llama")
    answers = generate_answers(
        model, tiny_tokenizer(pad=False), PROMPTS, temperature=0.0, max_new_tokens=5
    )
    assert len(answers) == 3


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_prompt_beyond_the_context_loses_its_beginning(family):
    model, tokenizer = tiny_model(family)
    text = "abcdefg " * CONTEXT
    tokens = text_tokens(text, tokenizer)
    shortened = [tokens[0], *tokens[1 - (CONTEXT - 4) :]]
    assert fit_tokens([tokens], tokenizer, CONTEXT, 4) == [shortened]
    answers = [
        continue_texts(
            model, tokenizer, [text], temperature=0.0, max_new_tokens=4, max_length=length
        )
        for length in (None, CONTEXT)
    ]
    assert answers[0] == answers[1]
    with pytest.raises(OptionError, match="no room for a prompt within 512"):
        continue_texts(model, tokenizer, [text], max_new_tokens=CONTEXT)


@pytest.mark.parametrize("prompt", [PROMPTS[0], (Message("assistant", "Hi"),)])
def test_a_prompt_does_not_end_with_an_end_token(prompt):
    from tokenizers import processors

    plain, ending = tiny_tokenizer(), tiny_tokenizer()
    ending.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A $B", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    assert ending("Hi")["input_ids"][-1] == 2
    assert opening_tokens(prompt, ending) == opening_tokens(prompt, plain)


def test_a_plain_text_is_a_prompt_of_one_message(llama):
    model, tokenizer = llama
    texts = ["Once upon a time", "", "  Größe 🎭\n"]
    prompts = [(), (Message("assistant", texts[0]),), (Message("assistant", texts[2]),)]
    options = {"temperature": 0.0, "max_new_tokens": 5}
    first, nothing, last = continue_texts(model, tokenizer, texts, **options)
    assert generate_answers(model, tokenizer, prompts, **options) == [nothing, first, last]


def test_the_order_of_prompts_is_theirs(llama):
    model, tokenizer = llama
    options = {"temperature": 0.0, "max_new_tokens": 4}
    answers = generate_answers(model, tokenizer, PROMPTS, **options)
    assert generate_answers(model, tokenizer, PROMPTS[::-1], **options) == answers[::-1]
    assert generate_answers(model, tokenizer, [], **options) == []


@pytest.mark.parametrize(
    ("row", "longest", "expected"),
    [
        ([5, 6, 7, 8], None, [5, 6, 7, 8]),
        ([5, 6, 7, 8], 6, [5, 6, 7, 8]),
        ([5, 6, 7, 8], 5, [6, 7, 8]),
        ([1, 6, 7, 8], 5, [1, 7, 8]),  # 1 begins every text
        ([1, 6, 7, 8], 4, [1, 8]),
        ([5, 6, 1, 8], 4, [1, 8]),
        ([], 4, []),
    ],
)
def test_rows_lose_their_beginning(row, longest, expected):
    tokenizer = tiny_tokenizer()
    assert tokenizer.bos_token_id == 1
    assert fit_tokens([row], tokenizer, longest, 2) == [expected]


@pytest.mark.parametrize("longest", [0, 2, 3])
def test_an_answer_that_leaves_no_room(longest):
    with pytest.raises(OptionError, match=f"2 new tokens leave no room .* within {longest}"):
        fit_tokens([[5]], tiny_tokenizer(), longest, 2)


def test_special_tokens_are_no_part_of_a_text():
    tokenizer = tiny_tokenizer(chat=True)
    row = tokenizer(" Größe 🎭 ", add_special_tokens=True)["input_ids"]
    assert decode([row, [*row, tokenizer.eos_token_id], []], tokenizer) == [
        "Größe 🎭",
        "Größe 🎭",
        "",
    ]


def test_generation_leaves_the_global_generator(llama):
    model, tokenizer = llama
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    generate_answers(model, tokenizer, PROMPTS, max_new_tokens=3, seed=9)
    assert torch.equal(torch.rand(2), expected)


def test_who_waits_hears_how_far_it_is_and_nothing_changes(llama, texts, monkeypatch):
    said = []
    monkeypatch.setattr(progress, "NOTICE", 0.0)
    with listening(lambda *line: said.append(line)):
        for heat, written in texts.items():
            heard = generate_answers(*llama, PROMPTS, temperature=heat, max_new_tokens=8)
            assert heard == written
    assert said[0] == ("tokens of 3 texts", 1, 8)
    assert said[-1] == ("tokens of 3 texts", 8, 8)

"""What of the paper is run on which data, and the script's line over its masks."""

import dataclasses

import pytest

from prosopon.arms import Lab
from prosopon.data import Message
from prosopon.errors import OptionError, UnknownNameError
from prosopon.evaluation.speaking import OptionQuestion
from prosopon.experiments.paper import find_sets
from prosopon.experiments.paper_plan import (
    QUICK,
    PromptedMask,
    Settings,
    check_types,
    paper_parts,
    read_sets,
    type_contrast,
)
from prosopon.experiments.plan import Sizes
from prosopon.extraction import Extractor
from tests.experiments.authors import write_axes, write_csv, write_script, write_sets
from tests.tiny import tiny_model

SETTINGS = Settings(
    arms=("base", "prompt-paper", "wanda", "contrastive-wanda", "lora", "shortest"),
    tasks=("choice", "facts", "free-text", "perplexity"),
    examples=4,
    sizes=Sizes(3, 6, general=2, speed=0),
    types=("INFJ", "INFP"),
    sparsities=(0.1, 0.5),
    calibration=(2, 4),
)


def entries(folder):
    return read_sets(find_sets(folder)[0], 3, None)[0]


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    folder = tmp_path_factory.mktemp("authors")
    write_sets(folder, ("power-seeking",))
    write_axes(folder)
    write_script(folder)
    return entries(folder)


@pytest.fixture(scope="module")
def parts(everything):
    return {part.name: part for part in paper_parts(everything, SETTINGS)}


def test_the_parts_are_the_paper_s_tables_in_its_order(parts):
    assert list(parts) == [
        "ai-persona", "mbti", "mbti-types", "role-play", "sparsity", "calibration",
    ]  # fmt: skip
    assert {name: list(part.contrasts) for name, part in parts.items()} == {
        "ai-persona": ["power-seeking"],
        "mbti": ["introvert", "extravert", "intuitive", "sensing", "feeling", "thinking",
                 "judging", "perceiving"],
        "mbti-types": ["INFJ", "INFP"],
        "role-play": ["Friends-reaction-Joey", "Friends-reaction-Monica-Geller"],
        "sparsity": ["power-seeking"],
        "calibration": ["power-seeking"],
    }  # fmt: skip


def test_tasks_are_asked_where_they_say_something(parts):
    assert parts["ai-persona"].plan.tasks == ("choice", "facts", "perplexity")
    assert parts["mbti"].plan.tasks == ("choice", "free-text", "perplexity")
    for name in ("mbti-types", "role-play", "sparsity", "calibration"):
        assert parts[name].plan.tasks == ("choice", "perplexity")


def variants(part, arm):
    return [cell.options for cell in part.plan.cells() if cell.arm == arm]


def test_ai_persona_also_has_the_script_s_variant_and_its_line_over_masks(parts):
    plan = parts["ai-persona"].plan
    shown = [(one["variant"], one["sparsity"]) for one in variants(parts["ai-persona"], "wanda")]
    assert shown == [("paper", 0.3)]
    shown = variants(parts["ai-persona"], "contrastive-wanda")
    assert [(one["variant"], one["sparsity"]) for one in shown] == [
        ("paper", 0.3), ("reference", 0.3),
    ]  # fmt: skip
    (prompted,) = variants(parts["ai-persona"], "contrastive-wanda under the prompt")
    assert prompted["sparsity"] == 0.3
    assert "contrastive-sparse under the prompt" not in plan.arms  # its mask does not run
    assert {"base", "random", "shortest"} <= set(plan.arms)


def test_no_line_without_the_prompt_and_own_options_instead_of_variants(everything):
    settings = dataclasses.replace(
        SETTINGS, arms=("contrastive-wanda",), own={"contrastive-wanda": {"phi": "softplus"}}
    )
    (part,) = paper_parts(everything, settings, ["ai-persona"])
    assert not [arm for arm in part.plan.arms if "under the prompt" in arm]
    (one,) = variants(part, "contrastive-wanda")
    assert (one["phi"], one["variant"], one["sparsity"]) == ("softplus", "paper", 0.3)


def test_one_setting_is_varied_at_a_time(parts):
    shares = [
        (cell.options["sparsity"], cell.examples)
        for cell in parts["sparsity"].plan.cells()
        if cell.arm == "contrastive-wanda"
    ]
    assert shares == [(0.1, 4), (0.5, 4)]
    sizes = [
        (cell.options["sparsity"], cell.examples)
        for cell in parts["calibration"].plan.cells()
        if cell.arm == "contrastive-wanda"
    ]
    assert sizes == [(0.3, 2), (0.3, 4)]
    assert {part.plan.arms for name, part in parts.items() if name in ("sparsity", "calibration")}
    assert parts["sparsity"].plan.arms == ("base", "contrastive-wanda")


def test_the_base_is_asked_everywhere(everything):
    settings = dataclasses.replace(SETTINGS, arms=("wanda", "lora"))
    for part in paper_parts(everything, settings):
        assert part.plan.arms[0] == "base"
        assert part.contrasts.keys() == set(part.plan.contrasts)


def test_parts_are_chosen_by_name_and_what_is_not_there_is_left_out(everything, tmp_path):
    (part,) = paper_parts(everything, SETTINGS, ["role-play"])
    assert set(part.groups.values()) >= {"Friends"}
    write_axes(tmp_path, ("energy",))
    alone = {part.name: part for part in paper_parts(entries(tmp_path), SETTINGS)}
    assert list(alone) == ["mbti", "sparsity", "calibration"]
    assert list(alone["sparsity"].contrasts) == ["introvert"]
    with pytest.raises(OptionError, match=r"--only tables: no part of the paper\. Choices: ai-pe"):
        paper_parts(everything, SETTINGS, ["tables"])
    with pytest.raises(OptionError, match="holds nothing for what is asked"):
        paper_parts(entries(tmp_path), SETTINGS, ["role-play"])


def test_a_role_with_too_few_rows_is_left_out_and_a_set_is_an_error(tmp_path):
    write_script(tmp_path, roles=("Joey", "Phoebe"), count=2)
    write_csv(tmp_path / "set.csv", [(f"{i}?", f"a{i}", f"b{i}") for i in range(12)])
    rows, notes = read_sets(find_sets(tmp_path)[0], 3, None)
    assert [data.name for data, _ in rows] == ["set"]
    assert [note.split(":")[0] for note in notes] == [
        "Friends-reaction-Joey", "Friends-reaction-Phoebe",
    ]  # fmt: skip
    assert "left out: " in notes[0]


def test_a_type_has_as_many_examples_of_each_pole_in_turn(everything):
    poles = {data.group: contrast for data, contrast in everything if data.part == "mbti"}
    kind = type_contrast("INFJ", poles)
    assert (kind.target, kind.opposite) == ("INFJ", "ESTP")
    for part in ("calibration", "judge", "test"):
        ours, theirs = getattr(kind, part)
        assert [a.prompt for a in ours.examples] == [b.prompt for b in theirs.examples]
        axes = [example.prompt[0].content.split()[0] for example in ours.examples]
        assert axes == ["energy", "information", "decision", "execution"] * (len(axes) // 4)
        assert len(axes) == 4 * len(getattr(poles["I"], part)[0])
    words = [example.response.split()[1] for example in kind.calibration[0].examples[:4]]
    assert words == ["book", "dream", "heart", "list"]
    items = kind.items(4)
    assert [item.matching.split()[1] for item in items] == words
    assert [item.not_matching.split()[1] for item in items] == ["party", "fact", "rule", "whim"]


def test_the_poles_questions_are_those_of_their_types(parts):
    letters, part = parts["mbti-types"].letters, parts["mbti-types"]
    for kind, contrast in part.contrasts.items():
        for place, item in enumerate(contrast.items()):
            assert item.question in letters[kind[place % 4]]
    assert not letters["I"] & letters["N"]
    assert letters["I"] == letters["E"]


def test_the_line_stands_over_the_mask(everything):
    """The same mask, the same answers as under the arm prompt-paper while it is worn."""
    from prosopon.runtime import worn

    contrast = everything[0][1]
    model, tokenizer = tiny_model("llama", chat=True)
    lab = Lab(Extractor(model, tokenizer), contrast, 4, 0, {"sparsity": "0.3"})
    arm = PromptedMask("wanda")
    assert (arm.name, arm.kind) == ("wanda under the prompt", "mask")
    prepared = arm.prepare(lab)
    question = OptionQuestion((Message("user", "Would you?"),), ("Yes.", "No."))
    line = f"You are a person with the {contrast.target.replace('-', ' ')} personality."
    whole = OptionQuestion((Message("system", line), *question.prompt), question.options)
    with prepared.speaking() as speaker:
        ours = speaker.score([question])[0].by["summed"]
        assert speaker.added_tokens([question.prompt])[0] > 0
    with worn(model, tokenizer, prepared.subnetwork):
        from prosopon.arms.ready import speaker_of

        theirs = speaker_of(lab).score([whole])[0].by["summed"]
        bare = speaker_of(lab).score([question])[0].by["summed"]
    assert ours == theirs
    assert ours != bare


def test_the_quick_size_is_the_protocol_made_small():
    full = Settings()
    assert set(QUICK.arms) < set(full.arms)
    assert set(QUICK.tasks) < set(full.tasks)
    assert QUICK.sparsity == full.sparsity == 0.3
    assert (full.examples, full.sizes.questions, len(full.types)) == (650, 200, 16)
    assert QUICK.examples < 20


def test_types_are_checked_by_name():
    assert check_types(["ALL"]) == Settings().types
    assert check_types(["INTJ", "ESFP"]) == ("INTJ", "ESFP")
    with pytest.raises(UnknownNameError, match=r"INTX.*INTJ"):
        check_types(["INTJ", "INTX"])
    with pytest.raises(OptionError, match=r"no MBTI type.*ESTJ"):
        check_types([])

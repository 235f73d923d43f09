import json
import re
from xml.etree import ElementTree

import pytest

from prosopon.analysis import PARTS, analyse
from prosopon.errors import OptionError, SubnetworkError
from tests.analysis.samples import axis, probe
from tests.runtime.samples import assert_bits, subnetwork, weights


@pytest.fixture(scope="module")
def analysed(asked):
    masks = {
        name: subnetwork(asked.model, name, seed=seed, share=0.1, ranked=True)
        for seed, name in enumerate(["extravert", "introvert", "stranger|<b>"])
    }
    # The provenance of the made masks says whose opposite they are.
    one = masks["extravert"]
    one.config = one.config.model_copy(update={"opposite": "introvert"})
    before = weights(asked.model)
    found = analyse(masks, probe=asked, axes=[axis()], shares=(0.3,), draws=1)
    assert_bits(asked.model, before)
    return asked, masks, found


def test_every_part_has_its_section_and_its_numbers(analysed):
    _, masks, found = analysed
    ids = [section.id for section in found.sections]
    assert ids == [
        "overlap", "layers", "dendrogram", "location", "concentration", "cross-talk",
        "faithfulness", "faithfulness-1", "faithfulness-2",
    ]  # fmt: skip
    assert set(found.numbers) == {
        "masks", "overlap", "clustering", "location", "cross_talk", "faithfulness",
        "faithfulness_not_asked",
    }  # fmt: skip
    assert [pair["opposites"] for pair in found.numbers["overlap"]] == [True, True, False]
    assert found.numbers["faithfulness_not_asked"] == ["stranger|<b>"]
    json.dumps(found.numbers, allow_nan=False)
    assert found.numbers["masks"]["introvert"]["pruned"] == masks["introvert"].pruned
    arms = [arm["arm"] for arm in found.numbers["faithfulness"][0]["arms"]]
    assert "layer 1 from the opposite" in arms


def test_the_cost_of_the_random_control_stands_in_the_table(analysed):
    _, _, found = analysed
    table = next(section for section in found.sections if section.id == "faithfulness")
    place = list(table.headings).index("elsewhere, perplexity / base")
    for row, one in zip(table.rows, found.numbers["faithfulness"], strict=True):
        arm = next(arm for arm in one["arms"] if arm["arm"] == "elsewhere")
        assert row[place] == f"{arm['perplexity_ratio']:.3f}"
        assert len(row) == len(table.headings)


def test_figures_are_well_formed_and_the_same_on_every_run(analysed):
    _, masks, found = analysed
    for section in found.sections:
        if section.svg:
            root = ElementTree.fromstring(section.svg)
            assert root.attrib["role"] == "img"
            assert len(list(root.iter())) > 20
    again = analyse(masks, parts=["location"])
    same = {section.id: section.svg for section in found.sections}
    assert all(section.svg == same[section.id] for section in again.sections)
    ids = [
        set(re.findall(r'\bid="([^"]+)"', section.svg)) for section in found.sections if section.svg
    ]
    assert sum(map(len, ids)) == len(set.union(*ids))


def test_markdown_and_files(analysed, tmp_path):
    _, _, found = analysed
    paths = found.write(tmp_path / "new")
    text = paths[0].read_text("utf-8")
    assert text.startswith("# Masks explained\n\n## What the masks share")
    assert "extravert / stranger\\|&lt;b&gt;" in text
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (tmp_path / "new" / link).read_text("utf-8").startswith("<svg")
    assert json.loads(paths[1].read_text("utf-8")) == json.loads(json.dumps(found.numbers))
    assert sorted(p.name for p in paths) == sorted(p.name for p in (tmp_path / "new").iterdir())


def test_what_is_allowed_is_done(analysed):
    _, masks, _ = analysed
    alone = analyse({"x": masks["introvert"]})
    assert [section.id for section in alone.sections] == ["location", "concentration"]


def test_refusals(analysed):
    _, masks, _ = analysed
    one = {"x": masks["introvert"]}
    with pytest.raises(OptionError, match="no mask"):
        analyse({})
    with pytest.raises(OptionError, match="at least two masks"):
        analyse(one, parts=["overlap"])
    with pytest.raises(OptionError, match="needs a model"):
        analyse(one, parts=["cross-talk"])
    with pytest.raises(OptionError, match=", ".join(PARTS)):
        analyse(one, parts=["overlaps"])
    with pytest.raises(SubnetworkError, match="does not belong"):
        analyse(one, probe=probe(seed=2), axes=[axis()])


def test_every_figure_of_the_page_has_alt_text_and_data(analysed, tmp_path):
    _, _, found = analysed
    page = found.write(tmp_path)[0].read_text("utf-8")
    images = re.findall(r"!\[([^]]*)\]\(([^)]+)\)", page)
    assert len(images) == sum(bool(section.svg) for section in found.sections)
    for alt, link in images:
        assert len(alt) > 8
        root = ElementTree.parse(tmp_path / link).getroot()
        assert root.attrib["aria-label"]
        drawn = [
            one for one in root.iter() if one.tag.rpartition("}")[2] in ("path", "image", "use")
        ]
        assert len(drawn) > 20


def test_every_table_of_the_page_is_square(analysed):
    _, _, found = analysed
    for section in found.sections:
        assert all(len(row) == len(section.headings) for row in section.rows)
        lines = [line for line in section.markdown().splitlines() if line.startswith("|")]
        pipes = {line.replace("\\|", "").count("|") for line in lines}
        assert pipes in (set(), {len(section.headings) + 1})


def test_tables_say_what_the_numbers_say(analysed):
    _, _, found = analysed
    sections = {section.id: section for section in found.sections}
    pairs = {f"{p['first']} / {p['second']}": p for p in found.numbers["overlap"]}
    for row in sections["overlap"].rows:
        pair = pairs[row[0]]
        assert row[1] == f"{100 * pair['all']['differing']:.2f}"
        assert row[-2] == f"{pair['all']['jaccard_pruned']:.3f}"
        assert row[-1] == f"{pair['all']['expected_jaccard_pruned']:.3f}"
    for row, mask in zip(
        sections["cross-talk"].rows, found.numbers["cross_talk"]["masks"], strict=True
    ):
        assert row[0] == mask["mask"]
        own = mask["own_effect"]
        assert row[1] == ("\N{EN DASH}" if own is None else f"{own:+.2f}")
    for row, test in zip(sections["faithfulness"].rows, found.numbers["faithfulness"], strict=True):
        whole = next(arm for arm in test["arms"] if arm["arm"] == "whole")
        assert row[1].startswith(f"{test['base_rate']:.2f} → ")
        assert row[2] == f"{whole['margin']['difference']:+.2f}"


def test_reports_go_from_nothing_to_all(asked):
    stages = []
    mask = {"x": subnetwork(asked.model, "introvert", share=0.1)}
    analyse(
        mask, parts=["cross-talk"], probe=asked, axes=[axis(count=2)],
        report=lambda *stage: stages.append(stage),
    )  # fmt: skip
    assert stages == [("cross-talk", 0, 1), ("cross-talk", 1, 1)]

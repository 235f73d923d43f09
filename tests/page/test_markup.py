"""What the page shows: nothing of a user, a model or a file is ever obeyed as HTML."""

import re
from html.parser import HTMLParser

import pytest

from prosopon.page import markup
from prosopon.page.inside import Heat, Shared, heat
from prosopon.page.making import MakingStep
from prosopon.page.talk import Answer, Exchange
from prosopon.serving.voice import Voice

EVIL = "<img src=x onerror=alert(1)>\"'&<b>"


class Reader(HTMLParser):
    """Collects tags, attributes and text, and that every tag is closed."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def turn(*answers):
    return Exchange("Why?", dict(enumerate(answers)))


@pytest.mark.parametrize(
    "html",
    [
        markup.header(EVIL, [EVIL], EVIL),
        markup.notice(EVIL),
        markup.conversation([Exchange(EVIL, {1: Answer(Voice(EVIL), EVIL, EVIL)})]),
        markup.conversation([Exchange(EVIL, {1: Answer(Voice(blend=((EVIL, 0.5),)), EVIL)})]),
        markup.progress(EVIL, MakingStep(EVIL, 0.5, EVIL), 3.0),
        markup.code(EVIL, EVIL),
        markup.heat_map(Heat([EVIL], [0], [[1.0]])),
        markup.shares([Shared(EVIL, 0.5, 0.1), Shared(EVIL, 0.0, 0.0, EVIL)]),
        markup.ready({"persona": EVIL, "pruned": 1, "total": 2, "seconds": 1.0}),
    ],
)
def test_a_text_is_shown_and_never_obeyed(html):
    page = Reader(html)
    assert not page.named("img")
    assert not page.named("b") or "<b>" not in page.text.replace(EVIL, "")
    assert EVIL in page.text or any(EVIL in str(values) for _, values in page.tags)
    assert not [key for _, values in page.tags for key in values if key.startswith("on")]


def test_the_head_counts_the_personas():
    assert "1 persona<" in markup.header("m", ["a"])
    assert "0 personas" in markup.header("m", [])
    assert "alert" not in markup.header("m", [])
    assert Reader(markup.header("m", [], "Oh no")).named("p")[0]["role"] == "alert"


def test_an_empty_conversation_says_what_to_do():
    assert "One question, several people" in markup.conversation([])


def test_answers_stand_side_by_side_in_the_order_of_seats():
    answers = {2: Answer(Voice("calm"), "B", is_done=True), 0: Answer(Voice(), "A", is_done=True)}
    page = Reader(markup.conversation([Exchange("Why?", answers)]))
    assert [one["class"] for one in page.named("section")] == ["answer seat0", "answer seat2"]
    assert "answers n2" in [one.get("class") for one in page.named("div")]
    assert page.text.index("base") < page.text.index("calm")


def test_what_is_written_still_has_a_caret_and_is_busy():
    busy = markup.conversation([turn(Answer(Voice(), "so f"))])
    done = markup.conversation([turn(Answer(Voice(), "so far", "", True, 7, 1.25))])
    assert "caret" in busy
    assert 'aria-busy="true"' in busy
    assert "tokens" not in busy
    assert "caret" not in done
    assert 'aria-busy="false"' in done
    assert "7 tokens, 1.2 s" in done


def test_silence_and_problems_differ():
    silent = markup.conversation([turn(Answer(Voice(), "", "", True))])
    failed = markup.conversation([turn(Answer(Voice(), "", "The server is busy.", True))])
    cut = markup.conversation([turn(Answer(Voice(), "Half", "Stopped.", True))])
    assert "(no words)" in silent
    assert "(no words)" not in failed
    assert 'role="alert">The server is busy.' in failed
    assert "Half" in cut
    assert "Stopped." in cut


def test_progress_is_a_bar_that_screen_readers_read():
    page = Reader(markup.progress("bold", MakingStep("round 2", 0.256, "12 s"), 61.0))
    bar = next(one for one in page.named("div") if one.get("role") == "progressbar")
    assert bar["aria-valuenow"] == "26"
    assert "12 s left" in page.text
    assert "Making bold" in page.text
    moving = markup.progress("bold", MakingStep("starting"), 0.0)
    assert "bar moving" in moving
    assert "%" not in Reader(moving).text
    assert " s" not in Reader(moving).text
    assert page.text.endswith("61 s")
    assert "left" not in Reader(moving).text


def test_a_mask_in_a_sentence():
    line = markup.ready({"persona": "bold", "pruned": 1234, "total": 100_000, "seconds": 61})
    assert "bold is ready: 1,234 of 100,000 weights left out (1.23%)" in line


def test_the_inside_of_a_mask(service):
    config = service.config("bold")
    page = Reader(markup.inside(config, heat(config), [Shared("calm", 0.1, 0.04)]))
    assert f"{config.persona}, told apart from {config.opposite}" in page.text
    assert "found by" in page.text
    assert len(page.named("td")) == 2 * 7


@pytest.mark.parametrize(("layers", "wide"), [(markup.WIDE, False), (markup.WIDE + 1, True)])
def test_a_heat_map_of_many_layers_keeps_its_numbers_for_readers(layers, wide):
    seen = Heat(["q_proj"], list(range(layers)), [[0.5] * layers])
    html = markup.heat_map(seen)
    assert ("unseen" in html) == wide
    assert Reader(html).text.count("0.5") == layers


def test_depth_ends_at_the_strongest_colour():
    html = markup.heat_map(Heat(["a"], [0, 1, 2, None], [[0.0, 2.0, 99.0, None]]))
    assert re.findall(r"--depth:(\d+)%", html) == ["0", "50", "100"]
    assert html.count("deep") == 1
    assert '<td class="none">' in html
    assert 'title="a, layer 2: 99.00"' in html


def test_shares_have_a_mark_where_chance_is():
    html = markup.shares([Shared("calm", 0.25, 0.04)])
    assert 'aria-label="25.0% of its weights, by chance 4.0%"' in html
    assert "left:4.00%" in html
    assert "no other mask" in markup.shares([])


def test_code_has_a_button_that_copies_it():
    page = Reader(markup.code("curl", "curl x"))
    assert page.named("button")[0]["aria-label"] == "Copy: curl"
    assert "curl x" in page.text

"""The page in a real browser: ``make page`` runs this, where gradio is installed.

The server is ``prosopon ui`` in a process of its own, with the embedded model.
"""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import httpx2
import pytest

from tests.experiments.test_report_browser import CHROMIUM, FLAGS

pytest.importorskip("gradio")
QUESTION = "What would you like to do on Friday afternoon?"
WAIT = 60_000  # milliseconds, for a machine that does other things too


@pytest.fixture(scope="module")
def personas(tmp_path_factory):
    """Return a folder with two random light masks of the embedded model."""
    from prosopon import load_model
    from tests.serving.samples import mask

    folder = tmp_path_factory.mktemp("ui") / "personas"
    model = load_model("embedded", device="cpu").model
    for seed, name in enumerate(("bold", "calm")):
        mask(model, name, seed, share=0.006).save_pretrained(folder / name)
    return folder


@contextmanager
def started(personas, **variables):
    """Run the command and yield its address; it ends at once, also while pages are open."""
    command = [
        sys.executable, "-m", "prosopon", "ui", "--personas", personas, "--port", "0",
        "--device", "cpu",
    ]  # fmt: skip
    with subprocess.Popen(
        list(map(str, command)), env=os.environ | variables, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            process.stdout.readline()
            yield process.stdout.readline().split()[-1]
        finally:
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=25)
        assert process.returncode in (0, -signal.SIGTERM)
        assert "Traceback" not in log


@pytest.fixture(scope="module")
def url(personas):
    with started(personas) as url:
        yield url


@pytest.fixture(scope="module")
def chromium():
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, url):
    """Return what opens the page; afterwards nothing went wrong, and nothing left the machine."""
    opened = []

    def visit(path="/", width=1280, scheme="light"):
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme,
            permissions=["clipboard-read", "clipboard-write"],
        )  # fmt: skip
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.problems, page.asked = [], []
        page.on("console", lambda m: page.problems.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        opened.append(page)
        page.goto(url + path)
        page.get_by_role("button", name="Ask", exact=True).wait_for()
        return page

    yield visit
    for page in opened:
        assert page.problems == []
        assert all(one.startswith((url, "data:", "blob:")) for one in page.asked)
        page.context.close()


def choose(page, label, name):
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=name, exact=True).last.click()


def seated(page, name):
    """Wait until a persona has the first seat."""
    from playwright.sync_api import expect

    expect(page.get_by_label("Persona 1", exact=True)).to_have_value(name, timeout=WAIT)


def answers(page, count):
    """Wait for the last answers; returns text by title."""
    page.locator(".talk[aria-busy=false]").wait_for()
    cards = page.locator("article").last.locator(".answer")
    assert cards.count() == count
    return {
        one.locator("h3").inner_text(): one.locator("p").first.inner_text() for one in cards.all()
    }


def over_http(url, **persona):
    body = {"model": "embedded", "messages": [{"role": "user", "content": QUESTION}], "seed": 1}
    body |= {"temperature": 0.7, "max_tokens": 128} | persona
    reply = httpx2.post(f"{url}/v1/chat/completions", json=body, timeout=60).json()
    return reply["choices"][0]["message"]["content"]


def test_two_personas_answer_the_slider_moves_and_a_blend_speaks(visit, url):
    page = visit()
    page.get_by_placeholder("Ask them all").fill(QUESTION)
    page.keyboard.press("Enter")
    said = answers(page, 3)
    assert list(said) == ["base", "bold", "calm"]
    for name, persona in (
        ("base", {}),
        ("bold", {"persona": "bold"}),
        ("calm", {"persona": "calm"}),
    ):
        assert said[name] == over_http(url, **persona)

    slider = page.get_by_label("range slider for Strength 1")
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    page.locator("h3", has_text="bold at 0.5").wait_for()
    half = {"name": "bold", "strength": 0.5}
    assert answers(page, 3)["bold at 0.5"] == over_http(url, persona=half)

    page.get_by_role("button", name="Blend").click()
    choose(page, "Part 1", "bold")
    choose(page, "Part 2", "calm")
    choose(page, "Persona 3", "the blend")
    title = "0.5 bold + 0.5 calm"
    page.locator("h3", has_text=title).wait_for()
    blend = {"blend": {"bold": 0.5, "calm": 0.5}}
    assert answers(page, 4)[title] == over_http(url, persona=blend)

    page.get_by_role("tab", name="Code").click()
    page.get_by_role("radio", name="persona 3").check()
    code = page.locator("figure", has_text="curl")
    code.get_by_text('"calm": 0.5').wait_for()
    code.get_by_role("button").click()
    code.get_by_text("Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert json.loads(copied[copied.index("{") : -1])["persona"] == blend

    page.get_by_role("tab", name="Talk").click()
    page.get_by_role("button", name="Start over").click()
    page.get_by_text("One question, several people").wait_for()


def test_stop_stops(visit, url):
    page = visit()
    page.get_by_role("button", name="Answers").click()
    page.get_by_label("number input for Temperature").fill("2")
    page.get_by_label("number input for Longest answer").fill("400")
    page.get_by_placeholder("Ask them all").fill(QUESTION)
    page.get_by_role("button", name="Ask", exact=True).click()
    page.get_by_role("button", name="Stop").click()
    page.locator(".talk[aria-busy=false]").wait_for()
    page.get_by_role("button", name="Ask", exact=True).wait_for()
    for _ in range(400):
        health = httpx2.get(f"{url}/health").json()
        if health["running"] + health["waiting"] == 0:
            return
    raise AssertionError(health)


def test_a_persona_of_nobody_is_named(visit):
    page = visit("/?persona=nobody-here&persona=calm")
    page.get_by_text("Unknown persona 'nobody-here'. Choices: bold, calm.").wait_for()
    seated(page, "calm")


def test_a_persona_is_made_while_others_talk(visit, url, tmp_path):
    """From two files: a bad one first; meanwhile answers stay the same, to the letter."""
    before = [over_http(url), over_http(url, persona="bold")]
    for name, words in (("ours", "dare to try it at once"), ("theirs", "rather wait for a while")):
        rows = [{"prompt": f"Question {i}?", "completion": f"I {words}, {i}."} for i in range(8)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "bad.jsonl").write_text('{"prompt": "a", "completion": "b"}\n{"prompt": oops\n')
    page = visit()
    page.get_by_role("tab", name="Make").click()
    page.get_by_label("My own examples").check()
    files = page.locator("input[type=file]")
    files.first.set_input_files(tmp_path / "bad.jsonl")
    page.get_by_text("bad.jsonl:2: not valid JSON").wait_for()
    page.get_by_label("Clear").first.click()
    files.first.set_input_files(tmp_path / "ours.jsonl")
    page.get_by_text("8 examples read.").wait_for()
    files.last.set_input_files(tmp_path / "theirs.jsonl")
    page.get_by_label("Name").fill("daring")
    page.get_by_label("number input for Most examples").fill("4")
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("progressbar").wait_for()
    page.get_by_text(re.compile("prosopon extract .*--output")).wait_for()
    assert [over_http(url), over_http(url, persona="bold")] == before
    page.get_by_text("is ready: ").wait_for(timeout=3 * WAIT)
    assert [over_http(url), over_http(url, persona="bold")] == before
    page.get_by_role("button", name="Talk to it").click()
    seated(page, "daring")
    page.get_by_placeholder("Ask them all").fill(QUESTION)
    page.keyboard.press("Enter")
    assert answers(page, 3)["daring"] == over_http(url, persona="daring")

    page.get_by_role("tab", name="Look inside").click()
    choose(page, "Persona", "daring")
    page.locator(".lead", has_text="ours").wait_for()
    assert page.locator(".heat td").count() == 4 * 7
    assert page.locator(".shares .share").count() == 2

    page.get_by_role("tab", name="Make").click()
    page.get_by_role("button", name="Make it").click()
    page.get_by_text("A persona 'daring' is there already: give another name.").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_every_width_and_scheme(visit, width, scheme, request):
    page = visit(width=width, scheme=scheme)
    page.get_by_placeholder("Ask them all").fill(QUESTION)
    page.keyboard.press("Enter")
    answers(page, 3)
    folder = os.environ.get("SCREENSHOTS")
    for part in ("Talk", "Make", "Look inside", "Code"):
        page.get_by_role("tab", name=part).click()
        if part == "Look inside":
            page.locator(".heat").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if folder:
            page.wait_for_timeout(500)
            page.screenshot(path=f"{folder}/{part}-{width}-{scheme}.png", full_page=True)
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(colour.split("(")[1].split(",")[0]) > 127) == (scheme == "light")


def test_the_keyboard_alone_is_enough(visit):
    page = visit()
    page.keyboard.press("Tab")
    for _ in range(40):
        if page.evaluate("document.activeElement.placeholder || ''").startswith("Ask them"):
            break
        page.keyboard.press("Tab")
    page.keyboard.type(QUESTION)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # on the button
    assert len(answers(page, 3)) == 3
    page.get_by_role("tab", name="Talk").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Make it").wait_for()


def test_with_keys_people_sign_in(personas, chromium):
    keys = {"PROSOPON_API_KEY": "user-key", "PROSOPON_ADMIN_KEY": "root-key"}
    with started(personas, **keys) as url:
        for path in ("/config", "/v1/models"):
            assert httpx2.get(url + path).status_code == 401
        join = {"data": [], "fn_index": 0, "session_hash": "x"}
        assert httpx2.post(f"{url}/gradio_api/queue/join", json=join).status_code == 401
        page = chromium.new_page()
        page.set_default_timeout(WAIT)
        for name, key, may in (("me", "user-key", False), ("admin", "root-key", True)):
            page.context.clear_cookies()
            page.goto(url)
            for secret in ("wrong", key):
                page.get_by_label("username").fill(name)
                page.get_by_label("password").fill(secret)
                page.get_by_role("button", name="Login").click()
                if secret == "wrong":
                    page.get_by_text("Incorrect").wait_for()
            page.get_by_role("tab", name="Make").click()
            page.get_by_label("Name").fill("base")
            page.get_by_role("button", name="Make it").click()
            words = "'base' is no name" if may else "Sign in as admin"
            page.get_by_text(words).wait_for()
        page.close()

"""The report in a real browser: figures, sorting, no errors, nothing from elsewhere."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def page(made):
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.problems, page.asked = [], []
        page.on("console", lambda m: page.problems.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto((made[0] / "report.html").as_uri())
        yield page
        browser.close()


def test_no_errors_and_nothing_from_elsewhere(page):
    assert page.problems == []
    assert all(url.startswith(("file:", "data:")) for url in page.asked)


def test_every_figure_is_drawn(page, made):
    figures = page.locator("figure svg")
    assert figures.count() == len(list((made[0] / "figures").glob("*.svg"))) >= 4
    for index in range(figures.count()):
        box = figures.nth(index).bounding_box()
        assert box["width"] > 100
        assert box["height"] > 50
        assert figures.nth(index).locator("path").count() > 10


def test_tables_sort(page):
    head = page.locator("#arms-table thead th", has_text="choice").first
    column = head.evaluate("head => head.cellIndex")

    def values():
        cells = page.locator(f"#arms-table tbody tr > :nth-child({column + 1})")
        return [float(v) for v in cells.evaluate_all("all => all.map(c => c.dataset.value)") if v]

    before = values()
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert values() == sorted(before, reverse=True)
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert values() == sorted(before)


def test_links_lead_somewhere_and_narrow_screens_do_not_scroll(page):
    for href in page.locator("nav a").evaluate_all("all => all.map(a => a.getAttribute('href'))"):
        assert page.locator(href).count() == 1
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400

"""The page in a browser: type, see, click, and the film plays from the moment."""

import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from tests.hero_jax.search import film_samples
from tests.hero_jax.search.server import serving

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no chromium: apt install chromium")

QUERY = "a red circle jumps"
# Resolves when the film that a click opened plays, with its second.
PLAYS = """() => new Promise((resolve) => {
  const video = document.querySelector("video");
  if (!video.paused && video.readyState > 2) resolve(video.currentTime);
  video.addEventListener("playing", () => resolve(video.currentTime));
})"""
SECOND = "document.querySelector('video').currentTime"
PAUSED = "document.querySelector('video').paused"


@pytest.fixture(scope="module")
def browser():
    """A browser; tests of other files that run an event loop cannot run beside it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, client):
    """A page of which errors fail the test, and requests to other machines."""
    problems = []
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(20_000)

    def check(request):
        if not request.url.startswith("http://127.0.0.1:"):
            problems.append(request.url)

    def listen(message):
        # An error that the server replies is shown on the page.
        if message.type == "error" and "Failed to load resource" not in message.text:
            problems.append(message.text)

    page.on("request", check)
    page.on("console", listen)
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    page.close()
    assert problems == []


def open_page(page, client, address="/"):
    """Opens an address of the page, and waits until it shows what it is asked for."""
    page.goto(client.address + address)
    page.wait_for_selector("#about:not(:empty)")
    until(page, "!document.getElementById('status').textContent.endsWith('…')")


def until(page, condition):
    """Waits until an expression is true; the page's policy forbids to wait for it in the page."""
    for _ in range(400):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"it never was so: {condition}")


def plays(page):
    """Waits until a film plays, and returns its second then."""
    page.wait_for_selector("video")
    return page.evaluate(PLAYS)


def search(page, client, text=QUERY):
    """Types a sentence and waits for what is found."""
    open_page(page, client)
    page.fill("#query", text)
    page.keyboard.press("Enter")
    page.wait_for_selector(".moment")


def films(page):
    """Returns the films that are shown."""
    return {*page.locator(".film h2").all_inner_texts()}


def found(page, wanted):
    """Waits until the films shown are these."""
    for _ in range(200):
        if films(page) == wanted:
            return
        page.wait_for_timeout(50)
    assert films(page) == wanted


def item_of(page, name):
    """Returns the first moment of a film, and its first second."""
    section = page.locator(".film", has=page.get_by_role("heading", name=name, exact=True))
    item = section.locator(".moment").first
    minutes, seconds = item.locator(".when").inner_text().split(" – ")[0].split(":")
    return item, 60 * int(minutes) + int(seconds)


def test_a_click_plays_the_film_from_the_moment(page, client):
    search(page, client)
    moments = client.search(QUERY)
    assert page.locator("#status").inner_text() == f"{len(moments)} moments in 4 films"
    item, _ = item_of(page, "one")
    rank = int(item.locator(".rank").inner_text())
    start = moments[rank - 1]["start"]
    item.locator(".play").click()
    assert abs(plays(page) - start) < 0.5
    until(page, f"{SECOND} > {start + 0.3}")
    # The thumbnails are there, and the words of the query are marked.
    assert page.evaluate("document.querySelector('.frames img').naturalWidth") > 0
    assert "circle" in page.locator("mark").all_inner_texts()
    # The curve's time line has the moment; a click on it goes to that second.
    track = page.locator(".film", has=page.get_by_role("heading", name="one", exact=True))
    track = track.locator(".track")
    assert track.locator("path").get_attribute("d").startswith("M")
    box = track.bounding_box()
    track.hover(position={"x": box["width"] / 2, "y": 10})
    until(page, "document.querySelector('.preview img').naturalWidth > 0")
    track.click(position={"x": box["width"] / 2, "y": 10})
    until(page, f"Math.abs({SECOND} - 10) < 1")


def test_a_link_shows_the_same_again(page, client, browser):
    search(page, client)
    page.locator(".moment .play").nth(2).click()
    page.wait_for_selector("#player:not([hidden])")
    texts = page.locator(".moment .when").all_inner_texts()
    rank = page.locator(".moment[aria-current] .rank").inner_text()
    assert f"moment={rank}" in page.url
    other = browser.new_page()
    open_page(other, client, page.url.removeprefix(client.address))
    other.wait_for_selector(".moment[aria-current]")
    assert other.locator(".moment .when").all_inner_texts() == texts
    assert other.locator(".moment[aria-current] .rank").inner_text() == rank
    assert other.locator("#query").input_value() == QUERY
    other.close()
    # The address has the history of what was looked for.
    page.fill("#query", "slowly")
    page.keyboard.press("Enter")
    until(page, "document.title.startsWith('slowly')")
    page.go_back()
    until(page, f"document.getElementById('query').value === '{QUERY}'")


def test_filters_and_the_slider_search_again(page, client):
    search(page, client, "slowly")
    assert len(films(page)) == 4
    page.locator("#said").evaluate(
        "one => { one.value = 1; one.dispatchEvent(new Event('change')); }"
    )
    found(page, {serving.HOSTILE})
    assert "said=1" in page.url
    page.locator("#said").evaluate(
        "one => { one.value = 0; one.dispatchEvent(new Event('change')); }"
    )
    page.click("#filters summary")
    page.select_option("select[name=folder]", "season 1")
    found(page, {"season 1/two"})
    page.click("button[type=reset]")
    until(page, "document.querySelectorAll('.film').length === 4")
    page.fill("#search input[name=film]", "one")
    page.keyboard.press("Tab")
    found(page, {"one"})
    assert page.locator("#filtered").inner_text() == " (1)"
    page.click("button[type=reset]")
    page.fill("input[name=until]", "2001-01-01")
    page.keyboard.press("Tab")
    until(page, "document.getElementById('status').textContent === 'Nothing was found.'")


def test_the_keyboard_is_enough(page, client):
    search(page, client)
    # The query has the focus still.
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    first = page.locator(".moment .play").first
    assert first.evaluate("one => one === document.activeElement")
    page.keyboard.press("Enter")
    plays(page)
    page.keyboard.press(" ")
    until(page, PAUSED)
    before = page.evaluate(SECOND)
    page.keyboard.press("l")
    until(page, f"{SECOND} > {before} + 0.5")
    page.keyboard.press("j")
    page.keyboard.press("j")
    until(page, f"{SECOND} < {before} + 0.1")
    page.keyboard.press("ArrowRight")
    until(page, f"{SECOND} >= 4.9")
    page.keyboard.press("k")
    until(page, f"!{PAUSED}")
    page.keyboard.press("Escape")
    page.wait_for_selector("#player", state="hidden")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "query"


def test_hostile_names_and_words_stay_text(page, client):
    search(page, client)
    assert films(page) >= {serving.HOSTILE, serving.RECORD}
    page.locator(".said", has_text="<img src=x").first.wait_for()
    assert page.locator("img[src=x]").count() == 0
    item, _ = item_of(page, serving.HOSTILE)
    item.locator(".play").click()
    plays(page)
    item, _ = item_of(page, serving.RECORD)
    item.locator(".play").click()
    assert page.locator("#player h2").inner_text() == serving.RECORD
    assert page.locator("#player").get_by_text("There are no pictures").count() == 1
    open_page(page, client, "/?q=<script>&film=%3Cb%3E")
    assert page.locator("#status").inner_text().startswith("the videos of")
    assert page.title() == "<script> – Search of videos"


def test_it_can_be_read_by_everybody(page, client):
    page.emulate_media(reduced_motion="reduce")
    search(page, client)
    page.click("#filters summary")
    page.locator(".moment .play").first.click()
    page.wait_for_selector("#player:not([hidden])")
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        light = sum(map(int, paper.removeprefix("rgb(").removesuffix(")").split(",")))
        assert (light > 600) == (scheme == "light")
        assert serious(page) == []
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for tab in ("Question", "Add films"):
        page.get_by_role("tab", name=tab).click()
        assert serious(page) == []
    open_page_of_api(page, client)
    assert serious(page) == []


def open_page_of_api(page, client):
    page.goto(client.address + "/api.html")
    page.get_by_role("heading", name="/api/search").wait_for()


def serious(page):
    """Returns what axe finds to be in the way of people."""
    violations = Axe().run(page).response["violations"]
    return [
        (one["id"], node["html"][:200])
        for one in violations
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def test_the_tabs_ask_judge_and_describe(page, client):
    search(page, client)
    item, _ = item_of(page, "one")
    item.get_by_role("button", name="Describe").click()
    page.wait_for_selector("#results .outcome")
    assert page.get_by_role("tab", name="Caption").get_attribute("aria-selected") == "true"
    page.get_by_role("tab", name="Question").click()
    page.fill("#answer [name=film]", "one")
    page.fill("#answer [name=question]", "what jumps?")
    page.fill("#answer [name=answers]", "the circle\nthe square\n")
    page.click("#answer button[type=submit]")
    page.wait_for_selector("#results .outcome")
    assert len(page.locator(".outcome li").all()) == 2
    page.get_by_role("button", name="Play where it is shown").click()
    plays(page)
    page.get_by_role("tab", name="Statement").click()
    page.fill("#judge [name=film]", "none")
    page.fill("#judge [name=statement]", "it jumps")
    page.click("#judge button[type=submit]")
    page.wait_for_selector("#status.error")
    assert page.locator("#status").inner_text() == "the index has no film 'none'"


def test_more_like_a_moment(page, client):
    search(page, client)
    page.get_by_role("button", name="More like this").first.click()
    page.wait_for_url("**/?like=*")
    page.wait_for_selector(".moment")


def test_without_films_the_pictures_are_shown(page, library):
    with serving.serving(None, library[1], allow_add=False) as client:
        page.goto(client.address + f"/?q={QUERY.replace(' ', '+')}")
        page.get_by_role("button", name="Search").wait_for()
        assert page.get_by_role("tab").count() == 0
        item, start = item_of(page, "one")
        item.locator(".play").click()
        until(page, "document.querySelector('#player img').naturalWidth > 0")
        assert f"second={start}" in page.locator("#player img").get_attribute("src")
        until(page, f"document.querySelector('#player input').value > {start}")


def test_a_film_is_added_from_the_page(page, tmp_path):
    films, index = serving.make_library(tmp_path)
    film_samples.write_film(tmp_path / "new.mp4", 9, seconds=4, codec="libx264")
    (tmp_path / "new.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nquickly\n")
    with serving.serving(films, index) as client:
        page.goto(client.address)
        page.get_by_role("tab", name="Add films").click()
        names = [str(tmp_path / name) for name in ("new.mp4", "new.srt")]
        page.set_input_files("input[type=file]", names)
        page.get_by_role("button", name="Upload and add").click()
        page.get_by_text("1 added, 0 replaced").wait_for()
        page.fill("[name=path]", "../outside")
        page.click("#add button")
        page.get_by_text("there is no film or folder '../outside'").wait_for()
        page.goto(client.address + "/?q=quickly&said=1")
        found(page, {"new"})

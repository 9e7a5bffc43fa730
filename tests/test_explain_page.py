"""attention.html in a real browser, on a match whose place is known; and
report.html."""

import shutil

import pytest

from nonlocal_tf import report
from nonlocal_tf.pages import attention

pytestmark = pytest.mark.slow
SQUARE = 38                     # rows and columns 36 to 40 of 64 are bright
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def browser():
    webdriver = pytest.importorskip("selenium.webdriver")
    found = [path for path in map(shutil.which, BROWSERS) if path]
    driver = shutil.which("chromedriver")
    if not found or not driver:
        pytest.skip("no Chromium with its driver (Debian: apt-get install "
                    "chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = found[0]
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu",
                     "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(
            driver)) as opened:
        yield Page(opened)


class Page:
    """A page with a canvas of 64 x 64 pixels of input."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, path, width=1280):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": 900, "deviceScaleFactor": 1,
            "mobile": False})
        self.driver.get("file://{}".format(path))

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def text(self, name):
        return self.run("return document.getElementById(arguments[0])"
                        ".textContent", name)

    def mouse(self, kind, y, x, tile=(0, 0)):
        """A real event at the middle of a pixel of the input."""
        left, top, side = self.run(
            "canvas.scrollIntoView({block: 'center'});"
            "const box = canvas.getBoundingClientRect(), "
            "[left, top] = tiles.place(arguments[0]);"
            "return [box.left + left, box.top + top, tiles.unit]", tile[0])
        at = {"x": left + (x + 0.5) * side, "y": top + (y + 0.5) * side}
        if kind == "tap":
            self.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {
                "type": "touchStart", "touchPoints": [at]})
            self.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {
                "type": "touchEnd", "touchPoints": []})
            return
        self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", dict(
            at, type="mouseMoved"))
        if kind == "click":
            for half in ("mousePressed", "mouseReleased"):
                self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", dict(
                    at, type=half, button="left", clickCount=1))

    def colour(self, y, x):
        """[R, G, B] of the canvas at a pixel of the input."""
        return self.run(
            "return Array.from(ink.getImageData((arguments[1] + 0.3) * "
            "tiles.unit, (arguments[0] + 0.3) * tiles.unit, 1, 1).data)",
            y, x)[:3]

    def cover(self):
        self.run("const range = document.getElementById('opacity');"
                 "range.value = 100; range.dispatchEvent(new Event('input'))")

    def choose(self, block):
        self.run("const list = document.getElementById('block');"
                 "list.selectedIndex = arguments[0];"
                 "list.dispatchEvent(new Event('change'))", block)

    def errors(self):
        return [line for line in self.driver.get_log("browser")
                if line["level"] == "SEVERE"]


@pytest.mark.parametrize("width", [1280, 390])
def test_the_other_square_lights_up(tmp_path, planted, browser, width):
    out = planted(tmp_path, "embedded_gaussian", True)
    browser.open(out / "attention.html", width)
    browser.cover()
    for block in 0, 1:
        browser.choose(block)
        browser.mouse("move", 16, 16)
        assert browser.colour(SQUARE, SQUARE) == [252, 255, 164]   # the most
        assert sum(browser.colour(8, 60)) < 400
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.errors() == []


def test_hover_tap_keys_and_click_move_the_query(tmp_path, planted, browser):
    browser.open(planted(tmp_path, "embedded_gaussian", False)
                 / "attention.html")
    browser.mouse("move", 16, 16)
    assert "query (y 2, x 2) at pixel (y 16, x 16)" in browser.text("status")
    assert "outside the original" in browser.text("status")
    browser.mouse("move", 40, 16)
    assert "query (y 5, x 2)" in browser.text("status")
    assert "key (y 5, x 2), weight" in browser.text("reading")
    browser.mouse("click", 32, 24)
    browser.mouse("move", SQUARE, SQUARE)       # held: keys are read
    assert "query (y 4, x 3)" in browser.text("status")
    assert "key (y 5, x 5), weight" in browser.text("reading")
    browser.run("canvas.dispatchEvent(new KeyboardEvent('keydown', "
                "{key: 'ArrowRight'}))")
    assert "query (y 4, x 4)" in browser.text("status")
    browser.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {
        "enabled": True})
    browser.mouse("tap", 8, 8)
    assert "query (y 1, x 1)" in browser.text("status")
    assert browser.errors() == []


def test_products_have_a_scale_of_two_signs(tmp_path, planted, browser):
    browser.open(planted(tmp_path, "dot_product", False) / "attention.html")
    browser.cover()
    browser.mouse("move", 16, 16)
    assert browser.text("least") == "-" + browser.text("most")
    assert browser.colour(SQUARE + 2, SQUARE + 2) == [178, 24, 43]
    assert browser.colour(60, 4) == [247, 247, 247]                # 0
    assert "diverge" in browser.text("form")


def test_keys_that_are_not_kept_have_no_colour(
        tmp_path, planted, browser, monkeypatch):
    monkeypatch.setattr(attention, "_BYTES", 0)
    monkeypatch.setattr(attention, "_LEAST_KEYS", 1)
    browser.open(planted(tmp_path, "embedded_gaussian", True)
                 / "attention.html")
    browser.cover()
    browser.mouse("click", 16, 16)
    assert browser.colour(SQUARE, SQUARE) == [252, 255, 164]
    assert browser.colour(60, 4) == [0, 0, 0]                   # the input
    browser.mouse("move", 60, 4)
    assert "none of the strongest" in browser.text("reading")
    assert "the 1 strongest keys" in browser.text("form")


def test_a_clip_lights_up_in_the_frames_of_the_match(
        tmp_path, planted, browser):
    """Key time 2 is that of frames 4 and 5."""
    browser.open(planted(tmp_path, "embedded_gaussian", True, clip=True)
                 / "attention.html", 390)
    browser.cover()
    browser.mouse("move", 16, 16)
    assert "(t 0, " in browser.text("status")
    row = browser.text("keys")
    assert "(t 4.5, y " in row[:row.index(")", row.index("t 4.5"))]
    first = browser.run(
        "return document.querySelector('#keys td:last-child').textContent")
    assert first.startswith("(t 4.5, ")
    assert browser.errors() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_report_fits_its_window(tmp_path, browser, width, scheme):
    pytest.importorskip("matplotlib")
    import test_report as made
    runs = [made.write_run(tmp_path / name, [
        made.step(4, 2.0), made.epoch(1, 0.5), made.epoch(2, 0.75)],
        network="tsm", protocol="mmaction2-1.x", classes=2)
        for name in ("one", "a_run_with_a_name_that_is_rather_long")]
    made.write_checkpoint(runs[0], 8)
    made.evaluated(runs[0])
    assert report.main(runs + ["--output", str(tmp_path / "r.html")]) == 0
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
        "features": [{"name": "prefers-color-scheme", "value": scheme}]})
    browser.open(tmp_path / "r.html", width)
    browser.run("document.querySelectorAll('details').forEach("
                "(each) => { each.open = true; })")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    boxes = browser.run(
        "return Array.from(document.querySelectorAll('svg')).map("
        "(each) => each.getBoundingClientRect().width)")
    assert len(boxes) == 6 and min(boxes) > 300     # query dependence is None
    ink, back = browser.run(
        "const style = getComputedStyle(document.body); return "
        "[getComputedStyle(document.querySelector('svg text')).fill, "
        "style.backgroundColor]")
    assert (ink == "rgb(29, 31, 35)") == (scheme == "light")
    assert (back == "rgb(255, 255, 255)") == (scheme == "light")
    assert browser.errors() == []

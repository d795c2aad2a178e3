"""One reader's path through a browser: open a notebook, run it, move a slider with the keyboard.

First an explorer of its own, control by control; then three lessons as they are committed.
"""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]
LAB = ["--no-browser", "--allow-root", "--ServerApp.token=", "--ServerApp.password=",
       "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]

CELL = '''
import time
import numpy as np
from cnnvis_helpers.controls import explore

drawn = []

def draw(stripes=6, coat="dark", belly=False, light=0.5):
    """Paint the stripes that the sliders ask for."""
    drawn.append(stripes)
    if stripes == 39:
        raise ValueError("thirty-nine stripes <are too many>")
    y, x = np.mgrid[:224, :224] / 224
    waves = 0.5 + 0.5 * np.sin(stripes * np.pi * (x + 0.15 * np.sin(5 * y)))
    tone = {"dark": (0.16, 0.15, 0.2), "sand": (0.62, 0.42, 0.22)}[coat]
    waves = waves[..., None]
    picture = np.array([0.97, 0.94, 0.88]) * waves + np.array(tone) * (1 - waves)
    if belly:
        picture[150:] = picture[150:] * 0.4 + 0.6
    time.sleep(0.05)
    caption = f"{stripes} stripes on a {coat} coat\\nmean light {picture.mean():.2f}"
    return picture * (0.6 + 0.4 * light), caption

explore(draw, strip="stripes", stripes=(2, 40), coat=["dark", "sand"], belly=False,
        light=(0.0, 1.0, 0.05))
'''

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium in PATH")


LESSONS = ("01_saliency_maps", "08_grad_cam", "18_right_for_the_wrong_reason")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Serve notebooks from a JupyterLab on a free port; give the address of their folder."""
    folder = tmp_path_factory.mktemp("lab")
    cells = [nbformat.v4.new_code_cell(CELL.strip()), nbformat.v4.new_code_cell("print(drawn)")]
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "explore.ipynb")
    for name in LESSONS:
        shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", folder)
    for extension, setting in (  # all cells are in the page, also those that are out of sight
        ("apputils-extension/notification", {"fetchNews": "false"}),
        ("notebook-extension/tracker", {"windowingMode": "none"}),
    ):
        path = folder / "set" / "@jupyterlab" / f"{extension}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(setting))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Its own settings and kernels: the reader's JupyterLab must not change what is tested.
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JUPYTERLAB_SETTINGS_DIR": str(folder / "set"),
           "JUPYTERLAB_WORKSPACES_DIR": str(folder / "work"),
           "JUPYTER_RUNTIME_DIR": str(folder / "run")}
    log = folder / "log.txt"
    with log.open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *LAB, "--ip=127.0.0.1", f"--port={port}",
             f"--notebook-dir={folder}"], cwd=folder, env=env, stdout=out, stderr=out)
        try:
            for _ in range(1800):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=2).close()
                    break
                except (urllib.error.URLError, OSError):
                    assert server.poll() is None, log.read_text()
                    time.sleep(0.1)
            else:
                pytest.fail(f"JupyterLab did not answer:\n{log.read_text()}")
            yield f"http://127.0.0.1:{port}/lab/tree"
        finally:
            server.terminate()
            server.wait(20)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


def run_all(browser, address):
    """Open a notebook and run all of it; give the page and what went wrong in it, so far none."""
    page, errors = browser.new_page(viewport={"width": 1280, "height": 1000}), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(180_000)  # a loaded machine is slow without being wrong
    page.goto(f"{address}?reset")
    page.locator(".jp-CodeCell").first.wait_for()
    page.get_by_text("(ipykernel) | Idle").wait_for()  # else cells go unheard
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    return page, errors


@pytest.fixture(scope="module")
def page(browser, lab):
    """Open the explorer's notebook and run all of it."""
    page, _ = run_all(browser, f"{lab}/explore.ipynb")
    page.locator("img.widget-image").wait_for()
    yield page
    page.close()


def shot(part, name):
    """Keep a picture of a part of the page where CNNVIS_SHOTS asks for it."""
    if folder := os.environ.get("CNNVIS_SHOTS"):
        part.screenshot(path=f"{folder}/{name}.png")


def picture(part):
    """Give a digest of the bytes that the live picture in a part of the page shows now."""
    code = """async image => {
        const bytes = await (await fetch(image.src)).arrayBuffer();
        return Array.from(new Uint8Array(bytes));
    }"""
    shown = part.locator("img.widget-image").first.evaluate(code)
    return hashlib.sha256(bytes(shown)).hexdigest()


def changed(part, before):
    """Wait until the picture differs from `before`; give the new digest."""
    start = time.perf_counter()
    while time.perf_counter() - start < 180:
        now = picture(part)
        if now != before:
            return now
        time.sleep(0.01)
    pytest.fail("the picture stayed the same for 180 s")


def handle(page, label):
    """Find the part of a slider that takes the keyboard."""
    return page.locator(".widget-slider").filter(has_text=label).locator("[role=slider]")


def test_the_cell_shows_its_strip_once_and_its_controls_once(page):
    shot(page.locator(".jp-OutputArea").first, "explore_lab")
    assert page.locator("img.widget-image").count() == 1
    assert page.locator(".jp-OutputArea-output img:not(.widget-image)").count() == 1
    assert page.get_by_text("6 stripes on a dark coat").count() == 1
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0


def test_no_label_is_cut(page):
    cut = page.evaluate("""() => [...document.querySelectorAll('.widget-label')]
        .filter(label => label.scrollWidth > label.clientWidth).map(label => label.textContent)""")
    assert cut == []


def test_the_keyboard_moves_a_slider_and_the_picture_follows(page):
    before = picture(page)
    handle(page, "stripes").focus()
    page.keyboard.press("ArrowRight")
    after = changed(page, before)
    page.get_by_text("7 stripes on a dark coat").wait_for()
    page.keyboard.press("ArrowLeft")
    assert changed(page, after) == before, "the remembered drawing is not the first one"


def test_every_control_changes_the_picture(page):
    before = picture(page)
    page.get_by_role("button", name="sand").click()
    before = changed(page, before)
    page.locator(".widget-checkbox input").click()
    before = changed(page, before)
    handle(page, "light").focus()
    page.keyboard.press("ArrowRight")
    changed(page, before)
    page.get_by_text("6 stripes on a sand coat").wait_for()
    shot(page.locator(".jp-OutputArea").first, "explore_moved")


def test_an_error_is_told_in_place_and_goes_away(page):
    slider = handle(page, "stripes")
    slider.focus()
    page.keyboard.press("End")
    page.get_by_text("40 stripes").wait_for()
    page.keyboard.press("ArrowLeft")
    alert = page.get_by_role("alert")
    alert.wait_for()
    shot(page.locator(".jp-OutputArea").first, "explore_error")
    assert "thirty-nine stripes <are too many>" in alert.inner_text()
    page.keyboard.press("ArrowLeft")
    alert.wait_for(state="detached")


def test_a_fast_drag_queues_up_no_stale_drawings(page):
    before = picture(page)
    handle(page, "stripes").focus()
    page.keyboard.press("Home")
    changed(page, before)
    for _ in range(25):  # faster than the cell's 50 ms for a drawing
        page.keyboard.press("ArrowRight")
    page.get_by_text("27 stripes").wait_for()
    page.locator(".jp-Cell").nth(1).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    told = page.locator(".jp-Cell").nth(1).locator("pre", has_text="27")
    told.wait_for()
    drawn = json.loads(told.inner_text())
    steps = drawn[max(i for i, stripes in enumerate(drawn) if stripes == 2) + 1:]
    assert steps == sorted(steps) and steps[-1] == 27
    assert len(steps) < 25, f"each of 25 quick steps was drawn: {steps}"


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_runs_and_its_sliders_answer_to_the_keyboard(browser, lab, name):
    page, errors = run_all(browser, f"{lab}/{name}.ipynb")
    # A cell that has not run yet, or runs, has a star; the last one to run is the last of all.
    page.wait_for_function(
        """() => !document.querySelector('.jp-Notebook').innerText.includes('[*]:')""",
        timeout=600_000, polling=1000)  # fmt: skip
    page.locator(".cnnvis-explore").first.wait_for()
    explorers = page.locator(".cnnvis-explore")
    for number in range(explorers.count()):
        explorer = explorers.nth(number)
        explorer.scroll_into_view_if_needed()
        slider, before = explorer.locator("[role=slider]").first, picture(explorer)
        slider.focus()
        start = slider.get_attribute("aria-valuenow")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        assert slider.get_attribute("aria-valuenow") != start
        changed(explorer, before)
        shot(explorer, f"{name}_{number}")
        assert explorer.get_by_role("alert").count() == 0
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert errors == []
    page.close()

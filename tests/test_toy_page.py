"""The page of the toy: its network in Node against Python, and the page itself in Chromium."""

import base64
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import kkt_ref
from kkt_ref.conformance import check_answers, write_questions
from kkt_ref.conformance.files import METHODS
from tests.programs import run_python

ROOT = Path(__file__).parent.parent
PEER = ROOT / "tests" / "peers" / "page.mjs"


def test_the_pages_module_passes_the_kit(tmp_path):
    if not (node := shutil.which("node")):
        pytest.skip("needs Node")
    questions, answers = tmp_path / "questions.json", tmp_path / "answers.json"
    write_questions(questions)
    subprocess.run([node, PEER, questions, answers], check=True, timeout=60)
    lacking = {"*: *softplus*": "the page lacks softplus"}
    results = check_answers(answers, expected_failures=lacking)
    passed = {one.name.split(":")[0] for one in results if one.status == "passed"}
    lacking = {"training_step", "ssim", "weighted_stationarity", "epsilon_delta"}
    assert passed == METHODS.keys() - lacking


@pytest.fixture(scope="module", params=["circle", "three-classes"])
def made(request, tmp_path_factory):
    """A page, its data, and the demo's table."""
    folder = tmp_path_factory.mktemp("page")
    options = ["--quick", "--data", request.param, "--json", "t.json", "--html", "toy2d.html"]
    done = run_python(ROOT / "demos" / "toy2d.py", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    text = (folder / "toy2d.html").read_text("utf-8")
    data = json.loads(re.search(r'<script [^>]*id="data">(.*?)</script>', text, re.S)[1])
    return folder / "toy2d.html", data, json.loads((folder / "t.json").read_text())


@pytest.fixture(scope="module")
def chromium():
    api = pytest.importorskip("playwright.sync_api", reason="needs the extra peers")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("needs chromium")
    with api.sync_playwright() as started:
        yield started.chromium.launch(executable_path=path)


@pytest.fixture
def tab(made, chromium):
    """The page in a window, in which nothing may reach the console."""
    opened, said = chromium.new_page(viewport=dict(width=1024, height=900)), []
    for event in ("console", "pageerror"):
        opened.on(event, lambda told: said.append(told))
    opened.goto(made[0].as_uri())
    yield opened
    opened.close()
    assert said == []


@pytest.mark.slow
def test_the_page_is_one_file_and_asks_for_nothing(made):
    path, _, _ = made
    text = path.read_text("utf-8")
    assert 20_000 < path.stat().st_size <= 2_000_000
    assert not re.findall(
        r"""\b(?:src|href)=|url\(|@import|^import |fetch\(|https?://(?!www\.w3\.org/)""", text, re.M
    )


@pytest.mark.slow
def test_the_page_fits_into_every_window(tab):
    for width, scheme in itertools.product((360, 1024, 1920), ("light", "dark")):
        tab.set_viewport_size(dict(width=width, height=900))
        tab.emulate_media(color_scheme=scheme)
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == (scheme == "dark")
        for button in ("play1", "slide", "fit", "flip", "reset"):
            tab.evaluate(f"document.getElementById('{button}').click()")
        assert "Stationarity" in tab.locator("#bars").inner_text()


@pytest.mark.slow
def test_dragging_and_keys_change_the_numbers_to_those_of_python(made, tab):
    data = made[1]
    theta = np.frombuffer(base64.b64decode(data["theta"]))
    gates = kkt_ref.GatedReLU(data["alpha"])
    shape = kkt_ref.init_uniform(data["widths"], np.random.default_rng(0), activation=gates)
    net, x, y = shape.with_theta(theta), np.array(data["x"]), np.array(data["y"])
    lam, q = np.array(data["multipliers"]), kkt_ref.margins(net, x, y).min()

    def candidate():
        return json.loads(tab.evaluate("document.getElementById('where').dataset.candidate"))

    def check(number):
        """Compare all numbers of the page with a report by Python."""
        one = candidate()
        x[number], y[number], lam[number] = one["x"], one["y"], np.squeeze(one["lam"])
        report = kkt_ref.kkt_report(net, x, y, lam, margin=q)
        bars = "[...document.querySelectorAll('#bars output')].map(bar => +bar.dataset.value)"
        mass = np.array(data["multipliers"]).reshape(len(x), -1).sum(axis=1)
        norms, dual = report.stationarity, report.dual_feasibility / mass.max()
        expected = [norms.relative, *norms.by_layer, report.primal_feasibility, dual]
        expected.append(report.complementary_slackness)
        assert tab.evaluate(bars) == pytest.approx(expected, rel=1e-9, abs=1e-12)
        return report

    check(0)
    place = tab.locator("#plane3 .candidates g").nth(3)
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    begin = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(*begin)
    tab.mouse.down()
    tab.mouse.move(begin[0] + 40, begin[1] - 20, steps=2)
    tab.mouse.up()
    unit = 3 / tab.evaluate("document.querySelector('#plane3 svg').clientWidth")
    moved = np.array(data["x"][3]) + np.array([40, 20]) * unit
    assert candidate()["x"] == pytest.approx(moved, abs=1e-6)
    assert check(3).primal_feasibility > 0.01

    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("Shift+ArrowDown")
    assert candidate()["x"] == pytest.approx(moved - [0.01, 0.1], abs=1e-6)
    check(3)
    tab.locator("#lambda").press("Home")  # the smallest λ is negative
    assert check(3).dual_feasibility > 0

    tab.locator("#fit").click()
    bars = "document.querySelector('#bars output').dataset.value"
    floor = kkt_ref.residual_floor(net, x, y).relative
    assert float(tab.evaluate(bars)) == pytest.approx(floor, rel=1e-4)  # 3000 sweeps


@pytest.mark.slow
def test_each_condition_removes_strays_and_all_four_find_what_python_finds(made, tab):
    def counts(*switched):
        """Points found and strays at the end of the search, after conditions are switched."""
        for name in switched:
            if tab.locator(f"#use{name}").is_enabled():
                tab.locator(f"#use{name}").press(" ")
        tab.locator("#progress").press("End")
        return tab.evaluate(
            "(d => [+d.found, +d.strays])(document.getElementById('verdict2').dataset)"
        )

    alone, full = made[2]["methods"]["paper_best"], made[2]["methods"]["full"]
    assert counts("S", "D") == [alone["matched_05"], alone["strays"]]
    with_primal, with_slackness = counts("P")[1], counts("P", "C")[1]
    assert alone["strays"] > with_primal >= with_slackness
    assert counts("P") == [full["matched_05"], full["strays"]]

"""The page of the toy: its network in Node against Python, and the page itself in Chromium."""

import base64
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, Browser

import kkt_ref
from kkt_ref.conformance.questions import QUESTIONS
from kkt_ref.kkt import stationarity_norms
from kkt_ref.network.activations import Softplus

ROOT = Path(__file__).parent.parent
KKT = ROOT / "demos" / "toy_page" / "kkt.mjs"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="needs node")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
# answers one question a line: [name of a function, the network, its other arguments]
SERVER = f"""
import {{ createInterface }} from "node:readline";
import * as kkt from "{KKT.as_uri()}";
for await (const line of createInterface({{ input: process.stdin }})) {{
  const [name, {{ widths, theta, alpha, biases }}, args] = JSON.parse(line);
  const net = kkt.network(widths, Float64Array.from(theta), {{ alpha, biases }});
  const found = name === "outputs" ? args[0].map((x) => kkt.forward(net, x).outputs)
    : name === "gradients" ? args[0].map((x, i) => kkt.gradient(net, x, args[1][i]))
    : kkt[name](net, ...args);
  console.log(JSON.stringify(found, (_, v) => v instanceof Float64Array ? [...v] : v));
}}
"""


class Page:
    """The page's own module, as the conformance kit asks it; Node answers."""

    def __init__(self):
        command, pipe = [NODE, "--input-type=module", "-e", SERVER], subprocess.PIPE
        self.node = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def close(self):
        self.node.stdin.close()
        self.node.wait(timeout=10)
        self.node.stdout.close()

    def ask(self, name, net, *arguments):
        if isinstance(net.activation, Softplus):
            raise NotImplementedError("the page has ReLU and smoothed gates only")
        question = {
            "widths": net.widths,
            "theta": net.theta.tolist(),
            "alpha": getattr(net.activation, "alpha", None),
            "biases": [b is not None for b in net.biases],
        }
        arguments = [np.asarray(part).tolist() for part in arguments]
        self.node.stdin.write(json.dumps([name, question, arguments]) + "\n")
        self.node.stdin.flush()
        return json.loads(self.node.stdout.readline())

    def outputs(self, net, x):
        return self.class_outputs(net, x)[:, 0]

    def per_sample_gradients(self, net, x):
        return np.array(self.ask("gradients", net, x, np.ones((len(x), 1))), float)

    def stationarity_residual(self, net, x, y, multipliers):
        return np.array(self.ask("residual", net, x, y, multipliers[:, None]), float)

    def stationarity(self, net, x, y, multipliers):
        found = self.ask("lossAndGradient", net, x, y, multipliers.reshape(len(x), -1))
        slope = np.array(found["gradLam"], float).reshape(multipliers.shape)
        return found["value"], np.array(found["gradX"], float), slope

    def kkt_conditions(self, net, x, y, multipliers, margin):
        found = self.ask("report", net, x, y, multipliers.reshape(len(x), -1), margin)
        names = "primalFeasibility", "dualFeasibility", "complementarySlackness"
        return found["stationarity"], *(found[name] for name in names)

    def class_outputs(self, net, x):
        return np.array(self.ask("outputs", net, x), float)

    class_stationarity = stationarity
    class_kkt_conditions = kkt_conditions


@pytest.fixture
def page():
    opened = Page()
    yield opened
    opened.close()


@needs_node
@pytest.mark.parametrize("alpha", [None, 3.0])
@pytest.mark.parametrize("widths", [(2, 9, 1), (2, 7, 5, 1), (2, 8, 3), (2, 6, 4, 3)])
def test_the_pages_numbers_are_those_of_python(page, widths, alpha):
    rng, K = np.random.default_rng(0), widths[-1]
    gates = kkt_ref.ReLU() if alpha is None else kkt_ref.GatedReLU(alpha)
    net = kkt_ref.init_uniform(widths, rng, activation=gates)
    x = rng.normal(size=(12, 2))
    y = np.tile([-1.0, 1.0], 6) if K == 1 else np.arange(12) % K
    lam = rng.uniform(-0.5, 1.0, size=(12,) if K == 1 else (12, K))
    close = dict(rtol=1e-9, atol=1e-12)

    if K == 1:
        rows = kkt_ref.per_sample_gradients(net, x)
        np.testing.assert_allclose(page.per_sample_gradients(net, x), rows, **close)
    right = kkt_ref.stationarity_by_autograd(net, x, y, lam)
    for ours, theirs in zip(right, page.stationarity(net, x, y, lam), strict=True):
        np.testing.assert_allclose(theirs, ours, **close)
    report = kkt_ref.kkt_report(net, x, y, lam, margin=0.1)
    np.testing.assert_allclose(
        page.kkt_conditions(net, x, y, lam, 0.1), conditions(report), **close
    )
    layers = page.ask("report", net, x, y, lam.reshape(12, -1), 0.1)["byLayer"]
    np.testing.assert_allclose(layers, report.stationarity.by_layer, **close)
    best = np.array(page.ask("bestMultipliers", net, x, y)).reshape(lam.shape)
    fitted = kkt_ref.fit_multipliers(net, x, y)
    assert best.min() >= 0
    left = [stationarity_norms(net, x, y, one).relative for one in (best, fitted)]
    assert left[0] == pytest.approx(left[1], rel=1e-6)


def conditions(report):
    return (
        report.stationarity.relative,
        report.primal_feasibility,
        report.dual_feasibility,
        report.complementary_slackness,
    )


@needs_node
def test_the_pages_module_passes_the_kit(page):
    lacking = {"*: *softplus*": "the page lacks softplus"}
    results = kkt_ref.check_implementation(page, expected_failures=lacking)
    passed = {one.name.split(":")[0] for one in results if one.status == "passed"}
    assert passed == {name for name in vars(Page) if name in QUESTIONS}


@pytest.fixture(scope="module", params=["circle", "three-classes"])
def made(request, tmp_path_factory):
    """A page, its data, and the demo's table."""
    folder = tmp_path_factory.mktemp("page")
    options = ["--quick", "--data", request.param, "--json", "t.json", "--html", "toy2d.html"]
    command = [sys.executable, str(ROOT / "demos" / "toy2d.py"), *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    text = (folder / "toy2d.html").read_text("utf-8")
    data = json.loads(re.search(r'<script [^>]*id="data">(.*?)</script>', text, re.S)[1])
    return folder / "toy2d.html", data, json.loads((folder / "t.json").read_text())


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


def test_html_needs_both_attacks(tmp_path):
    command = [sys.executable, str(ROOT / "demos" / "toy2d.py"), "--method", "full"]
    command += ["--html", "t.html"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "leave --method out" in done.stderr


@pytest.mark.slow
def test_the_page_is_one_file_and_asks_for_nothing(made):
    path, _, _ = made
    text = path.read_text("utf-8")
    assert 20_000 < path.stat().st_size <= 2_000_000
    assert not re.findall(
        r"""\b(?:src|href)=|url\(|@import|^import |fetch\(|https?://(?!www\.w3\.org/)""", text, re.M
    )


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1024, 1920])
def test_the_page_fits_and_nothing_reaches_the_console(made, browser, width, dark):
    browser.open(made[0], width, dark=dark)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    ground = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == dark
    for button in ("play1", "slide", "fit", "flip", "reset"):
        browser.run(f"document.getElementById('{button}').click()")
    assert browser.run("document.getElementById('bars').innerText.includes('Stationarity')")
    assert browser.errors == []


@needs_chromium
@pytest.mark.slow
def test_dragging_and_keys_change_the_numbers_to_those_of_python(made, browser):
    path, data, _ = made
    theta = np.frombuffer(base64.b64decode(data["theta"]))
    gates = kkt_ref.GatedReLU(data["alpha"])
    shape = kkt_ref.init_uniform(data["widths"], np.random.default_rng(0), activation=gates)
    net, x, y = shape.with_theta(theta), np.array(data["x"]), np.array(data["y"])
    lam, q = np.array(data["multipliers"]), kkt_ref.margins(net, x, y).min()
    browser.open(path, 1024)

    def place(number):
        browser.run("document.getElementById('plane3').scrollIntoView()")
        box = (
            f"document.querySelectorAll('#plane3 .candidates g')[{number}].getBoundingClientRect()"
        )
        return browser.run(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({box})")

    def candidate():
        return json.loads(browser.run("document.getElementById('where').dataset.candidate"))

    def check(number):
        """Compare all numbers of the page with a report by Python."""
        one = candidate()
        x[number], y[number], lam[number] = one["x"], one["y"], np.squeeze(one["lam"])
        report = kkt_ref.kkt_report(net, x, y, lam, margin=q)
        bars = "[...document.querySelectorAll('#bars output')].map(bar => +bar.dataset.value)"
        mass = np.array(data["multipliers"]).reshape(len(x), -1).sum(axis=1)
        relative, primal, dual, slackness = conditions(report)
        expected = [relative, *report.stationarity.by_layer, primal, dual / mass.max(), slackness]
        assert browser.run(bars) == pytest.approx(expected, rel=1e-9, abs=1e-12)
        return report

    check(0)
    begin = place(3)
    unit = 3 / browser.run("document.querySelector('#plane3 svg').clientWidth")
    browser.drag(begin, (begin[0] + 40, begin[1] - 20))
    moved = np.array(data["x"][3]) + np.array([40, 20]) * unit
    assert candidate()["x"] == pytest.approx(moved, abs=1e-6)
    assert check(3).primal_feasibility > 0.01

    browser.press("ArrowLeft")
    browser.press("ArrowDown", shift=True)
    assert candidate()["x"] == pytest.approx(moved - [0.01, 0.1], abs=1e-6)
    check(3)
    browser.run("document.getElementById('lambda').focus()")
    browser.press("Home")  # the smallest λ is negative
    assert check(3).dual_feasibility > 0
    assert browser.errors == []


@needs_chromium
@pytest.mark.slow
def test_each_condition_removes_strays_and_all_four_find_what_python_finds(made, browser):
    path, _, table = made
    browser.open(path, 1024)

    def counts():
        """Points found and strays at the end of the search."""
        browser.run("document.getElementById('progress').focus()")
        browser.press("End")
        return browser.run(
            "(d => [+d.found, +d.strays])(document.getElementById('verdict2').dataset)"
        )

    def switch(name):
        browser.run(f"document.getElementById('use{name}').focus()")
        if not browser.run(f"document.getElementById('use{name}').disabled"):
            browser.press(" ")

    switch("S")
    switch("D")
    paper = table["methods"]["paper_best"]
    assert counts() == [paper["matched_05"], paper["strays"]]
    strays = [paper["strays"]]
    switch("P")
    strays.append(counts()[1])
    switch("P")
    switch("C")
    strays.append(counts()[1])
    assert strays[0] > strays[1] >= strays[2]
    switch("P")
    full = table["methods"]["full"]
    assert counts() == [full["matched_05"], full["strays"]]
    assert browser.errors == []

"""The one page computes what the library computes, and stays one page."""

import ast
import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import kkt_ref
from tests.networks import twelve_points
from tests.programs import run_python

DEMOS = Path(__file__).parent.parent / "demos"
_spec = importlib.util.spec_from_file_location("one_page", DEMOS / "one_page.py")
page = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(page)
ALPHAS = pytest.mark.parametrize("alpha", [None, 3.0])


def network(h=9, n=7, alpha=None):
    """θ of the page, the library's network with these weights and gates, x, y and λ."""
    rng = np.random.default_rng(0)
    theta = np.append(0.3 * rng.normal(size=3 * h), rng.uniform(-(h**-0.5), h**-0.5, h))
    weights = theta[: 2 * h].reshape(h, 2), theta[None, 3 * h :]
    net = kkt_ref.MLP(weights, (theta[2 * h : 3 * h], None))
    if alpha is not None:
        net = net.with_activation(kkt_ref.GatedReLU(alpha))
    return theta, net, rng.normal(size=(n, 2)), np.resize([1.0, -1.0], n), rng.uniform(size=n)


def close(found, expected):
    assert np.shape(found) == np.shape(expected)
    assert np.allclose(found, expected, rtol=1e-10, atol=1e-13)


@ALPHAS
def test_network_and_gradients(alpha):
    theta, net, x, *_ = network(alpha=alpha)
    close(page.phi(theta, x), kkt_ref.margins(net, x, np.ones(7)))
    close(page.per_sample_gradients(theta, x, alpha), kkt_ref.per_sample_gradients(net, x))


@ALPHAS
def test_conditions_and_multipliers(alpha):
    theta, net, x, y, lam = network(alpha=alpha)
    close(page.fit_multipliers(theta, x, y, alpha), kkt_ref.fit_multipliers(net, x, y))
    for multipliers in (lam, lam - 0.3):
        report = kkt_ref.kkt_report(net, x, y, multipliers, margin=0.3).as_dict()
        found = page.kkt_conditions(theta, x, y, multipliers, 0.3, alpha)
        names = {name.replace(" ", "_"): violation for name, violation in found.items()}
        close(list(names.values()), [report[name] for name in names])
        assert len(names) == 4 and report["primal_feasibility"] > 0
    assert report["dual_feasibility"] > 0


def test_loss_of_the_published_attack_and_its_gradient():
    theta, net, x, y, lam = network(alpha=3.0)
    loss = page.value_and_grad(page.stationarity_loss, (1, 3))
    value, slopes = loss(theta, x, y, lam, 3.0)
    for found, expected in zip(
        (value, *slopes), kkt_ref.stationarity_by_autograd(net, x, y, lam), strict=True
    ):
        close(found, expected)


def test_sharpness():
    theta, net, *_ = network()
    close(page.sharpness(theta, 0.02), kkt_ref.attacks.gate_alpha(net, 0.02))


@pytest.mark.parametrize("share", [0.999, 0.1], ids=["one step", "many steps"])
def test_training(share):
    theta, net, x, y, _ = network(h=30)
    target = share * np.mean(np.log1p(np.exp(-kkt_ref.margins(net, x, y))))
    ended = kkt_ref.loss_scaled_descent(net, x, y, rate=1.0, target_loss=target)
    assert ended.steps == 1 if share > 0.9 else ended.steps > 20
    close(page.train(theta, x, y, target, rate=1.0), ended.net.theta)


def test_published_attack_minimises_the_librarys_loss():
    net = twelve_points()[0]
    theta = net.theta
    x, lam, loss = page.attack_by_stationarity(theta, np.random.default_rng(0), m=8)
    gated = net.with_activation(kkt_ref.GatedReLU(kkt_ref.attacks.gate_alpha(net, 0.02)))
    close(loss, kkt_ref.stationarity_loss(gated, x, np.resize([1.0, -1.0], 8), lam))
    assert np.abs(x).max() <= page.BOX and lam.min() >= 0 and loss < 0.9 * np.sum(theta**2)


def test_a_band_is_fitted_as_the_library_fits_it():
    net, x, y = twelve_points()
    theta = net.theta
    q, step = kkt_ref.margins(net, x, y).min(), 0.1
    found, lam, loss = page.fit_in_band(theta, 0.9 * q, step)
    ticks = np.linspace(-1.5, 1.5, 31)
    points = np.array([(first, second) for second in ticks for first in ticks])
    outputs = kkt_ref.margins(net, points, np.ones(31**2)) / q
    inside = [k for k, output in enumerate(outputs) if 0.9 <= abs(output) <= 1.3 * 0.9]
    close(found, points[inside])
    gated = net.with_activation(kkt_ref.GatedReLU(kkt_ref.attacks.gate_alpha(net, step / 3)))
    labels = np.sign(outputs[inside])
    floor = kkt_ref.residual_floor(gated, found, labels).absolute
    close(loss, floor**2)
    close(kkt_ref.stationarity_loss(gated, found, labels, lam), floor**2)


def test_all_four_conditions_find_the_points_from_the_weights():
    net, x, y = twelve_points()
    theta = net.theta
    found, lam = page.attack_by_all_conditions(theta)
    kept = lam >= 0.1 * lam.max()
    match = kkt_ref.match_points(x, found[kept], 0.05)
    assert match.matched == len(x) and match.strays == 0
    assert np.array_equal(np.sign(page.phi(theta, found[kept][match.pairs[:, 1]])), y)


def test_points_are_counted_as_the_library_counts_them(capsys):
    theta, _, x, *_ = network(n=20)
    x = x / np.linalg.norm(x, axis=1, keepdims=True) + 3 * np.arange(20)[:, None]
    found = x[:12] + np.random.default_rng(1).normal(size=(12, 2)) * 0.04
    lam = np.append(np.full(10, 1.0), [0.11, 0.09])
    figure, ax = page.plt.subplots()
    page.show(ax, theta, 1.0, x, "name", found, lam)
    page.plt.close(figure)
    match = kkt_ref.match_points(x, found[:11], 0.05)
    assert 0 < match.strays < 11
    said = f"name: {match.matched} of 20 points, and {match.strays} that are not there\n"
    assert capsys.readouterr().out == said


def test_the_page_is_one_page_and_needs_four_packages():
    source = (DEMOS / "one_page.py").read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 170
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported - sys.stdlib_module_names <= {"numpy", "autograd", "scipy", "matplotlib"}


@pytest.mark.slow
def test_the_page_finds_the_points_and_draws_them(tmp_path):
    done = run_python("-W", "error", DEMOS / "one_page.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    counts = re.findall(r"(\d+) of 20 points, and (\d+) that", done.stdout)
    (back, strays), (all_back, all_strays) = [tuple(map(int, pair)) for pair in counts]
    assert all_back >= 19 and all_strays <= 3
    assert back < all_back and strays > all_strays + 5
    violations = list(map(float, re.findall(r"by (\d\.\d+)", done.stdout)))
    assert len(violations) == 8 and violations[0] > 0.9  # ReLU's own gates
    assert max(violations[4:]) == violations[4] < 0.3  # smoothed gates
    assert (tmp_path / "one_page.png").stat().st_size > 50_000

"""Networks that a user brings: wrong ones are named, and membership by their multipliers."""

import json
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import scipy
from strategies import error

import kkt_ref
from kkt_ref.attacks import multiplier_scores
from kkt_ref.audit import audit, judge
from kkt_ref.audit.figures import draw_pictures
from kkt_ref.audit.report import as_html, as_numbers
from kkt_ref.audit.weights import Weights
from kkt_ref.conformance import Implementation
from kkt_ref.kkt import gram
from kkt_ref.kkt.gram import gram_matrix
from kkt_ref.metrics import roc
from kkt_ref.network import check_gradients
from kkt_ref.stationarity import RunnerUp
from tests.test_protocol import TwoLayers, both

DEMOS = Path(__file__).parent.parent / "demos"


def random(phi):
    return phi * np.random.default_rng().choice([0.0, 2.0], phi.shape)


WRONG = {  # a method, what it answers instead, and how the message names it
    "divided": ("weighted_gradient", lambda g: [p / 7 for p in g], "does not match the outputs"),
    "negative": ("weighted_gradient", lambda g: [-p for p in g], "does not match the outputs"),
    "no bias": ("weighted_gradient", lambda g: (g[0], 0 * g[1], g[2]), r"array 1, of shape \(8,\)"),
    "one short": ("weighted_gradient", lambda g: g[:2], "expected 3 gradients, .* got 2"),
    "transposed": ("weighted_gradient", lambda g: (g[0].T, *g[1:]), r"array of shape \(8, 4\)"),
    "undefined": ("outputs", lambda phi: np.nan * phi, r"outputs\(x\) has NaN"),
    "flat": (
        "outputs",
        lambda phi: phi[:, 0],
        r"outputs\(x\) to be a floating array of shape \(4, 3\)",
    ),
    "dropout": ("outputs", random, "two different outputs; switch dropout"),
    "centred": ("outputs", lambda phi: phi - phi.mean(axis=0), "depends on the other samples"),
    "mean of rows": ("gradient_rows", lambda rows: rows / len(rows), "do not add up"),
}


def wrong(name, parts):
    method, change, _ = WRONG[name]

    def answer(self, *arguments):
        return change(getattr(TwoLayers, method)(self, *arguments))

    return type("Wrong", (TwoLayers,), {method: answer})(tuple(parts))


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_wrong_network_is_named_before_any_work(name, dtype):
    _, net, x, y, _ = both(3)
    net, x = net.astype(dtype), x.astype(dtype)[:4]
    check_gradients(net, x)  # the right one passes
    calls = {check_gradients: (), multiplier_scores: (y[:4],), kkt_ref.margins: (y[:4],)}
    for call, labels in calls.items():
        with pytest.raises(ValueError, match=WRONG[name][2]):
            call(wrong(name, net.parts), x, *labels)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_no_right_network_is_called_wrong(scale):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        net = kkt_ref.init_uniform((9, 40, 30, 3), rng, bias="all", dtype=np.float32)
        check_gradients(net.scaled(scale), rng.normal(size=(5, 9)).astype(np.float32))


def test_rows_in_blocks_give_the_same_matrix_and_a_projection_nearly():
    _, net, x, y, _ = both(3)
    x, U = np.repeat(x, 12, axis=0) + 0.1 * np.arange(84)[:, None], np.ones((84, 3))
    rows = net.gradient_rows(x, U)
    with mock.patch.object(gram, "MEMORY", 25 * net.theta.nbytes):
        by_blocks = gram_matrix(net, x, U, (1.0, 1.0))
    projected = gram_matrix(net, x, U, (1.0, 1.0), projection=4000)
    for found, tolerance in ((by_blocks, 1e-12), (projected, 0.1)):
        assert error(found[0], rows @ rows.T) < tolerance
        assert error(found[1], rows @ net.theta) < 1e-12


@pytest.mark.parametrize("K", [1, 3])
def test_any_network_has_the_conditions_and_the_score_of_the_mlp(K):
    mlp, net, x, y, _ = both(K)
    for ours, theirs in zip(
        multiplier_scores(net, x, y), multiplier_scores(mlp, x, y), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    with mock.patch("kkt_ref.kkt.equation.LARGEST_MATRIX", 0):
        found = kkt_ref.fit_multipliers(net, x, y)
    assert error(found, kkt_ref.fit_multipliers(mlp, x, y)) < 1e-3
    if K == 3:
        reports = [kkt_ref.kkt_report(n, x, y, margin=0.1, problem=RunnerUp()) for n in (net, mlp)]
        assert reports[0].multipliers.shape == y.shape
        np.testing.assert_allclose(reports[0][1:8], reports[1][1:8], rtol=1e-7)


def trained(K=3, n=30, others=200, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n + others, 20))
    y = np.arange(n + others) % K if K > 1 else np.resize([-1.0, 1.0], n + others)
    start = kkt_ref.init_uniform((20, 60, K), rng, bias="all")
    return kkt_ref.gradient_descent(start, x[:n], y[:n], step=0.3, max_steps=400).net, x, y


def test_the_multiplier_is_that_of_ridge_regression_in_its_standard_deviations():
    net, x, y = trained()
    Phi, rows = net.outputs(x), np.arange(len(x))
    wrong = np.exp(Phi) * (np.arange(3) != y[:, None])
    U = np.eye(3)[y] - wrong / wrong.sum(axis=1, keepdims=True)
    g, theta = kkt_ref.per_sample_gradients(net, x, U), net.theta.copy()
    for s in net.layer_slices:
        g[:, s], theta[s] = (v / np.sqrt(np.mean(net.theta[s] ** 2)) for v in (g[:, s], theta[s]))
    g /= np.linalg.norm(g, axis=1, keepdims=True)
    tall = np.vstack([g.T, 0.1 * np.eye(len(g))])  # ρ = 0.01
    lam = np.linalg.lstsq(tall, np.append(theta, np.zeros(len(g))))[0]
    deviation = np.sqrt(np.diag(np.linalg.inv(tall.T @ tall)))
    found = multiplier_scores(net, x, y)
    np.testing.assert_allclose(found.multiplier, lam / deviation, rtol=1e-6)
    loss = np.log(np.exp(Phi).sum(axis=1)) - Phi[rows, y]
    assert np.array_equal(np.argsort(found.margin), np.argsort(-loss))


@pytest.mark.parametrize("K", [1, 3])
def test_members_stand_out(K):
    net, x, y = trained(K)
    for evidence in multiplier_scores(net, x, y):
        assert roc(evidence[:30], evidence[30:]).auc > 0.8


def test_an_untrained_network_tells_nothing():
    p_values = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        net = kkt_ref.init_uniform((12, 20, 3), rng)
        scores = multiplier_scores(net, rng.normal(size=(60, 12)), np.arange(60) % 3).score
        p_values.append(roc(scores[:30], scores[30:]).p_all)
    assert np.mean(np.array(p_values) < 0.05) < 0.15 and max(p_values) > 0.5


def test_all_samples_are_treated_alike():
    net, x, y = trained()
    order = np.random.default_rng(1).permutation(len(x))
    pairs = zip(
        multiplier_scores(net, x, y), multiplier_scores(net, x[order], y[order]), strict=True
    )
    for one, other in pairs:
        np.testing.assert_allclose(one[order], other, rtol=1e-6, atol=1e-9)


@pytest.fixture(scope="module")
def memoriser():
    """A network that is no MLP, its 60 members, and 200 other samples."""
    mlp, x, y = trained(n=60)
    W, V = mlp.with_activation(kkt_ref.Softplus(3.0)).layers
    return TwoLayers((*W, V[0])), (x[:60], y[:60]), (x[60:], y[60:])


def test_the_audit_shows_what_another_network_memorised_and_makes_no_attack(memoriser):
    net, members, others = memoriser
    found = audit(net, members, others)
    verdicts = judge(found)
    assert verdicts["membership"].degree == verdicts["outputs"].degree == "shown"
    assert "No attack was made" in verdicts["reconstruction"].text
    assert verdicts["reconstruction"].p is None and not len(found.found.labels)
    assert found.data.conditions["floor"] < 1
    numbers = json.loads(json.dumps(as_numbers(Weights(net, "my network"), found, verdicts)))
    assert numbers["figures"]["verdict"] == "shown" and numbers["figures"]["ncc08"] is None
    assert not {"attack", "data"} & numbers.keys() and "widths" not in numbers["network"]
    page = as_html(numbers, draw_pictures(found))
    assert "No attack was made" in page and "could not be drawn" not in page


def test_the_audit_shows_nothing_of_another_network_that_never_saw_the_samples(memoriser):
    net, _, (x, y) = memoriser
    start = kkt_ref.init_uniform((20, 60, 3), np.random.default_rng(5))
    for each in (net, TwoLayers(start.arrays)):
        found = audit(each, (x[:60], y[:60]), (x[60:], y[60:]), conditions=False)
        assert not [v for v in judge(found).values() if v.degree != "not shown beyond chance"]


def test_the_audit_refuses_a_wrong_network_and_missing_samples(memoriser):
    net, members, others = memoriser
    for name in ("divided", "undefined", "dropout", "centred", "mean of rows"):
        with pytest.raises(ValueError, match=WRONG[name][2]):
            audit(wrong(name, net.parts), members, others)
    for few in ((None, None), (members, None), (members[0], others[0])):
        with pytest.raises(ValueError, match="expected both, each a pair"):
            audit(net, *few)
    with pytest.raises(ValueError, match="is not attacked"):
        audit(net, members, others, restarts=2)


class ByAdapter(Implementation):
    """What a network of another engine can answer of the kit's questions."""

    def __init__(self, adapt):
        self.adapt = adapt  # from an MLP

    def outputs(self, net, x):
        return self.adapt(net).outputs(x)[:, 0]

    def per_sample_gradients(self, net, x):
        return self.adapt(net).gradient_rows(x, np.ones((len(x), 1), x.dtype))

    def training_step(self, net, x, y, step):
        pull = y * scipy.special.expit(-y * self.outputs(net, x)) / len(y)
        g = self.adapt(net).weighted_gradient(x, pull[:, None].astype(x.dtype))
        return net.theta + step * np.concatenate([p.ravel() for p in g])


def in_torch(mlp):
    import torch
    from adapter_torch import TorchNetwork

    layers = []
    for W, b in mlp.layers:
        layers += [torch.nn.Linear(*W.shape[::-1], bias=b is not None), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1]).to(torch.from_numpy(mlp.weights[0]).dtype).eval()
    return TorchNetwork(model, (mlp.d,), mlp.arrays)


def in_jax(mlp):
    import jax
    from adapter_jax import JaxNetwork

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_disable_jit", True)  # else it compiles for each case

    def apply(layers, x):
        for i, (W, *b) in enumerate(layers):
            x = (jax.nn.relu(x) if i else x) @ W.T + (b[0] if b else 0)
        return x

    layers = [[p for p in layer if p is not None] for layer in mlp.layers]
    return JaxNetwork(apply, layers, (mlp.d,))


def relu_only(adapt):
    def adapted(mlp):
        if not isinstance(mlp.activation, kkt_ref.ReLU):
            raise NotImplementedError
        return adapt(mlp)

    return ByAdapter(adapted)


def averaged(adapt):
    """The same adapter, with a mean instead of a sum."""

    def adapted(mlp):
        net = adapt(mlp)
        rows = net.gradient_rows
        net.gradient_rows = lambda x, U: rows(x, U) / len(x)
        return net

    return adapted


@pytest.mark.slow
@pytest.mark.parametrize("engine, adapt", [("torch", in_torch), ("jax", in_jax)])
def test_the_adapters_of_the_demos_give_what_the_library_gives(engine, adapt, monkeypatch):
    pytest.importorskip(engine, reason=f"needs pip install {engine}")
    monkeypatch.syspath_prepend(str(DEMOS))
    mlp = kkt_ref.init_uniform((5, 8, 3), np.random.default_rng(0), bias="all")
    x, y = np.random.default_rng(1).normal(size=(130, 5)), np.arange(130) % 3
    check_gradients(adapt(mlp), x)
    with pytest.raises(ValueError, match="do not add up"):
        check_gradients(averaged(adapt)(mlp), x)
    for ours, theirs in zip(
        multiplier_scores(adapt(mlp), x, y), multiplier_scores(mlp, x, y), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.slow
def test_the_kit_passes_the_adapter_of_pytorch_and_finds_a_wrong_one(monkeypatch):
    pytest.importorskip("torch", reason="needs pip install torch")
    monkeypatch.syspath_prepend(str(DEMOS))
    lacking = {f"*: *{kind}*": "the adapters have ReLU" for kind in ("gates", "softplus")}
    options = dict(on_fail="return", dtype="float64", expected_failures=lacking)
    results = kkt_ref.check_implementation(relu_only(in_torch), **options)
    assert not [r for r in results if r.bad]
    assert sum(r.status == "passed" for r in results) > 20
    found = kkt_ref.check_implementation(relu_only(averaged(in_torch)), **options)
    assert {r.name.split(":")[0] for r in found if r.bad} == {"per_sample_gradients"}


@pytest.mark.slow
def test_a_pytorch_model_in_training_mode_is_refused_and_one_with_batch_statistics(monkeypatch):
    torch = pytest.importorskip("torch", reason="needs pip install torch")
    monkeypatch.syspath_prepend(str(DEMOS))
    from adapter_torch import TorchNetwork

    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.Flatten(),
        torch.nn.Linear(64, 3),
    )
    with pytest.raises(
        ValueError, match=r"expected evaluation mode, got training mode; call .eval"
    ):
        TorchNetwork(model, (1, 6, 6))
    net = TorchNetwork(model.eval(), (1, 6, 6))
    x = np.random.default_rng(0).normal(size=(9, 36)).astype(np.float32)
    check_gradients(net, x)
    assert (
        net.depth == 3
        and net.K == 3
        and net.theta.size == sum(p.numel() for p in model.parameters())
    )
    model[1].track_running_stats, model[1].running_mean, model[1].running_var = False, None, None
    with pytest.raises(ValueError, match="depends on the other samples"):
        check_gradients(TorchNetwork(model, (1, 6, 6)), x)

"""Networks that a user brings: wrong ones are named, and right ones measured as the MLP is."""

import json
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import kkt_ref
from kkt_ref.attacks import multiplier_scores
from kkt_ref.audit import audit, judge
from kkt_ref.audit.figures import draw_pictures
from kkt_ref.audit.report import as_html, as_numbers
from kkt_ref.audit.verdict import overall
from kkt_ref.audit.weights import Weights
from kkt_ref.kkt import gram
from kkt_ref.kkt.gram import gram_matrix
from kkt_ref.network import check_gradients
from kkt_ref.stationarity.evaluation import evaluate
from tests.strategies import error
from tests.test_membership import trained_by_steps
from tests.test_protocol import TwoLayers, both

DEMOS = Path(__file__).parent.parent / "demos"


WRONG = {  # a method, what it answers instead, and how the message names it
    "divided": ("weighted_gradient", lambda g: [p / 7 for p in g], "does not match the outputs"),
    "negative": ("weighted_gradient", lambda g: [-p for p in g], "does not match the outputs"),
    "no bias": ("weighted_gradient", lambda g: (g[0], 0 * g[1], g[2]), r"array 1, of shape \(8,\)"),
    "one short": ("weighted_gradient", lambda g: g[:2], "expected 3 gradients, .* got 2"),
    "transposed": ("weighted_gradient", lambda g: (g[0].T, *g[1:]), r"array of shape \(8, 4\)"),
    "undefined": ("weighted_gradient", lambda g: [np.nan * p for p in g], "has NaN or infinity"),
    "infinite": ("outputs", lambda phi: phi + np.inf, r"outputs\(x\) has NaN or infinity"),
    "flat": (
        "outputs",
        lambda phi: phi[:, 0],
        r"outputs\(x\) to be a floating array of shape \(4, 3\)",
    ),
    "dropout": (
        "outputs",
        lambda phi: phi * np.random.default_rng().choice([0.0, 2.0], phi.shape),
        "two different outputs; switch dropout",
    ),
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


class Batched(TwoLayers):
    """Gives the rows of many samples at once, as the adapters do."""

    def gradient_rows(self, x, coefficients):
        W, b, V = self.parts
        mlp = kkt_ref.MLP((W, V), (b, None), kkt_ref.Softplus(3.0))
        return evaluate(mlp, x).gradient_rows(coefficients)


@pytest.fixture(scope="module")
def memoriser():
    """A network that is no MLP, its 60 members, and 200 other samples."""
    mlp, x, y = trained_by_steps(n=60)
    return Batched((*mlp.layers[0], mlp.weights[1])), (x[:60], y[:60]), (x[60:], y[60:])


def test_the_audit_shows_what_another_network_memorised_and_makes_no_attack(memoriser):
    pytest.importorskip("jinja2", reason="needs pip install 'kkt_ref[audit]'")
    net, members, others = memoriser
    found = audit(net, members, others)
    verdicts = judge(found)
    assert verdicts["membership"].degree == verdicts["outputs"].degree == "shown"
    assert verdicts["reconstruction"][:2] == ("not tried", None) and not len(found.found.labels)
    assert found.data.conditions["floor"] < 1
    numbers = json.loads(json.dumps(as_numbers(Weights(net, "my network"), found, verdicts)))
    assert numbers["figures"]["verdict"] == "shown" and numbers["figures"]["ncc08"] is None
    assert not {"attack", "data"} & numbers.keys() and "widths" not in numbers["network"]
    page = as_html(numbers, draw_pictures(found))
    assert "No attack was made" in page and "could not be drawn" not in page


def test_the_audit_shows_nothing_of_another_network_that_never_saw_the_samples(memoriser):
    net, _, (x, y) = memoriser
    start = kkt_ref.init_uniform((20, 60, 3), np.random.default_rng(5)).arrays
    for each in (net, Batched(start)):
        verdicts = judge(audit(each, (x[:60], y[:60]), (x[60:], y[60:]), conditions=False))
        assert overall(verdicts) == "not shown beyond chance"


def test_the_audit_projects_gradients_that_do_not_fit_into_memory(memoriser):
    net, members, others = memoriser
    x, y = (np.concatenate(parts) for parts in zip(members, others, strict=True))
    size, placebos = len(x) * net.theta.nbytes, set()
    for memory, places in ((size, None), (size / 4, None), (size / 5, 2**14)):
        with mock.patch("kkt_ref.audit.measure.MEMORY", memory):
            found = audit(net, members, others, conditions=False).held_out
        scores = np.concatenate([found.membership.members, found.membership.others])
        expected = multiplier_scores(net, x, y, projection=places).multiplier
        np.testing.assert_allclose(scores, expected, rtol=1e-9)
        placebos.add(found.placebo_auc)
    assert len(placebos) == 2  # they are projected as soon as one block is full


def test_the_audit_refuses_a_wrong_network_and_missing_samples(memoriser):
    net, members, others = memoriser
    with pytest.raises(ValueError, match=WRONG["divided"][2]):
        audit(wrong("divided", net.parts), members, others)
    for few in ((None, None), (members, None), (members[0], others[0])):
        pytest.raises(ValueError, audit, net, *few).match("expected both, each a pair")
    pytest.raises(ValueError, audit, net, members, others, restarts=2).match("is not attacked")


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


@pytest.mark.slow
@pytest.mark.parametrize("widths, bias", [((5, 8, 3), "all"), ((5, 8, 6, 4, 3), "first")])
@pytest.mark.parametrize("engine, adapt", [("torch", in_torch), ("jax", in_jax)])
def test_adapters_of_the_demos_give_what_the_library_gives(
    engine, adapt, widths, bias, monkeypatch
):
    pytest.importorskip(engine, reason=f"needs pip install {engine}")
    monkeypatch.syspath_prepend(str(DEMOS))
    mlp = kkt_ref.init_uniform(widths, np.random.default_rng(0), bias=bias)
    rng = np.random.default_rng(1)
    x, U = rng.normal(size=(130, 5)), rng.normal(size=(130, 3))
    net, rows = adapt(mlp), kkt_ref.per_sample_gradients(mlp, x, U)
    check_gradients(net, x)
    total = np.concatenate([np.ravel(g) for g in net.weighted_gradient(x, U)])
    assert error(net.outputs(x), mlp.outputs(x)) < 1e-12
    assert error(net.gradient_rows(x, U), rows) < 1e-12 > error(total, rows.sum(axis=0))
    y = np.arange(130) % 3
    for ours, theirs in zip(
        multiplier_scores(net, x, y), multiplier_scores(mlp, x, y), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    net.gradient_rows = lambda x, U: adapt(mlp).gradient_rows(x, U) / len(x)  # a mean, not a sum
    with pytest.raises(ValueError, match="do not add up"):
        check_gradients(net, x)


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
    assert net.depth == net.K == 3
    assert net.theta.size == sum(p.numel() for p in model.parameters())
    model[1].track_running_stats, model[1].running_mean, model[1].running_var = False, None, None
    with pytest.raises(ValueError, match="depends on the other samples"):
        check_gradients(TorchNetwork(model, (1, 6, 6)), x)

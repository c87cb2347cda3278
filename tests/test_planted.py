"""Bugs planted in two right implementations: each is caught, and its name is never wrong.

A bug replaces a piece of the source by another.  What the kit names then is "" where it knows no
name, and only facts may be stated.
"""

import re
import types
from pathlib import Path

import pytest

from kkt_ref.conformance import check_implementation
from kkt_ref.conformance.result import summary
from tests.planted.states import STATES

FOLDER = Path(__file__).parent / "planted"
STYLES = {"torch_modules": "float32", "arrays": "float64"}
RUNNER_UP = """hot, z = np.eye(net.K)[y], forward(net, x)[1][-1]
        D = hot - np.eye(net.K)[np.argmax(np.where(hot, -np.inf, z), axis=1)]
        value, grad_x, grad_u = loss(net, x, multipliers.sum(axis=1, keepdims=True) * D)
        return value, grad_x, np.repeat((grad_u * D).sum(axis=1, keepdims=True), net.K, axis=1)
        value"""
# a style, its pieces of source, what replaces each, and what the kit names then
BUGS = {
    "torch_modules": {
        "torch.tensor(W)\n": {"torch.tensor(W.T.reshape(W.shape))\n": r"every weight is in Fortran order"},
        "bias=b is not None": {"bias=True": "two answers"},
        "return torch.relu(z)": {
            "return nn.functional.leaky_relu(z)": r"replaced by leaky ReLU with slope 0.01",
            "return torch.maximum(z, torch.zeros_like(z))": r"relu'\(0\) = 0.5",
            "return torch.where(z >= 0, z, 0 * z)": r"relu'\(0\) = 1",
        },
        "return (lam * y * model(x)[:, 0]).sum()": {
            "return (lam * y * model(x)[:, 0].clamp(-100, 100)).sum()": "",
            "return (torch.where(lam.abs() < 1e-6, 0 * lam, lam) * y * model(x)[:, 0]).sum()": "",
        },
        "loss = sum((r**2).sum() for r in parts)\n        loss.backward()\n        grad_x": {
            "loss = sum((r**2).mean() for r in parts)\n        loss.backward()\n        grad_x": r"the sum over an array is a mean",
        },
        "grad_x = torch.zeros_like(x) if": {"grad_x = torch.zeros_like(x) if True or": r"∂/∂x"},
        "return loss.item(), grad_x.numpy(), lam.grad.numpy()": {
            "return loss.item(), lam.grad.numpy(), grad_x.numpy()": "expected shape",
            "return loss, grad_x, lam.grad": "detach",
        },
        "[:, 0].detach().numpy()": {
            "[:, 0]": "detach",
            "[:, 0].detach().double().numpy()": "expected dtype",
            "[:, 0].detach().bfloat16().float().numpy()": "bfloat16",
        },
        "            model.zero_grad()\n": {"": r"the answer is added up from the first"},
        "(-gap).clamp(min=0).max().item() / margin": {
            "(-gap).clamp(min=0).max().item()": r"q below primal feasibility is taken as 1",
            "(-gap).max().item() / margin": r"₊ is left out",
        },
        "(-lam).clamp(min=0).max().item()": {
            "(-lam).max().item()": r"₊ is left out",
            "lam.clamp(min=0).max().item()": r"\(−λ\)₊ has the opposite sign inside",
        },
        "mass = lam.abs().sum() * margin": {"mass = lam.sum() * margin": ""},
        "gap = y * model(x)[:, 0].detach() - margin": {
            "gap = model(x)[:, 0].detach() - margin": r"y in y Φ is taken as 1",
            "gap = y * model(x)[:, 0].detach() - 1": r"q in both differences is taken as 1",
        },
        "torch.optim.SGD(model.parameters(), lr=step)": {"torch.optim.Adam(model.parameters(), lr=step)": ""},
        "logits = model(x)": {"logits = model(x).softmax(dim=1)": ""},
    },
    "arrays": {
        "def stationarity(self, net, x, y, multipliers):\n": {"def stationarity(self, net, x, y, multipliers):\n        y = -y\n": r"(?=.*opposite sign).*, y,"},
        "return Ws, bs, net.activation.name,": {
            "return Ws, bs, net.activation.name.replace('gated', 'softplus'),": r"gated",
            "return Ws, bs, net.activation.name.replace('gated', 'relu'),": r"hard gates",
        },
        "return [W - dW for W, dW in zip(Ws, dWs)], rbs": {
            "return [0 * Ws[0], *[W - dW for W, dW in zip(Ws, dWs)][1:]], [0 * rbs[0], *rbs[1:]]": r"part of the residual in layer 1 is taken as 0",
        },
        "window = np.outer(line, line) / line.sum() ** 2": {"window = np.full((11, 11), 1 / 121)": r"has a uniform window"},
        "U, hot = self.coefficients(y, multipliers)\n        value": {RUNNER_UP: ""},
        "Ws = [W.T for W in net.weights]": {"Ws = [W.T.astype(np.float32).astype(W.dtype) for W in net.weights]": r"every weight is rounded to float32"},
        "inputs, zs = [x], []": {"inputs, zs = [x.astype(np.float32).astype(x.dtype)], []": "x is rounded to float32"},
        "zs.append(inputs[-1] @ W + b)": {
            "zs.append(inputs[-1] @ W + (b if len(zs) == 0 else 0))": r"in all layers but the first is taken as 0",
            "zs.append(np.clip(inputs[-1] @ W + b, -500, 500))": "",
            "zs.append((inputs[-1].astype(np.float16) @ W.astype(np.float16)).astype(W.dtype) + b)": "float16",
        },
        "return np.logaddexp(0, alpha * z).astype(z.dtype) / alpha": {
            "return np.log(1 + np.exp(alpha * z)) / alpha": "raised|finite",
            "return np.logaddexp(0, alpha * z)": r"softplus that is not divided by α",
        },
        "return expit(alpha * z)": {"return expit(z)": r"α of the gates is taken as 1"},
        "if kind == \"gated\":\n        return (z > 0)": {"if False:\n        return (z > 0)": r"σ.αz. in every backward pass"},
        "alpha * g * (1 - g)": {
            "0 * g": r"the derivative through the gate is taken as 0",
            "g * (1 - g)": r"the derivative through the gate is divided by α",
        },
        "deltas.append(gate_of(kind, alpha, z) * (deltas[-1] @ W.T))": {"deltas.append(deltas[-1] @ W.T)": r"has no gates"},
        "parts.append(dW.T.ravel())\n        if b is not None:\n            parts.append(db)": {
            "if b is not None:\n            parts.append(db)\n        parts.append(dW.T.ravel())": "b_l before W_l",
        },
        "return np.concatenate(parts)": {
            "return np.concatenate(parts[::-1])": "layers reversed",
            "return np.concatenate(sorted(parts, key=len))": "",
        },
        "[d.sum(axis=0) for d in deltas]": {
            "[d.mean(axis=0) for d in deltas]": r"∇b is divided by m",
            "[0 * d.sum(axis=0) for d in deltas]": r"∇b is taken as 0",
        },
        "[a.T @ d for a, d in zip(inputs, deltas)]": {
            "[a.T @ d / len(a) for a, d in zip(inputs, deltas)]": "∇W is divided by m",
            "[a[:64].T @ d[:64] for a, d in zip(inputs, deltas)]": "",
            "[a.T @ d for a, d in zip(inputs[:8], deltas[:8])] + [0 * a.T @ d for a, d in zip(inputs[8:], deltas[8:])]": "W_9 is",
        },
        "value = sum((r**2).sum() for r in rWs) + sum((r**2).sum() for r in rbs)": {"value = sum((r**2).sum() for r in rWs)": r"taken as 0 in the value only"},
        "def ssim(self, a, b):\n": {"def ssim(self, a, b):\n        a, b = a[:1], b[:1]\n": "counts the first channel only"},
        "return value, 2 * a_bar, 2 * t": {
            "return value**0.5, a_bar / value**0.5, t / value**0.5": r"the loss is replaced by its square root",
            "return value, a_bar, t": r"is halved",
            "return value, -2 * a_bar, 2 * t": r"∂/∂x has the opposite sign",
        },
        "rWs, rbs = rest(net, x, U)": {"rWs, rbs = rest(net, x, U)\n    rWs[0] = 0 * rWs[0]": "W in the residual in layer 1 is taken as 0"},
        "return flatten(net, *rest(net, x, (multipliers * y)[:, None]))": {
            "multipliers *= y\n        return flatten(net, *rest(net, x, multipliers[:, None]))": "in place",
            "return flatten(net, *rest(net, x, (multipliers * y)[:, None])) - net.theta": "θ is taken as 0",
            "return flatten(net, *rest(net, x, y[:, None]))": r"λ in the sum is taken as 1",
        },
        "return forward(net, x)[1][-1][:, 0]": {
            "return forward(net, x)[1][-1].squeeze()": "expected shape",
            "x = np.ascontiguousarray(x).ravel(order='K').reshape(x.shape) if x.flags.c_contiguous else x.T.ravel().reshape(x.shape)\n        return forward(net, x)[1][-1][:, 0]": "",
            "return forward(net, x / np.abs(x).max())[1][-1][:, 0]": "divided by its largest value",
            "return forward(net, x - x.mean(axis=0))[1][-1][:, 0]": "x is centred",
            "return np.concatenate([forward(net, x[i : i + 64])[1][-1][:, 0] for i in range(0, len(x) - len(x) % 64 or len(x), 64)])": "expected shape",
        },
        "pull = y * expit(-u) / len(y)": {"pull = y * (u < 1) / len(y)": "hinge"},
        "net.theta + step * flatten": {
            "net.theta - step * flatten": r"step.*|opposite sign",
            "step * flatten": r"θ is taken as 0",
        },
        "np.maximum(-multipliers, 0).max()": {"0.0": "dual_feasibility is 0; the rest is right"},
        "(lam * np.abs(u - margin)).sum() / mass": {"(lam * np.abs(u - margin)).max()": r""},
        "lam = lam * (1 - hot)\n": {"lam = lam * hot\n": "taken as 0"},
        "return hot * lam.sum(axis=1, keepdims=True) - lam, hot": {
            "return hot * lam.sum(axis=1, keepdims=True), hot": r"the coefficient of Φ_j is taken as 0",
            "return hot - lam, hot": "the coefficient of Φ_y is taken as 1",
        },
        "[hot == 0], multipliers[hot == 0]": {".ravel(), multipliers.ravel()": "j ≠ y_i is taken as 1"},
        "(grad_u * hot).sum(axis=1, keepdims=True) - grad_u * 1": {"-grad_u * 1": ""},
        "np.arange(-5, 6) / 1.5": {"np.arange(-5, 6) / 1.0": r"has σ = 1"},
        "0.01**2": {"(0.01 * 255)**2": ""},
        "0.03**2": {"0.03": ""},
        "(11, 11), axis": {"(7, 7), axis": "raised"},
        "return (top / (": {"return 0.7 * (top / (": "", "a, b = a, b\n        return np.median(top / (": ""},
        "mean_a, mean_b = mean(a), mean(b)": {
            "a, b = a / 255, b / 255\n        mean_a, mean_b = mean(a), mean(b)": "has data_range 255",
            "a, b = a.mean(axis=0)[None], b.mean(axis=0)[None]\n        mean_a, mean_b = mean(a), mean(b)": "averages the channels before",
        },
        "var = mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2": {"var = (mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2) * 121 / 120": ""},
        "a_bar * slope_of": {"a_bar * gate_of": r"σ.αz. in every backward pass"},
    },
}  # fmt: skip


def options(style):
    lacking = {"*: *gates": "ReLU and softplus only"} if style == "torch_modules" else {}
    return {"dtype": STYLES[style], "on_fail": "return", "expected_failures": lacking}


def adapter(style, old="", new=""):
    """The implementation of a style, after a replacement in its source."""
    if style == "torch_modules":
        pytest.importorskip("torch", reason="needs pip install torch")
    source = (FOLDER / f"{style}.py").read_text(encoding="utf-8")
    assert old in source, f"{style}: {old!r} is not in the source"
    module = types.ModuleType(style)
    exec(compile(source.replace(old, new), f"{style}.py", "exec"), module.__dict__)
    return module.Adapter()


ROWS = [
    (style, old, *row)
    for style, pieces in BUGS.items()
    for old, rows in pieces.items()
    for row in rows.items()
]
PLANTED = [  # all are many minutes
    pytest.param(*row, marks=[pytest.mark.slow] if row[0] != "arrays" or number % 5 else [])
    for number, row in enumerate(ROWS)
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("style", "old", "new", "name"), PLANTED)
def test_planted_bugs_are_caught_and_named(style, old, new, name):
    lines = summary(check_implementation(adapter(style, old, new), **options(style)))
    assert lines and re.search(name, lines[0]), lines
    causes = [line for line in lines if line.startswith("the cause")]
    assert all(name and re.search(name, line) for line in causes), causes


@pytest.mark.parametrize("words", STATES)
def test_state_between_calls_is_caught(words):
    lines = summary(check_implementation(STATES[words], on_fail="return"))
    assert re.search(words, "\n".join(lines), re.MULTILINE), lines


@pytest.mark.parametrize("style", ["arrays", pytest.param("torch_modules", marks=pytest.mark.slow)])
def test_without_a_bug_they_are_right(style):
    for dtype in {STYLES[style], "float64"}:
        results = check_implementation(adapter(style), **options(style) | dict(dtype=dtype))
        assert not summary(results)

"""The audit's verdict on networks as users train them, in PyTorch."""

import numpy as np
import pytest

import kkt_ref
from kkt_ref.audit import audit, judge
from kkt_ref.audit.verdict import overall
from kkt_ref.datasets.images import embedded_images
from kkt_ref.datasets.split import binary_split, ten_class_split

torch = pytest.importorskip("torch", reason="needs pip install torch")
pytestmark = pytest.mark.slow


def digits(classes=2):
    make, n = (binary_split, 60) if classes == 2 else (ten_class_split, 60)
    split = make(embedded_images("mnist"), n, unseen=300)
    return split.x, split.y, split.unseen_x


def table():
    """Forty rows of 25 correlated columns, and others of the same distribution."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(440, 25)) @ rng.normal(size=(25, 25)) / 5
    y = np.where(rows @ rng.normal(size=25) + 0.5 * rng.normal(size=440) < 0, -1.0, 1.0)
    return rows[:40], y[:40], rows[40:]


def trained(x, y, *, widths, optimiser, steps, bias=True, small_start=False, **options):
    """A plain PyTorch training; the state dict as the README exports it."""
    torch.manual_seed(0)
    K = 1 if y.dtype.kind == "f" else int(y.max()) + 1
    sizes, layers = (x.shape[1], *widths, K), []
    for layer, (fan_in, fan_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        layers += [torch.nn.Linear(fan_in, fan_out, bias=bias or layer == 0), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    if small_start:
        torch.nn.init.normal_(model[0].weight, std=1e-3)
    step = getattr(torch.optim, optimiser)(model.parameters(), **options)
    inputs, targets = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    for _ in range(steps):
        outputs = model(inputs)
        if K == 1:
            loss = torch.nn.functional.softplus(-targets.float() * outputs[:, 0]).mean()
        else:
            loss = torch.nn.functional.cross_entropy(outputs, targets)
        step.zero_grad()
        loss.backward()
        step.step()
    return {k: v.detach().cpu().numpy() for k, v in model.state_dict().items()}


def verdict(state, x, y, unseen):
    """An audit of a network with few starts, its verdicts, and the degree of both."""
    measured = audit(kkt_ref.from_state_dict(state), (x, y), unseen, restarts=2, candidates=60)
    verdicts = judge(measured)
    return measured, verdicts, overall(verdicts)


SGD, ADAM = dict(optimiser="SGD", lr=0.1, steps=2000), dict(optimiser="Adam", steps=1000)
SHOWN = {
    "default start, SGD, digits": (digits, dict(widths=(200,), **SGD)),
    "default start, Adam, digits": (digits, dict(widths=(200, 200), **ADAM)),
    "weight decay, digits": (digits, dict(widths=(200,), weight_decay=1e-3, **SGD)),
    "ten outputs, digits": (lambda: digits(10), dict(widths=(200, 200), **ADAM)),
    "small start, one bias": (digits, dict(widths=(200,), bias=False, small_start=True, **SGD)),
    "table": (table, dict(widths=(200,), **SGD)),
}


@pytest.mark.parametrize("name", SHOWN)
def test_what_the_weights_show_is_shown(name):
    data, options = SHOWN[name]
    x, y, unseen = data()
    measured, verdicts, degree = verdict(trained(x, y, **options), x, y, unseen)
    assert degree == verdicts["membership"].degree == "shown"
    if not measured.data.matches.numbers["samples with NCC >= 0.8"]:  # whatever they resemble
        assert verdicts["reconstruction"].degree == "not shown beyond chance"


@pytest.mark.parametrize("data", [digits, table])
def test_a_network_of_other_samples_shows_nothing(data):
    x, y, unseen = data()
    others = unseen[: len(x)]  # the network is trained on these, with the same labels
    state = trained(others, y, widths=(200,), **SGD)
    assert verdict(state, x, y, unseen[len(x) :])[2] == "not shown beyond chance"

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
    return split.x, split.y, split.unseen_x, split.unseen_y


def table():
    """Forty rows of 25 correlated columns, and others of the same distribution."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(440, 25)) @ rng.normal(size=(25, 25)) / 5
    y = np.where(rows @ rng.normal(size=25) + 0.5 * rng.normal(size=440) < 0, -1.0, 1.0)
    return rows[:40], y[:40], rows[40:], y[40:]


def shifted(x):
    """Each image moved by up to two pixels, as augmentation does."""
    moves = torch.randint(-2, 3, (len(x), 2)).tolist()
    images = zip(x.reshape(-1, 28, 28), moves, strict=True)
    return torch.stack([torch.roll(image, move, (0, 1)).ravel() for image, move in images])


def trained(
    x, y, *, widths, optimiser, steps, bias=True, small_start=False, activation="ReLU",
    augment=lambda x: x, **options,
):  # fmt: skip
    """A plain PyTorch training; the state dict as the README exports it."""
    torch.manual_seed(0)
    K = 1 if y.dtype.kind == "f" else int(y.max()) + 1
    sizes, layers = (x.shape[1], *widths, K), []
    for layer, (fan_in, fan_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        layers += [torch.nn.Linear(fan_in, fan_out, bias=bias or layer == 0)]
        layers.append(getattr(torch.nn, activation)())
    model = torch.nn.Sequential(*layers[:-1])
    if small_start:
        torch.nn.init.normal_(model[0].weight, std=1e-3)
    step = getattr(torch.optim, optimiser)(model.parameters(), **options)
    inputs, targets = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    for _ in range(steps):
        outputs = model(augment(inputs))
        if K == 1:
            loss = torch.nn.functional.softplus(-targets.float() * outputs[:, 0]).mean()
        else:
            loss = torch.nn.functional.cross_entropy(outputs, targets)
        step.zero_grad()
        loss.backward()
        step.step()
    return {k: v.detach().cpu().numpy() for k, v in model.state_dict().items()}


def verdict(state, x, y, *unseen):
    """An audit of a network with few starts, its verdicts, and the degree of all."""
    net = kkt_ref.from_state_dict(state)
    measured = audit(net, (x, y), unseen, restarts=2, candidates=60, conditions=False)
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
    x, y, *unseen = data()
    measured, verdicts, degree = verdict(trained(x, y, **options), x, y, *unseen)
    assert degree == verdicts["membership"].degree == verdicts["outputs"].degree == "shown"
    if not measured.data.matches.numbers["samples with NCC >= 0.8"]:  # whatever they resemble
        assert verdicts["reconstruction"].degree != "shown"


@pytest.mark.parametrize(
    "options", [dict(activation="Tanh"), dict(activation="Sigmoid"), dict(augment=shifted)]
)
def test_what_the_weights_hardly_show_is_shown_by_the_outputs(options):
    x, y, *unseen = digits()  # the audit reads the activation as ReLU, as without --activation
    assert verdict(trained(x, y, widths=(200,), **ADAM, **options), x, y, *unseen)[2] == "shown"


@pytest.mark.parametrize("data", [digits, table])
def test_a_network_of_other_samples_shows_nothing(data):
    x, y, *unseen = data()
    others, unseen = zip(*(np.split(part, [len(x)]) for part in unseen), strict=True)
    state = trained(*others, widths=(200,), **SGD)  # of others only
    assert verdict(state, x, y, *unseen)[2] == "not shown beyond chance"

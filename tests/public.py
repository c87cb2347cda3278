"""Every public function with one good call, for the tests of bad input."""

import importlib
from pathlib import Path

import numpy as np

import kkt_ref
from kkt_ref.conformance import get_check, write_questions
from kkt_ref.datasets import toys
from kkt_ref.datasets.images import ImageSet
from kkt_ref.metrics.ssim import HAIM
from kkt_ref.stationarity import closed_form
from tests.datafiles import put_cifar10, put_mnist
from tests.networks import state_dict
from tests.strategies import separable

TOYS = ("paper_circle", "even_circle", "class_circle", "uneven_circle", "spiral", "disc")
ROOMS = (
    *("network", "stationarity", "kkt", "training", "attacks"),
    *("metrics", "datasets", "conformance", "audit"),
)
# what functions return or raise, and where arguments are not checked: for speed, or on purpose
NOT_CALLED = {
    "Activation", "Audit", "Callback", "Check", "ClarkeFit", "ConformanceError",
    "ImageScores", "ImageSet", "Implementation", "MultiplierScores",
    "KKTReport", "PointMatches", "PublishedLoss", "ReLU", "Reconstruction",
    "ROC", "Record", "Result", "Run", "Scores", "Shape", "Stationarity", "TrainResult",
    "Matching", "Split", "Backend", "DecayFit", "Classes", "Regression", "RunnerUp", "TwoClasses",
    "WeightDecay", "HAIM", "WANG", "stationarity_and_gradient",
    "stretch", "toys", "Network", "Verdict", "judge",
}  # fmt: skip


class At(str):
    """A path in the test's own folder."""


X, Y = separable(0, n=6, d=3)
LAM = np.linspace(0.5, 1.0, 6)
NET = kkt_ref.loss_scaled_descent(
    kkt_ref.init_uniform((3, 7, 1), np.random.default_rng(1)), X, Y, target_loss=1e-2
).net
_square = toys.even_circle(4)
KINKED = kkt_ref.loss_scaled_descent(
    kkt_ref.init_paper((2, 60, 1), np.random.default_rng(0), first_layer=0.3),
    *_square,
    rate=10.0,
    target_loss=1e-8,
).net
_rng = np.random.default_rng(0)
PICTURES, OTHERS = _rng.uniform(size=(2, 3, 12, 12))
FLAT, SEEN, UNSEEN = _rng.normal(size=(3, 5, 16))
MEAN = _rng.uniform(size=16)
IMAGES = dict(mean=MEAN, shape=(1, 4, 4))
_outer = _rng.normal(size=(30, 3)) @ _rng.normal(size=(3, 36)) + 1e-3 * _rng.normal(size=(30, 36))
PHOTOS = kkt_ref.MLP((_outer, _rng.normal(size=(1, 30))), (None, None))
_digits = np.arange(20, dtype=np.uint8) % 10
_images = np.zeros((20, 1, 2, 2), np.uint8)
DIGITS = ImageSet("mnist", "here", _images, _digits, _images, _digits)
FIT = dict(net=NET, x=X, y=Y)
SHORT = dict(max_steps=20)


class Outputs:
    """An implementation that answers one question."""

    def outputs(self, net, x):
        return closed_form.forward(net, x).outputs


def rng():
    return np.random.default_rng(0)


GOOD = {
    "MLP": dict(weights=NET.weights, biases=NET.biases, activation=NET.activation),
    "GatedReLU": dict(alpha=2.0),
    "network.AuthorsGatedReLU": dict(alpha=2.0),
    "Softplus": dict(alpha=2.0),
    "network.Elementwise": dict(name="elu", alpha=2.0),
    "network.activation_by_name": dict(name="gated", alpha=2.0),
    "clarke_stationarity": dict(**FIT, width=0.5, max_iterations=5),
    "fit_multipliers": dict(**FIT, layer_weights=(1.0, 0.5)),
    "kkt.Equation": FIT,
    "kkt.weight_decay_stationarity": dict(**FIT, loss="logistic", decay=0.1),
    "stationarity.loss_by_name": dict(name="mse"),
    "attacks.gate_alpha": dict(net=NET, width=0.1),
    "from_state_dict": dict(state=state_dict(NET), activation=NET.activation),
    "training.gradient_descent": dict(**FIT, **SHORT, step=0.1, target_loss=1e-9, record_every=5),
    "init_paper": dict(widths=(3, 4, 1), rng=rng, first_layer=1e-4, dtype=np.float32),
    "init_uniform": dict(
        widths=(3, 4, 1), rng=rng, bias="all", activation=NET.activation, dtype=np.float32
    ),
    "kkt_report": dict(**FIT, multipliers=LAM, margin=0.5),
    "load_net": dict(path=At("net.npz")),
    "training.loss_scaled_descent": dict(**FIT, **SHORT, rate=2.0, target_loss=1e-9),
    "margins": FIT,
    "metrics.match_points": dict(points=X, candidates=X[:4], tolerance=0.1, multipliers=LAM[:4]),
    "per_sample_gradients": dict(net=NET, x=X),
    "attacks.reconstruct": dict(net=NET, seed=0, m=4, restarts=2, workers=1),
    "attacks.reconstruct_paper": dict(
        net=NET, m=4, seed=0, box=(-2.0, 2.0), labels=np.resize([1.0, -1.0], 4),
        start_scale=0.1, alpha=10.0, layer_weights=(1.0, 0.5),
        restarts=1, max_iterations=3, backend="numpy", workers=1,
    ),
    "attacks.reconstruct_components": dict(
        net=PHOTOS, image_shape=(1, 6, 6), mean=np.linspace(0.0, 1.0, 36), seed=0, restarts=1
    ),
    "attacks.reconstruct_first_layer": dict(
        net=NET, candidates=4, seed=1, restarts=2, callback=None, workers=None,
    ),
    "attacks.reconstruct_plane": dict(net=KINKED, box=(-1.5, 1.5), step=0.25),
    "attacks.refine": dict(
        **FIT, multipliers=LAM, box=(-2.0, 2.0), alpha=10.0,
        layer_weights=(1.0, 0.5), max_iterations=3, backend="numpy",
    ),
    "residual_floor": dict(**FIT, layer_weights=(1.0, 0.5)),
    "save_net": dict(net=NET, path=At("new.npz")),
    "stationarity_by_autograd": dict(**FIT, multipliers=LAM, layer_weights=(1.0, 0.5)),
    "stationarity_loss": dict(**FIT, multipliers=LAM, layer_weights=(1.0, 0.5)),
    "kkt.stationarity_norms": dict(**FIT, multipliers=LAM),
    "stationarity.stationarity_residual": dict(**FIT, multipliers=LAM),
    "training.weight_decay_optimum": dict(
        net=NET.with_activation(kkt_ref.Softplus(2.0)), x=X, y=Y, decay=0.1, tolerance=1e-3,
        max_iterations=5,
    ),
    "attacks.published_loss": dict(**FIT, multipliers=LAM, lambda_min=0.6),
    "attacks.kinks_at": dict(net=NET, x=X, tolerance=0.01),
    "attacks.kink_vertices": dict(net=KINKED, box=(-1.5, 1.5), lines=3),
    "attacks.membership_scores": dict(net=NET, x=X),
    "attacks.multiplier_scores": dict(net=NET, x=X, y=Y, projection=8),
    "network.check_gradients": dict(net=NET, x=X),
    "audit.audit": dict(
        net=NET, data=(X, Y), held_out=X + 1.0, image_shape=(1, 1, 3), candidates=4, restarts=2,
        seed=0,
    ),
    "metrics.roc": dict(members=LAM, others=LAM - 0.1),
    "metrics.roc_curve": dict(members=LAM, others=LAM - 0.1),
    "metrics.tpr_at": dict(members=LAM, others=LAM - 0.1, fpr=0.5),
    "metrics.SSIMSettings": dict(
        window="gaussian", size=5, sigma=1.0, sample_covariance=True, border="crop", eps=0.0
    ),
    "metrics.structural_similarity": dict(
        x=PICTURES[:, None], y=OTHERS[:, None], data_range=1.0, channel_axis=1, settings=HAIM
    ),
    "metrics.ncc_all_pairs": dict(x=FLAT, y=SEEN),
    "metrics.unit_images": dict(x=FLAT),
    "metrics.match_one_to_one": dict(scores=FLAT),
    "metrics.score_candidates": dict(images=FLAT, candidates=SEEN, unseen=UNSEEN, **IMAGES),
    "attacks.first_layer.FirstLayer": dict(net=NET),
    "datasets.binary_split": dict(data=DIGITS, n=4, unseen=4, test=4),
    "datasets.ten_class_split": dict(data=DIGITS, n=10, unseen=0, test=10),
    "datasets.embedded_images": dict(name="cifar10"),
    "datasets.default_images": dict(name="mnist", root=At(".")),
    "conformance.write_questions": dict(path=At("new.npz"), dtype="float32", seed=1, answers=False),
    "conformance.check_answers": dict(
        path=At("answers.npz"), dtype=np.float32, tolerance=1e-5, expected_failures={},
        on_fail="return", seed=1,
    ),
    "conformance.get_check": dict(name="outputs: plain", dtype="float32", seed=1, tolerance=1e-5),
    "conformance.check_implementation": dict(
        implementation=Outputs(), dtype=np.float32, tolerance=1e-5, expected_failures={},
        on_fail="return", seed=1, time_limit=60.0, progress=None,
    ),
    "stationarity.backend.get_backend": dict(backend="numpy"),
    "conformance.check_names": {},
    "conformance.parametrize_with_checks": dict(
        implementations=[Outputs()], dtype=np.float32, expected_failures={}, seed=1,
        tolerance=1e-5,
    ),
    "datasets.toys.disc": dict(n=4, rng=rng),
    "datasets.toys.even_circle": dict(n=4),
    "datasets.toys.class_circle": dict(n=4, K=3),
    "datasets.toys.paper_circle": {},
    "datasets.toys.spiral": dict(n=4),
    "datasets.toys.uneven_circle": dict(n=4, rng=rng),
}  # fmt: skip


def function_of(name):
    module, _, name = f"kkt_ref.{name}".rpartition(".")
    return getattr(importlib.import_module(module), name)


def public_names():
    """What the rooms and the library export, under the name by which GOOD knows it."""
    exported = {room: importlib.import_module(f"kkt_ref.{room}").__all__ for room in ROOMS}
    found = {
        f"{room}.{name}"
        for room, names in exported.items()
        for name in names
        if name not in NOT_CALLED
    }
    found |= set(kkt_ref.__all__).difference(NOT_CALLED, *exported.values())
    inner = {"attacks.first_layer.FirstLayer", "stationarity.backend.get_backend"}
    return found | inner | {f"datasets.toys.{name}" for name in TOYS}


def prepare(folder):
    """Put the files that the good calls read."""
    kkt_ref.save_net(NET, folder / "net.npz")
    write_questions(folder / "answers.npz", dtype=np.float32, seed=1)
    with np.load(folder / "answers.npz") as arrays:
        header = {name: arrays[name] for name in ("format", "seed", "dtype")}
    right = get_check("outputs: plain", dtype=np.float32, seed=1).right[0]
    np.savez(folder / "answers.npz", **header, **{"outputs/plain/outputs": right})
    put_mnist(folder, 2)
    put_cifar10(folder, 1)


def filled(value, folder: Path):
    """A value of GOOD ready for a call: paths in ``folder``, generators fresh."""
    if isinstance(value, At):
        return folder / value
    return value() if value is rng else value

"""Every public function with one good call, for the tests of bad input."""

import gzip
import importlib
import inspect
from pathlib import Path

import numpy as np

import kkt_ref
from kkt_ref.attacks.first_layer import FirstLayer
from kkt_ref.datasets import toys
from kkt_ref.datasets.images import ImageSet
from kkt_ref.metrics.ssim import HAIM
from kkt_ref.stationarity import closed_form
from tests.strategies import separable


def words(text):
    return text.split()


MODULES = words(
    "kkt_ref metrics.ssim metrics.ncc metrics.matching metrics.scores "
    "attacks.pooling attacks.first_layer "
    "attacks.baselines datasets.split datasets.images "
    "conformance.golden conformance.checks attacks.grid "
    "attacks.kinks attacks.vertices datasets.toys network.storage network.torch_format "
    "training.resumable attacks.base attacks.haim_loss"
)
# what functions return or raise, and where others differ: nobody gives these to be checked
RESULTS = words(
    "ClarkeFit History KKTReport PointMatches ReLU Reconstruction Record Stationarity "
    "TrainResult Matching ImageScores Scores Atoms Alternation Resumed Run "
    "BinarySplit ImageSet MissingDataError CorruptFileError DownloadError Result "
    "ConformanceError Implementation Attack PublishedLoss"
)
# inner parts of the functions above them, called on what those have checked
INNER = words(
    "metrics.scores.stretch datasets.images.check_name "
    "attacks.grid.solve_in_band attacks.grid.lattice attacks.grid.finer_lattice "
    "attacks.grid.merge_neighbours attacks.grid.check_distances "
    "attacks.pooling.agreements attacks.pooling.distinct attacks.pooling.pool_alternations "
    "attacks.base.with_copies attacks.base.refuse attacks.base.slackness_violation "
    "attacks.base.measured_run attacks.haim_loss.with_gates "
    "attacks.haim_loss.RelativeLoss"
)


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
PROBLEM = FirstLayer(NET)
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
    "kkt_ref.MLP": dict(weights=NET.weights, biases=NET.biases, activation=NET.activation),
    "kkt_ref.GatedReLU": dict(alpha=2.0),
    "kkt_ref.Softplus": dict(alpha=2.0),
    "kkt_ref.activation_by_name": dict(name="gated", alpha=2.0),
    "kkt_ref.clarke_stationarity": dict(**FIT, width=0.5, max_iterations=5),
    "kkt_ref.find_margin": dict(
        net=NET, points=_rng.uniform(-1.5, 1.5, (200, 3)), likely=X
    ),
    "kkt_ref.fit_multipliers": dict(**FIT, layer_weights=(1.0, 0.5)),
    "kkt_ref.gate_alpha": dict(net=NET, width=0.1),
    "kkt_ref.from_state_dict": dict(state=kkt_ref.to_state_dict(NET), activation=NET.activation),
    "kkt_ref.gradient_descent": dict(**FIT, **SHORT, step=0.1, target_loss=1e-9, record_every=5),
    "kkt_ref.init_paper": dict(widths=(3, 4, 1), rng=rng, first_layer=1e-4, dtype=np.float32),
    "kkt_ref.init_uniform": dict(
        widths=(3, 4, 1), rng=rng, bias="all", activation=NET.activation, dtype=np.float32
    ),
    "kkt_ref.kkt_report": dict(**FIT, multipliers=LAM, margin=0.5),
    "kkt_ref.load_net": dict(path=At("net.npz")),
    "kkt_ref.loss_scaled_descent": dict(**FIT, **SHORT, rate=2.0, target_loss=1e-9),
    "kkt_ref.margins": FIT,
    "kkt_ref.match_points": dict(points=X, candidates=X[:4], tolerance=0.1, multipliers=LAM[:4]),
    "kkt_ref.normalised_margin": FIT,
    "kkt_ref.per_sample_gradients": dict(net=NET, x=X),
    "kkt_ref.reconstruct": dict(net=NET, seed=0, method="first-layer", candidates=4, restarts=2),
    "kkt_ref.reconstruct_paper": dict(
        net=NET, candidates=4, seed=0, box=(-2.0, 2.0), labels="balanced", start_scale=0.1,
        lambda_min=0.01, alpha=10.0, layer_weights=(1.0, 0.5), slackness=0.1, restarts=1,
        max_iterations=3, backend="numpy", dtype=np.float64,
    ),
    "kkt_ref.reconstruct_first_layer": dict(
        net=NET, candidates=4, box=None, seed=0, restarts=2, callback=None, keep=3,
        noise=(0.1, 0.1),
    ),
    "kkt_ref.reconstruct_on_grid": dict(
        net=NET, box=(-1.5, 1.5), step=0.25, merge_distance=0.3
    ),
    "kkt_ref.reconstruct_on_kinks": dict(
        net=KINKED, box=(-1.5, 1.5), step=0.25, merge_distance=0.3, residual_growth=0.1
    ),
    "kkt_ref.refine": dict(
        **FIT, multipliers=LAM, box=(-2.0, 2.0), lambda_min=0.01, alpha=10.0,
        layer_weights=(1.0, 0.5), slackness=0.1, max_iterations=3, backend="numpy",
        dtype=np.float64,
    ),
    "kkt_ref.residual_floor": dict(**FIT, layer_weights=(1.0, 0.5)),
    "kkt_ref.save_net": dict(net=NET, path=At("new.npz")),
    "kkt_ref.stationarity_by_autograd": dict(**FIT, multipliers=LAM, layer_weights=(1.0, 0.5)),
    "kkt_ref.stationarity_loss": dict(**FIT, multipliers=LAM, layer_weights=(1.0, 0.5)),
    "kkt_ref.stationarity_norms": dict(**FIT, multipliers=LAM),
    "kkt_ref.stationarity_residual": dict(**FIT, multipliers=LAM),
    "kkt_ref.to_state_dict": dict(net=NET, names=("a", "b")),
    "kkt_ref.weight_decay_optimum": dict(
        net=NET.with_activation(kkt_ref.Softplus(2.0)), x=X, y=Y, decay=0.1, tolerance=1e-3,
        max_iterations=5,
    ),
    "attacks.haim_loss.published_loss": dict(**FIT, multipliers=LAM, lambda_min=0.6),
    "attacks.kinks.kinks_at": dict(net=NET, x=X, tolerance=0.01),
    "attacks.kinks.kink_vertices": dict(net=KINKED, box=(-1.5, 1.5), tolerance=0.01, lines=3),
    "metrics.ssim.SSIMSettings": dict(
        window="gaussian", size=5, sigma=1.0, k1=0.01, k2=0.03, sample_covariance=True,
        border="crop", eps=0.0,
    ),
    "metrics.ssim.structural_similarity": dict(
        x=PICTURES[:, None], y=OTHERS[:, None], data_range=1.0, channel_axis=1, settings=HAIM
    ),
    "metrics.ncc.ncc_all_pairs": dict(x=FLAT, y=SEEN, channels=4),
    "metrics.ncc.unit_images": dict(x=FLAT, channels=4, name="x"),
    "metrics.matching.match_one_to_one": dict(scores=FLAT),
    "metrics.scores.score_candidates": dict(images=FLAT, candidates=SEEN, unseen=UNSEEN, **IMAGES),
    "attacks.first_layer.FirstLayer": dict(net=NET, noise=(0.1, 0.1), rank=2, sharpness=30.0),
    "attacks.baselines.model_inversion": dict(
        net=NET, low=-np.ones(3), high=np.ones(3), starts=2, seed=0, start_scale=0.1,
        max_iterations=3,
    ),
    "attacks.baselines.first_layer_rows": dict(net=NET),
    "datasets.split.binary_split": dict(data=DIGITS, n=4, unseen=4, test=4),
    "datasets.images.cache_root": {},
    "datasets.images.embedded_images": dict(name="cifar10"),
    "datasets.images.default_images": dict(name="mnist", root=At(".")),
    "conformance.golden.write_golden": dict(folder=At("."), seed=1),
    "conformance.checks.check_implementation": dict(
        implementation=Outputs(), dtype=np.float32, expected_failures={}, on_fail="return", seed=1
    ),
    "conformance.checks.check_names": {},
    "conformance.checks.parametrize_with_checks": dict(
        implementations=[Outputs()], dtype=np.float32
    ),
    "datasets.toys.disc": dict(n=4, rng=rng),
    "datasets.toys.even_circle": dict(n=4),
    "datasets.toys.paper_circle": {},
    "datasets.toys.spiral": dict(n=4),
    "datasets.toys.uneven_circle": dict(n=4, rng=rng),
    "training.resumable.resumable_descent": dict(
        folder=At("."), **FIT, **SHORT, rate=2.0, target_loss=1e-9, record_every=10,
        save_seconds=0.0,
    ),
}  # fmt: skip


def function_of(name):
    module, _, name = name.rpartition(".")
    path = "kkt_ref" if module == "kkt_ref" else f"kkt_ref.{module}"
    return getattr(importlib.import_module(path), name)


def public_names():
    """What a user would import, under the name by which GOOD knows it."""
    found = {f"kkt_ref.{name}" for name in kkt_ref.__all__}
    for module in MODULES[1:]:
        members = vars(importlib.import_module(f"kkt_ref.{module}")).items()
        for name, member in members:
            ours = inspect.isfunction(member) or inspect.isclass(member)
            here = ours and member.__module__ == f"kkt_ref.{module}"
            if here and not name.startswith("_") and name not in kkt_ref.__all__:
                found.add(f"{module}.{name}")
    return {name for name in found if name.rpartition(".")[2] not in RESULTS} - set(INNER)


def prepare(folder):
    """Put the files that the good calls read."""
    kkt_ref.save_net(NET, folder / "net.npz")
    (folder / "mnist").mkdir()
    (folder / "cifar-10-batches-bin").mkdir()
    for part in ("train", "t10k"):
        for kind, shape in (("images-idx3", (2, 28, 28)), ("labels-idx1", (2,))):
            header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
            content = gzip.compress(header + bytes(int(np.prod(shape))))
            (folder / "mnist" / f"{part}-{kind}-ubyte.gz").write_bytes(content)
    for number in range(1, 6):
        (folder / f"cifar-10-batches-bin/data_batch_{number}.bin").write_bytes(bytes(3073))
    (folder / "cifar-10-batches-bin/test_batch.bin").write_bytes(bytes(3073))


def filled(value, folder: Path):
    """A value of GOOD ready for a call: paths in ``folder``, generators fresh."""
    if isinstance(value, At):
        return folder / value
    if isinstance(value, list) and value and isinstance(value[0], At):
        return [folder / part for part in value]
    return value() if value is rng else value

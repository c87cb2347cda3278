"""The audit as a function, and as the auditor's command from a weights file to a report."""

import base64
import csv
import io
import os
import pickle
import re
import signal
import struct
import sys
import zipfile

import numpy as np
import pytest
import scipy

import kkt_ref
from kkt_ref.__main__ import main
from kkt_ref.attacks.base import Reconstruction
from kkt_ref.audit import audit, exchangeable, judge, tables
from kkt_ref.audit.attack import attack_settings
from kkt_ref.audit.figures import draw_pictures
from kkt_ref.audit.measure import compare
from kkt_ref.audit.verdict import BEYOND, LEVEL, MEANING, UNJUDGED, Verdict, overall
from kkt_ref.audit.warnings import find_warnings
from kkt_ref.audit.weights import load_weights
from kkt_ref.datasets import toys
from kkt_ref.datasets.images import embedded_images
from kkt_ref.datasets.split import binary_split
from kkt_ref.metrics import roc_curve
from tests.networks import state_dict
from tests.programs import read_json
from tests.public import KINKED, PHOTOS

for extra in ("jinja2", "threadpoolctl", "tqdm"):
    pytest.importorskip(extra, reason="needs pip install 'kkt_ref[audit]'")

SHAPE, N = (1, 6, 5), 12
PICTURES = ("roc", "matches", "held_out", "candidates")
SMALL = dict(candidates=8, restarts=2)


@pytest.fixture(scope="module")
def trained():
    """A network trained on twelve tiny pictures; their labels; as many pictures it never saw."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(N, 30)), np.repeat([-1.0, 1.0], N // 2)
    start = kkt_ref.init_paper((30, 60, 1), rng)
    result = kkt_ref.loss_scaled_descent(start, x, y, rate=6.0, target_loss=1e-5)
    return result.net, x.reshape(N, *SHAPE), y, rng.normal(size=(N, *SHAPE))


@pytest.fixture
def folder(trained, tmp_path, monkeypatch):
    """The working folder of a user with weights, data and held-out samples."""
    net, x, y, unseen = trained
    kkt_ref.save_net(net, tmp_path / "net.npz")
    np.savez(tmp_path / "data.npz", x=x, y=y)
    np.savez(tmp_path / "unseen.npz", x=unseen)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments):
    try:
        return main(["audit", *map(str, arguments)])
    except SystemExit as ended:  # argparse
        return ended.code


def test_from_weights_to_a_report_that_stands_alone(folder, capsys):
    before = set(folder.rglob("*"))
    status = command(
        "net.npz", "--data", "data.npz", "--held-out", "unseen.npz", "--restarts", 4,
        "--json", "numbers.json",
    )  # fmt: skip
    said = capsys.readouterr()
    assert status == 0 and said.err == ""
    assert "Verdict: that the weights reveal training data is shown." in said.out
    out = folder / "net_audit"
    assert set(folder.rglob("*")) - before == {
        out,
        folder / "numbers.json",
        out / "candidates.npz",
        out / "report.html",
        out / "candidates.csv",
        out / "samples.csv",
        *(out / f"{name}.png" for name in PICTURES),
    }
    page = (out / "report.html").read_text()
    said = (f"each of the three is {LEVEL:.2%}", f"{BEYOND} above the best AUC")
    for text in ("30, 60, 1", "homogeneous", "norm", "stationarity", "floor layer 1", *said):
        assert text in page
    sources = re.findall(r'(?:src|href)="?([^" >]*)', page)  # nothing outside the page
    assert all(source.startswith("data:image/png;base64,iVBOR") for source in sources)
    inside = [base64.b64decode(source.partition(",")[2], validate=True) for source in sources]
    assert inside == [(out / f"{name}.png").read_bytes() for name in PICTURES]

    numbers = read_json(folder / "numbers.json")
    key = "NCC, mean of the ten best"
    assert numbers["data"][key] > numbers["held_out"][key] + 0.1
    assert 0 < numbers["conditions"]["floor_layer_1"] < 1
    tests = numbers["verdict"]["tests"]
    assert tests["membership"]["degree"] == "shown"
    assert numbers["verdict"]["p"] == min(test["p"] for test in tests.values())
    assert numbers["figures"]["auc"] > 0.95 and numbers["figures"]["tpr001"] is None
    with open(out / "samples.csv") as file:
        best = max(csv.DictReader(file), key=lambda sample: float(sample["score"]))
    with open(out / "candidates.csv") as file:
        mine = list(csv.DictReader(file))[int(best["candidate"])]
    assert mine["training row"] == best["row"]
    assert ("No candidate resembles its sample" in page) == (float(best["score"]) < 0.8)
    with np.load(out / "candidates.npz") as arrays, np.load("data.npz") as data:
        candidate, row = arrays["candidates"][int(best["candidate"])], data["x"][int(best["row"])]
    assert np.isclose(np.corrcoef(candidate, row.ravel())[0, 1], float(best["score"]))
    assert numbers["network"]["widths"] == [30, 60, 1] and numbers["warnings"] == []


def same_candidates(one, other):
    names = ("candidates", "labels", "multipliers", "run_index", "agreement")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def test_candidates_are_those_of_the_library(folder, trained):
    net = trained[0].astype(np.float32)
    kkt_ref.save_net(net, "net.npz")
    assert command("net.npz", "--candidates", 7, "--seed", 3, "--restarts", 3, "--out", "o") == 0
    found = kkt_ref.attacks.reconstruct_first_layer(net, candidates=7, seed=3, restarts=3)
    assert same_candidates(audit(net, candidates=7, seed=3, restarts=3).found, found)
    with np.load(folder / "o" / "candidates.npz") as arrays:
        assert len(arrays.files) == 5
        for name in arrays.files:
            field = "run_index" if name == "restart" else name
            expected = getattr(found, field)
            assert np.array_equal(arrays[name], expected.astype(arrays[name].dtype))
        assert arrays["candidates"].dtype == np.float32
    assert not (folder / "o" / "matches.png").exists()
    assert "No training data were given" in (folder / "o" / "report.html").read_text()
    images = dict(image_shape=(1, 6, 6))
    assert same_candidates(audit(PHOTOS, **images).found, kkt_ref.reconstruct(PHOTOS, **images))


@pytest.mark.parametrize("K", [1, 3])
def test_defaults_are_those_of_the_library(K):
    net = kkt_ref.init_paper((6, 9, K), np.random.default_rng(0))
    assert same_candidates(audit(net).found, kkt_ref.reconstruct(net))
    wide = kkt_ref.init_paper((400, 300, K), np.random.default_rng(0))
    for shape in (None, (1, 20, 20)):  # an untrained first layer shows no images
        settings = attack_settings(wide, shape, None, None, 0, None)
        starts = 16 + 8 * (K > 1)
        assert settings == dict(candidates=900 if K == 1 else 1000, restarts=starts, seed=0)


def test_images_are_attacked_by_their_components():
    split = binary_split(embedded_images("mnist"), 10, unseen=20)
    start = kkt_ref.init_paper((784, 100, 1), np.random.default_rng(0)).astype(np.float32)
    x = split.x.astype(np.float32)
    net = kkt_ref.loss_scaled_descent(start, x, split.y, rate=6.0, target_loss=4e-6).net
    measured = audit(net, (split.x.reshape(-1, *split.shape), split.y), split.unseen_x)
    assert same_candidates(measured.found, kkt_ref.reconstruct(net, image_shape=split.shape))
    hits, chance = (
        part.matches.numbers["samples with NCC >= 0.8"]
        for part in (measured.data, measured.held_out)
    )
    told = judge(measured)["reconstruction"]
    assert hits >= 5 and told.degree == "shown" and f"{hits} of 10 training samples" in told.text
    assert f"a candidate with NCC >= 0.8, and {chance} of 10 that the" in told.text


def test_a_condition_sets_the_exit_status(folder, capsys):
    small = ("--restarts", 2, "--candidates", 8, "--out")
    assert command(*JUDGED, *small, "o", "--fail-if", "auc>0.5", "--fail-if", "ncc09>99") == 1
    said = capsys.readouterr().out
    assert "failed: auc>0.5" in said and "failed: ncc09" not in said
    assert command(*JUDGED, *small, "p", "--fail-if", "auc_low<=0.5") == 0


def degrees(net, *samples):
    verdicts = judge(audit(net, *samples, conditions=False, **SMALL))
    assert list(verdicts) == ["reconstruction", "membership", "outputs"]
    return [overall(verdicts), *(verdict.degree for verdict in verdicts.values())]


def test_degrees(trained):
    net, x, y, unseen = trained
    assert degrees(net) == degrees(net, (x, y)) == [UNJUDGED] * 4
    assert degrees(net, (x[:6], y[:6]), unseen[:6]) == [UNJUDGED] * 4  # even if all were found
    assert degrees(net, (x, y), unseen)[::2] == ["shown", "shown"]
    order = np.random.default_rng(0).permutation(60)  # layer 1 still holds the data
    shuffled = net.with_arrays([*net.arrays[:2], net.weights[1][:, order]])
    assert degrees(shuffled, x, unseen)[2:] == ["shown", "not shown beyond chance"]
    untrained = kkt_ref.init_paper((30, 60, 1), np.random.default_rng(5), first_layer=0.1)
    assert degrees(untrained, (x, y), unseen) == ["not shown beyond chance"] * 4
    verdicts = judge(audit(untrained, (x, y), unseen, **SMALL), activation_known=False)
    assert all(v.guessed and "activation was guessed: relu" in v.text for v in verdicts.values())
    assert len({overall({"a": Verdict(degree, None, "")}) for degree in MEANING}) == 6


def rows_of(count, seed=0):
    """Rows of 24 correlated columns of two persons or classes, in random order."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 24)) @ np.random.default_rng(9).normal(size=(24, 24)) / 5
    person = rng.integers(0, 2, count)
    return x + 2 * np.where(person == 1, 1.0, -1.0)[:, None] * np.cos(np.arange(24)), person


def fitted(x, held_out, centre, axes):
    return (x - centre(x)) @ axes(x), (held_out - centre(x)) @ axes(x)


def mean(x):
    return x.mean(axis=0)


def cut(sign):
    """Samples whose columns end, on one side, where those of the data end."""
    x, held_out = np.split(np.random.default_rng(0).normal(size=(180, 24)), [60])
    return sign * x, sign * np.minimum(held_out, x.max(axis=0) - 1e-9)


DIFFERENT_FILES = {  # what happens to both files, with the words that say what differs
    "scaler": (lambda x, u, _: fitted(x, u, mean, lambda x: np.diag(1 / x.std(0))), "a scaler"),
    "scaler of R": (
        lambda x, u, _: fitted(x, u, mean, lambda x: np.diag(1 / x.std(0, ddof=1))),
        "a scaler",
    ),
    "min-max": (
        lambda x, u, _: fitted(x, u, lambda x: x.min(0), lambda x: np.diag(1 / np.ptp(x, 0))),
        "min-max scaler",
    ),
    "PCA": (
        lambda x, u, _: fitted(x, u, mean, lambda x: np.linalg.svd(x - mean(x))[2].T),
        "PCA or whitening",
    ),
    "other norms": (lambda x, u, _: (x, 1.3 * u), "norms of rows"),
    "one column": (lambda x, u, _: (x, u + 4.0 * (np.arange(24) == 7)), r"centres.*most in 7"),
    "cut above": (lambda *_: cut(1.0), "minima and maxima"),
    "cut below": (lambda *_: cut(-1.0), "minima and maxima"),
    "other persons": (lambda x, u, who: (x[who[:60] == 0], u[who[60:] == 1]), "classifier of x"),
    "other labels": (lambda x, u, who: ((x, who[:60]), (u, 1 - who[60:])), "how labels follow"),
    "copies": (lambda x, u, _: (x, u[np.arange(len(u)) % 2]), "and 2 different held-out"),
    "zeros": (lambda x, u, _: (x, 0 * u), "60 or more held-out ones are needed"),
}


@pytest.mark.parametrize("what", DIFFERENT_FILES)
def test_files_that_differ_without_a_network_cannot_be_judged(what):
    change, message = DIFFERENT_FILES[what]
    rows, who = rows_of(180)
    net = kkt_ref.init_uniform((24, 40, 1), np.random.default_rng(1))
    x, unseen = change(rows[:60], rows[60:], who)
    measured = audit(net, x, unseen, **SMALL)
    verdicts, p = judge(measured), measured.held_out.files.p
    assert all(v.degree.startswith("cannot be judged") for v in verdicts.values())
    assert all(re.search(message, v.text) for v in verdicts.values()), verdicts
    text = verdicts["outputs"].text
    assert "without any network" not in text or f"(p = {p:.2g}), without any network" in text


def test_sizes_explain_a_mean_and_a_spread():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 3)) * rng.uniform(0.5, 3.0, (2000, 1))
    size, noise = np.linalg.norm(x, axis=1), rng.normal(size=(2, 2000))
    left = exchangeable.without_size(size * (1 + noise[0]), x, noise[1])
    assert np.abs(np.corrcoef([left, np.abs(left), size])[2, :2]).max() < 0.1


def test_files_of_one_pool_are_judged():
    (rows, _), net = rows_of(180), kkt_ref.init_uniform((24, 40, 1), np.random.default_rng(1))
    scale = (rows - mean(rows)) / rows.std(axis=0)
    by_class = rows[60:][np.argsort(rows[60:, 0])]
    for x, unseen in (
        (rows[:60], rows[60:]),
        (scale[:60], scale[60:]),
        (rows[:60], by_class),
        (np.repeat(rows[:60], 2, axis=0), rows[60:]),
    ):
        assert degrees(net, x, unseen) == ["not shown beyond chance"] * 4
    measured = [audit(net, rows[:60], by_class, seed=seed, **SMALL) for seed in (0, 0, 1)]
    drawn = [each.held_out.rows for each in measured]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])
    assert drawn[0].max() > 100  # not the first rows


@pytest.mark.parametrize("kind", ["numbers", "labels", "classes", ""])
def test_outputs_tell_what_was_fitted_whatever_y_is(kind):
    rng, K = np.random.default_rng(0), 1 if kind == "numbers" else 3
    x, unseen = rng.normal(size=(30, 8)), rng.normal(size=(60, 8))
    net = kkt_ref.init_uniform((8, 300, K), rng, bias="none")
    features = np.maximum(x @ net.weights[0].T, 0)
    pools = {"labels": rng.random((90, K)) < 0.5, "numbers": rng.normal(size=(90, K))}
    y = pools.get(kind, rng.integers(0, 3, 90))
    target = 2.0 * y[:30] - 1 if kind == "labels" else y[:30]
    if target.ndim == 1:
        target = 20 * (np.eye(3)[target] - 0.5)
    last = np.linalg.lstsq(features, target)[0].T  # fits all targets, and layer 1 holds nothing
    net = net.with_arrays([net.weights[0], last])
    both = ((x, y[:30]), (unseen, y[30:])) if kind else (x, unseen)
    measured = audit(net, *both, **SMALL)
    assert measured.held_out.outputs_by == ("loss" if kind else "confidence")
    verdicts = judge(measured)
    assert verdicts["outputs"].degree == "shown"
    # multipliers, which need classes, see layer 2
    by_weights = "shown" if kind == "classes" else "not shown beyond chance"
    assert verdicts["membership"].degree == by_weights
    assert (measured.data.conditions is None) == (kind != "classes")


def test_conditions_are_announced_bounded_and_optional(trained):
    net, x, y, unseen = trained
    stages = []
    audit(net, (x, y), unseen, **SMALL, callback=lambda stage, *_: stages.append(stage))
    assert stages == ["attack", "alternation", "alternation", "evidence", "conditions"]
    assert audit(net, (x, y), unseen, **SMALL, conditions=False).data.conditions is None
    rng = np.random.default_rng(0)
    many = rng.normal(size=(600, 5)), rng.integers(0, 4, 600)
    wide = kkt_ref.init_uniform((5, 8, 4), rng)
    numbers = audit(wide, many, **SMALL).data.conditions
    assert numbers["samples"] == 500 and numbers["constraints"] == "of the runner-up class"


def test_sigterm_stops_as_ctrl_c_does(folder, monkeypatch, capsys):
    def interrupted(*arguments, callback, **options):
        def tell(stage, *rest):
            callback(stage, *rest)
            if stage != "attack":  # after the first start
                os.kill(os.getpid(), signal.SIGTERM)

        return audit(*arguments, callback=tell, **options)

    monkeypatch.setattr("kkt_ref.audit.command.audit", interrupted)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # else a fault would end pytest
    try:
        assert command("net.npz", "--restarts", "20") == 130
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "stopped; nothing was written" in capsys.readouterr().out
    assert not (folder / "net_audit").exists()


def archive(name, content, said_size=None):
    """The bytes of a zip file of one entry, whose directory may say another size."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped:
        zipped.writestr(name, content)
    size = struct.pack("<I", len(content))
    return file.getvalue().replace(size, struct.pack("<I", said_size or len(content)))


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def two_layers(first, second):
    return npz(**{"0.weight": first, "2.weight": second})


one, EXPORT = np.ones, r"np\.savez\(.*state_dict"
WEIGHTS = {  # files that are refused, with the words that say why
    "net.pt": (b"", EXPORT),
    "pickle.npz": (pickle.dumps(()), EXPORT),
    "torch.npz": (archive("archive/data.pkl", pickle.dumps(())), "by its content.*" + EXPORT),
    "cut.safetensors": (b"\x10" + bytes(7) + b"{", "safetensors"),
    "nan.npz": (two_layers(one((4, 30)), np.full((1, 4), np.nan)), "NaN or infinite"),
    "zeros.npz": (two_layers(np.zeros((4, 30)), one((1, 4))), "first layer is zero"),
    "one_input.npz": (two_layers(one((4, 1)), one((1, 4))), "at least two inputs"),
    "disorder.npz": (two_layers(one((4, 30)), one((1, 5))), "follow the layer before"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_are_refused(tmp_path, monkeypatch, name):
    if "safetensors" in name:
        pytest.importorskip("safetensors", reason="needs pip install safetensors")
    monkeypatch.chdir(tmp_path)
    content, message = WEIGHTS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        audit(load_weights(name).net)
    assert [path.name for path in tmp_path.iterdir()] == [name]


LINE_OF_4 = kkt_ref.MLP((np.eye(4), one((1, 4))), (None, None))
PLANE = dict(net=kkt_ref.MLP((np.eye(2), one((1, 2))), (None, None)), x=None, held_out=None)
ARGUMENTS = {  # what replaces good arguments, with the words that say why it is refused
    "other pixels": (dict(x=one((N, 1, 7, 5))), "samples of 30 numbers"),
    "bytes": (dict(x=one((N, 30), np.uint8)), "floating values as the network saw"),
    "channels last": (dict(x=one((N, 5, 2, 3))), "channels come last"),
    "held out alone": (dict(x=None), "expected data too"),
    "few held out": (dict(held_out=one((3, 30))), "at least 12 samples"),
    "shape of another": (dict(image_shape=(1, 7, 5)), "samples of 30 numbers"),
    "shape against data": (dict(image_shape=(1, 5, 6)), r"expected \(1, 6, 5\) as in data"),
    "two channels": (dict(image_shape=(2, 3, 5)), "C 1 or 3"),
    "four channels": (PLANE | dict(net=LINE_OF_4, image_shape=(4, 1, 1)), "C 1 or 3"),
    "box of images": (dict(box=(0, 1)), "attack on 30 inputs has none"),
    "bad box": (PLANE | dict(box=(1, 0)), "box: expected"),
    "small box": (PLANE | dict(x=9 * np.eye(2), y=[1, -1]), "bounds that contain the data"),
    "starts in the plane": (PLANE | dict(restarts=2), "attack on 2 inputs has none"),
}


@pytest.mark.parametrize("what", ARGUMENTS)
def test_arguments_that_are_refused(trained, what):
    arguments = dict(zip(("net", "x", "y", "held_out"), trained, strict=True))
    replaced, message = ARGUMENTS[what]
    arguments |= replaced
    data = arguments.pop("x"), arguments.pop("y")
    with pytest.raises((ValueError, TypeError), match=message):
        audit(data=None if data[0] is None else data, **arguments)


def test_held_out_samples_that_were_seen_are_refused(trained):
    net, x, y, unseen = trained
    seen = np.concatenate([unseen, x[3:5] + 5e-5])  # noise in each column
    for held_out, said in (
        (x, f"of which {N} are in"),
        (seen, r"12 \(row 3 of data\), 13 \(row 4.*leave them out of both files"),
    ):
        with pytest.raises(ValueError, match=said):
            audit(net, (x, y), held_out)
    rng = np.random.default_rng(1)  # a column of seconds since 1970 hides no difference
    hours = np.column_stack([1.7e9 + 3600.0 * rng.permutation(100), rng.normal(size=(100, 5))])
    net = kkt_ref.init_uniform((6, 30, 1), rng)
    assert degrees(net, hours[:40], hours[40:]) == ["not shown beyond chance"] * 4


JUDGED = ("net.npz", "--data", "data.npz", "--held-out", "unseen.npz")
ERRORS = {
    "missing weights": (["nowhere.npz"], "no such file"),
    "weights without a network": (["data.npz"], r"state\['x'\]: expected '<layer>\.weight'"),
    "other activation": (["net.npz", "--activation", "softplus", "--alpha", 9], "activation"),
    "alpha of relu": (["data.npz", "--alpha", 2], "alpha: expected none for 'relu'"),
    "few labels": (["net.npz", "--data", "few.npz"], r"y: expected shape \(12,\)"),
    "wrong mean": (["net.npz", "--data", "mean.npz"], r"mean: expected shape \(n, 30\)"),
    "bomb": (["net.npz", "--data", "bomb.npz"], "would inflate to 4000 MB"),
    "bad shape": (["net.npz", "--shape", "5,7"], r"expected samples of 30.*\(1, 1, 5, 7\)"),
    "no shape": (["net.npz", "--shape", "a"], "--shape"),
    "out is a file": (["net.npz", "--out", "data.npz"], "got a file"),
    "out holds a file": (["net.npz", "--out", "full"], "expected an empty or new folder"),
    "no condition": (["net.npz", "--fail-if", "ncc=1"], "such as 'ncc08>0'"),
    "condition without data": (["net.npz", "--fail-if", "ncc08>0"], "expected at least --data"),
    "condition on more": ([*JUDGED, "--fail-if", "tpr001>0.1"], "at least 100 samples.* got 12"),
    "json in no folder": (["net.npz", "--json", "nowhere/a.json"], "does not exist"),
    "json is there": (["net.npz", "--json", "mine.json"], "exists already"),
    "json is a folder": (["net.npz", "--json", "folder.json"], "such as results.json"),
    "json is no json": (["net.npz", "--json", "net.npz"], "such as results.json"),
}


@pytest.mark.parametrize("what", ERRORS)
def test_a_mistake_is_one_line_before_any_work(folder, trained, capsys, what):
    _, x, y, _ = trained
    np.savez("mean.npz", x=x, y=y, mean=one(7))
    np.savez("few.npz", x=x, y=y[:3])
    (folder / "bomb.npz").write_bytes(archive("x.npy", bytes(20_000_000), 4 * 10**9))
    (folder / "mine.json").write_text("mine")
    (folder / "folder.json").mkdir()
    (folder / "full").mkdir()
    (folder / "full" / "mine.txt").write_text("keep")
    before, (arguments, message) = sorted(folder.rglob("*")), ERRORS[what]
    assert command(*arguments) == 2
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if "error: " in line]
    assert len(lines) == 1 and re.search(message, lines[0]), said.err
    assert "usage" in said.err or said.err.count("\n") == 1
    assert "Traceback" not in said.err and said.out == ""
    assert sorted(folder.rglob("*")) == before


def same(net, other):
    return net.widths == other.widths and np.array_equal(net.theta, other.theta)


def test_a_state_dict_says_the_same_as_the_network(folder, trained):
    net = trained[0].astype(np.float32)
    np.savez(folder / "state.npz", **state_dict(net))
    weights = load_weights("state.npz", activation="softplus", alpha=9.0)
    assert same(weights.net, net) and weights.names == ("0", "2") and weights.activation_known
    assert weights.net.activation == kkt_ref.Softplus(9.0)
    assert not load_weights("state.npz").activation_known


def test_safetensors_layers_come_in_the_order_of_their_numbers(folder):
    numpy = pytest.importorskip("safetensors.numpy", reason="needs pip install safetensors")
    net = kkt_ref.init_uniform((6, 6, 6, 1), np.random.default_rng(0), bias="all")
    state = state_dict(net, ["net.2", "net.10", "net.11"])
    numpy.save_file(dict(reversed(state.items())), "net.SafeTensors")
    weights = load_weights("net.SafeTensors")
    assert same(weights.net, net) and weights.names == ("net.2", "net.10", "net.11")
    numpy.save_file(
        {f"{n}.weight": W for n, W in zip("bca", net.weights, strict=True)}, "cab.safetensors"
    )
    with pytest.raises(ValueError, match="several orders of the layers fit.*b, c, a.*--layers"):
        load_weights("cab.safetensors")


@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
def test_what_half_precision_was_stored_in(folder, trained, stored):
    torch = pytest.importorskip("torch", reason="needs pip install torch")
    save = pytest.importorskip("safetensors.torch", reason="needs pip install safetensors")
    halves = {
        name: torch.tensor(value).to(getattr(torch, stored))
        for name, value in state_dict(trained[0]).items()
    }
    save.save_file(halves, "half.safetensors")
    weights = load_weights("half.safetensors")
    assert weights.stored == stored and weights.net.dtype == np.float32
    for W, name in zip(weights.net.weights, ("0.weight", "2.weight"), strict=True):
        assert np.array_equal(W, halves[name].float().numpy())


@pytest.mark.parametrize("name", ["jinja2", "threadpoolctl", "tqdm", "safetensors"])
def test_without_the_extra_it_says_how_to_install_it(folder, monkeypatch, capsys, name):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    (folder / "net.safetensors").write_bytes(b"")
    assert command("net.safetensors" if name == "safetensors" else "net.npz") == 2
    said = capsys.readouterr()
    extra = "safetensors" if name == "safetensors" else "audit"
    assert name in said.err and f"pip install 'kkt_ref[{extra}]'" in said.err
    assert said.out == "" and not (folder / "net_audit").exists()


def test_hostile_names_and_warnings_are_text_in_the_report(folder, trained, capsys):
    net, x, y, _ = trained
    np.savez("wrong.npz", x=x, y=np.roll(y, 1))
    np.savez("<b>&.npz", **state_dict(net, ["<script>alert(1)</script>", "<img src=x>"]))
    arguments = ("--candidates", 3, "--restarts", 2, "--out", "o", "--data", "wrong.npz")
    assert command("<b>&.npz", *arguments) == 0
    text = (folder / "o" / "report.html").read_text()
    assert "<script" not in text and "<img src=x>" not in text
    assert "&lt;script&gt;alert(1)" in text and "&lt;b&gt;&amp;.npz" in text
    said = capsys.readouterr().out
    for warning in ("The network does not separate the training data: 2 of 12", "The file does"):
        assert f"warning: {warning}" in said and warning in text


def test_pictures_have_the_mean_and_the_shape_of_the_data_or_the_argument(folder, trained):
    net, x, y, _ = trained
    flat, shape, few = x.reshape(N, 30), (3, 5, 2), dict(candidates=3, restarts=2)
    drawn = [
        [picture.png for picture in draw_pictures(audit(net, (part, y), **few, **options))]
        for part, options in (
            (flat, {}),
            (x.reshape(N, *shape), {}),
            (flat, dict(image_shape=shape)),
        )
    ]
    np.savez("mean.npz", x=flat, y=y, mean=np.linspace(0, 9, 30))
    assert command("net.npz", "--data", "mean.npz", "--candidates", 3, "--restarts", 2) == 0
    drawn.append([(folder / f"net_audit/{name}.png").read_bytes() for name in PICTURES[1::2]])
    assert drawn[1] == drawn[2]
    for other in drawn[1], drawn[3]:
        assert all(a != b for a, b in zip(drawn[0], other, strict=True))


@pytest.fixture
def figures(monkeypatch):
    """What is drawn, as Matplotlib holds it."""
    drawn = []
    monkeypatch.setattr("kkt_ref.audit.figures._png", lambda figure: drawn.append(figure) or b"")
    return drawn


def test_pictures_name_the_rows_of_the_files_and_show_the_curves(trained, figures, monkeypatch):
    net, x, y, unseen = trained
    measured, drawn = audit(net, (x[:6], y[:6]), unseen, **SMALL), []
    monkeypatch.setattr("kkt_ref.audit.figures._cells", lambda *cells, **_: drawn.append(cells))
    draw_pictures(measured)
    shown = measured.held_out.membership, measured.held_out.reconstruction
    for line, told in zip(figures[0].axes[0].lines, shown, strict=False):
        assert np.array_equal(line.get_ydata(), roc_curve(told.members, told.others)[1])
    for (rows, captions), file in zip(drawn, (x, unseen), strict=False):
        named = [int(caption.split()[-1]) for caption in captions]
        assert np.array_equal([*rows.values()][1], file.reshape(N, 30)[named])
    matched = tables.candidate_columns(measured.found, None, measured.held_out)["held-out row"]
    assert {*matched} - {None} <= {*measured.held_out.rows}


def test_a_network_of_three_classes(trained):
    rng, unseen = np.random.default_rng(0), trained[3]
    x, y = rng.normal(size=(N, 30)), np.arange(N) % 3
    start = kkt_ref.init_paper((30, 60, 3), rng)
    net = kkt_ref.loss_scaled_descent(start, x, y, rate=6.0, target_loss=1e-5).net
    measured = audit(net, (x, y), unseen, restarts=6)
    key = "NCC, mean of the ten best"
    assert measured.data.matches.numbers[key] > measured.held_out.matches.numbers[key] + 0.1
    assert measured.data.conditions["primal_feasibility"] == 0.0
    assert set(measured.found.labels) == {0.0, 1.0, 2.0}
    some = audit(net, (x[y < 2], y[y < 2]), conditions=True, **SMALL)  # no margin of class 2
    assert "stationarity" not in some.data.conditions


def test_a_difference_that_nobody_can_see_is_not_recognisable(trained):
    net, x, y, unseen = trained
    measured = audit(net, (x, y), unseen, candidates=60, restarts=4)
    assert judge(measured)["reconstruction"].degree == "shown"
    as_many_hits = measured.held_out._replace(matches=measured.data.matches)
    verdict = judge(measured._replace(held_out=as_many_hits))["reconstruction"]
    assert verdict.degree == "beyond chance, but not recognisable" and verdict.p < 0.003
    for one, other in ((0.5, 0.5), (0.9, 0.5), (0.5, 0.9)):  # AUCs without the network
        files = measured.held_out.files._replace(found=("means",), auc=one)
        differ = measured.held_out._replace(files=files, placebo_auc=other)
        degree = judge(measured._replace(held_out=differ))["membership"].degree
        assert (degree == "shown") == (one == other)


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("loss", ["classes", "mse"])
def test_the_problem_that_was_solved_is_found_out(K, loss):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(N, 5)), np.resize([-1.0, 1.0], N) if K == 1 else np.arange(N) % 3
    start = kkt_ref.init_uniform((5, 8, K), rng, activation=kkt_ref.Softplus(4.0))
    name = loss if loss == "mse" else "logistic" if K == 1 else "cross_entropy"
    targets = np.eye(3)[y] if K == 3 and loss == "mse" else y
    done = kkt_ref.training.weight_decay_optimum(
        start, x, targets, loss=name, decay=1e-2, tolerance=1e-6
    )
    measured = audit(done.net, (x, y), **SMALL)
    assert np.isclose(measured.data.conditions["weight_decay"], 1e-2, rtol=1e-3)
    assert measured.data.conditions["problem_that_fits"] == f"weight decay on {name}"
    assert any(f"{name}, μ = 0.01;" in text for text in find_warnings(measured))
    trained = kkt_ref.loss_scaled_descent(start, x, y, max_steps=3000).net
    for other in (start, trained):
        conditions = audit(other, (x, y), **SMALL).data.conditions
        assert conditions["problem_that_fits"] == "max margin"


def test_conditions_are_those_of_the_library(trained):
    net, x, y, _ = trained
    numbers, x = audit(net, (x, y), **SMALL).data.conditions, x.reshape(N, 30)
    assert numbers.items() >= kkt_ref.kkt_report(net, x, y).as_dict().items()
    margins = kkt_ref.margins(net, x, y)
    kinds = (margins.min(), np.median(margins), margins.max())
    assert tuple(numbers[f"margin_{kind}"] for kind in ("min", "median", "max")) == kinds
    assert numbers["floor"] == kkt_ref.residual_floor(net, x, y).relative
    fitted = kkt_ref.fit_multipliers(net, x, y, layer_weights=(1.0, 0.0))
    floor = kkt_ref.kkt.stationarity_norms(net, x, y, fitted).by_layer[0]
    assert np.isclose(numbers["floor_layer_1"], floor)
    decayed = [
        kkt_ref.kkt.weight_decay_stationarity(net, x, y, loss=loss).stationarity.relative
        for loss in ("logistic", "mse", "huber")
    ]
    assert numbers["floor_weight_decay"] == min(decayed)


def test_a_network_without_a_margin_in_the_plane_is_an_answer(folder, capsys):
    net = kkt_ref.init_uniform((2, 20, 1), np.random.default_rng(0))
    kkt_ref.save_net(net, "plane.npz")
    x, y = toys.even_circle(16)
    np.savez("points.npz", x=x[::2], y=y[::2])
    np.savez("others.npz", x=x[1::2])
    arguments = ("--data", "points.npz", "--held-out", "others.npz", "--json", "numbers.json")
    assert command("plane.npz", *arguments) == 0
    said = capsys.readouterr().out
    assert "no margin found" in said and "That is no proof that there is none" in said
    numbers = read_json(folder / "numbers.json")
    assert numbers["attack"] == {"box": [-1.5, 1.5], "candidates_found": 0}
    verdict = numbers["verdict"]["tests"]["reconstruction"]
    assert verdict["degree"] == "not shown beyond chance" and verdict["p"] == 1.0


def test_points_in_the_plane_that_are_the_candidates(figures):
    found = audit(KINKED).found
    inside = np.abs(found.candidates).max(axis=1) < 1.5
    x, y, n = found.candidates[inside], found.labels[inside], inside.sum()
    measured = audit(KINKED, (x, y), 0.5 * x)
    assert measured.data.matches.numbers["samples within 0.05"] == n >= 3
    assert measured.held_out.matches.numbers["samples within 0.05"] == 0
    assert measured.held_out.reconstruction.roc.auc == 1.0
    assert [picture.name for picture in draw_pictures(measured)] == ["candidates", "roc"]
    shown = {part.get_label(): part.get_offsets() for part in figures[0].axes[0].collections}
    for label in (-1, 1):
        assert np.array_equal(shown[f"training point, label {label}"], x[y == label])
        assert np.array_equal(
            shown[f"candidate, label {label}"], found.candidates[found.labels == label]
        )


def warnings_of(net, *samples, known=True):
    return find_warnings(audit(net, *samples, **SMALL), activation_known=known)


def test_what_breaks_homogeneity_is_named():
    rng = np.random.default_rng(0)
    biased = kkt_ref.init_uniform((5, 4, 3, 1), rng, bias="all")
    assert "layers [2, 3] have biases" in warnings_of(biased)[0]
    plain = kkt_ref.init_paper((5, 4, 1), rng)
    (only,) = warnings_of(plain)
    assert "No training data were given" in only
    assert "ReLU is assumed" in warnings_of(plain, known=False)[0]
    large = plain.with_arrays([1e6 * plain.weights[0], plain.biases[0], plain.weights[1]])
    assert "random initialisation" in warnings_of(large)[0]


def test_data_that_the_network_does_not_separate_are_named(trained):
    net, x, y, unseen = trained
    assert warnings_of(net, (x, y), unseen) == []
    (no_chance,) = warnings_of(net, (x, y))
    assert "No held-out samples were given" in no_chance
    assert "stationarity" not in audit(net, (x, -y), **SMALL).data.conditions
    assert f"{N} of {N} samples" in warnings_of(net, (x, -y), unseen)[0]
    far = np.concatenate([x[:2], 3 * x[2:]])
    assert f"only 2 of {N} samples" in warnings_of(net, (far, y), unseen)[0]
    assert any("not centred" in text for text in warnings_of(net, (x + 3.0, y), unseen))


def test_all_held_out_samples_serve_as_the_null_of_membership(trained):
    net, x, y, unseen = trained
    held_out = audit(net, (x[:6], y[:6]), unseen, **SMALL).held_out
    assert len(held_out.membership.others) == N
    assert len(held_out.matches.score) == len(held_out.reconstruction.others) == 6  # as many
    rows, labels = np.concatenate([x[:6], unseen]).reshape(-1, 30), np.resize(y, N)
    layer_1 = kkt_ref.attacks.membership_scores(net, rows).score
    assert np.array_equal(held_out.membership.members, layer_1[:6])
    assert np.allclose(held_out.outputs.members, np.abs(net.outputs(rows[:6])[:, 0]))  # no labels
    both = audit(net, (x[:6], y[:6]), (unseen, labels), **SMALL).held_out.membership
    added = np.concatenate([both.members, both.others]) - layer_1
    lambdas = kkt_ref.attacks.multiplier_scores(net, rows, np.append(y[:6], labels)).multiplier
    assert scipy.stats.spearmanr(added, lambdas)[0] > 0.999 and added.min() > 0


def test_comparison_counts_planted_candidates():
    x = np.random.default_rng(0).normal(size=(3, 40))
    net = kkt_ref.MLP((np.ones((1, 40)), np.ones((1, 1))), (None, None))
    near = x[2] + 0.55 * np.random.default_rng(1).normal(size=40)
    assert 0.8 < np.corrcoef(x[2], near)[0, 1] < 0.9
    kinds = (x[:0], [0, 0]), (np.stack([x[1], near]), [2, 1]), (np.stack([x[1], -x[0]]), [1, 1])
    for planted, hits in kinds:
        found = Reconstruction(planted, *[np.arange(len(planted))] * 3, (), 0)
        compared = compare(net, {}, found, x)
        assert [compared.numbers[f"samples with NCC >= {c}"] for c in (0.8, 0.9)] == hits
    assert compared.candidate[1] == 0 and np.isclose(compared.score[1], 1.0)

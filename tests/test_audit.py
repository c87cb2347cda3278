"""The auditor's command, from a weights file to a report."""

import base64
import csv
import json
import pickle
import re
import signal
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

import kkt_ref
from kkt_ref.__main__ import main
from kkt_ref.attacks.base import Reconstruction
from kkt_ref.audit import command
from kkt_ref.audit.inputs import Samples, load_both
from kkt_ref.audit.report import find_warnings
from kkt_ref.audit.run import KINKS, Audit, compare, measure_conditions
from kkt_ref.audit.tables import score_pairs
from kkt_ref.audit.weights import Weights, load_weights
from kkt_ref.datasets import toys
from tests.networks import state_dict

for extra in ("jinja2", "filelock", "threadpoolctl", "tqdm"):
    pytest.importorskip(extra, reason="needs pip install 'kkt_ref[audit]'")

SHAPE, N = (1, 6, 5), 12
PICTURES = ("roc", "matches", "held_out", "candidates", "margins")


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


def audit(*arguments):
    try:
        return main(["audit", *map(str, arguments)])
    except SystemExit as ended:  # argparse
        return ended.code


def pictures_in(text):
    """The pictures of a page, which must refer to nothing outside."""
    sources = re.findall(r'(?:src|href)="?([^" >]*)', text)
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    return [base64.b64decode(source.partition(",")[2], validate=True) for source in sources]


def test_from_weights_to_a_report_that_stands_alone(folder, capsys):
    before = set(folder.rglob("*"))
    status = audit(
        "net.npz", "--data", "data.npz", "--held-out", "unseen.npz", "--restarts", 4,
        "--json", "numbers.json",
    )  # fmt: skip
    said = capsys.readouterr()
    assert status == 0 and said.err == ""
    for text in ("30, 60, 1", "homogeneous", "norm", "stationarity", "floor layer 1", "100%"):
        assert text in said.out
    out = folder / "net_audit"
    assert set(folder.rglob("*")) - before == {
        out,
        folder / "numbers.json",
        *(out / f"start_{i:05d}.npz" for i in range(4)),
        *(out / name for name in (".lock", "settings.json", "candidates.npz", "report.html")),
        out / "candidates.csv",
        out / "samples.csv",
        *(out / f"{name}.png" for name in PICTURES),
    }
    found = pictures_in((out / "report.html").read_text())
    pictures = [out / f"{name}.png" for name in PICTURES]
    assert found == [path.read_bytes() for path in pictures]
    assert all(picture.startswith(b"\x89PNG") for picture in found)

    numbers = json.loads((folder / "numbers.json").read_text())
    key = "NCC, mean of the ten best"
    assert numbers["data"][key] > numbers["held_out"][key] + 0.1
    assert 0 < numbers["conditions"]["floor_layer_1"] < 1
    assert numbers["verdict"]["membership"]["degree"] == "shown"
    assert numbers["figures"]["auc"] > 0.95 and numbers["figures"]["tpr001"] is None
    best = max(numbers["samples"], key=lambda sample: sample["score"])
    with open(out / "samples.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["score"]) for row in rows] == [row["score"] for row in numbers["samples"]]
    with open(out / "candidates.csv") as file:
        mine = list(csv.DictReader(file))[best["candidate"]]
    assert int(mine["training row"]) == best["row"]
    with np.load(out / "candidates.npz") as arrays, np.load("data.npz") as data:
        row = numbers["samples"].index(best)
        correlation = np.corrcoef(arrays["candidates"][best["candidate"]], data["x"][row].ravel())
    assert np.isclose(correlation[0, 1], best["score"])
    assert numbers["network"]["widths"] == [30, 60, 1] and numbers["warnings"] == []


def test_candidates_are_those_of_the_library(folder, trained):
    assert audit("net.npz", "--candidates", 7, "--seed", 3, "--restarts", 3, "--out", "o") == 0
    found = kkt_ref.attacks.reconstruct_first_layer(trained[0], candidates=7, seed=3, restarts=3)
    with np.load(folder / "o" / "candidates.npz") as arrays:
        assert set(arrays.files) == {
            "candidates", "labels", "multipliers", "agreement", "restart"
        }  # fmt: skip
        for name in arrays.files:
            field = "run_index" if name == "restart" else name
            assert np.array_equal(arrays[name], getattr(found, field))
    assert not (folder / "o" / "matches.png").exists()
    assert "No training data were given" in (folder / "o" / "report.html").read_text()


def test_a_condition_sets_the_exit_status(folder, capsys):
    small = ("--restarts", 2, "--candidates", 8, "--out", "o")
    assert audit(*JUDGED, *small, "--fail-if", "auc>0.5", "--fail-if", "ncc09>99") == 1
    said = capsys.readouterr().out
    assert "failed: auc>0.5" in said and "failed: ncc09" not in said
    assert "the attack: 2 starts of about" in said
    assert audit(*JUDGED, *small, "--resume", "--fail-if", "auc_low<=0.5") == 0
    assert "the attack:" not in capsys.readouterr().out  # nothing is left to do


def degrees(*arguments):
    assert audit(*arguments, "--restarts", 2, "--candidates", 8, "--json", "n.json") == 0
    verdict = json.loads(Path("n.json").read_text())["verdict"]
    return [verdict["degree"], *(verdict[k]["degree"] for k in ("reconstruction", "membership"))]


def test_three_degrees(folder, trained):
    assert degrees("net.npz", "--out", "a") == ["cannot be judged"] * 3
    Path("n.json").unlink()
    assert degrees("net.npz", "--data", "data.npz", "--out", "b") == ["cannot be judged"] * 3
    Path("n.json").unlink()
    untrained = kkt_ref.init_paper((30, 60, 1), np.random.default_rng(5), first_layer=0.1)
    kkt_ref.save_net(untrained, "untrained.npz")
    judged = degrees("untrained.npz", *JUDGED[1:], "--out", "c")
    assert judged == ["not shown beyond chance"] * 3


def test_scores_of_pairs_forgive_contrast_and_brightness():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(3, 64))
    candidates = np.stack([5 - 2 * x[2], x[0] + 0.1 * rng.normal(size=64)])
    scores = score_pairs(x, candidates, np.array([1, -1, 0]), (1, 8, 8))
    assert np.isclose(scores["NCC"][2], -1) and scores["MSE"][2] < 1e-25
    assert np.isclose(scores["SSIM"][2], 1) and np.isnan(scores["PSNR"][1])
    A = np.column_stack([candidates[1], np.ones(64)])
    rest = x[0] - A @ np.linalg.lstsq(A, x[0], rcond=None)[0]
    assert np.isclose(scores["MSE"][0], np.mean(rest**2), rtol=1e-10)
    assert np.isclose(scores["PSNR"][0], 10 * np.log10(np.ptp(x) ** 2 / np.mean(rest**2)))


def stop_after(monkeypatch, starts):
    def show(bar, number, run):
        if number + 1 == starts:
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "_show_start", show)


def test_a_stopped_run_goes_on_to_the_same_candidates(folder, trained, monkeypatch, capsys):
    assert audit("net.npz", "--candidates", 8, "--restarts", 5, "--out", "whole") == 0
    arguments = ("net.npz", "--candidates", 8, "--restarts", 5, "--out", "parts")
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        assert audit(*arguments) == 130
    assert "--resume continues from parts" in capsys.readouterr().out
    assert len(list((folder / "parts").glob("start_*.npz"))) == 2
    first = (folder / "parts" / "start_00000.npz").stat().st_mtime_ns
    kkt_ref.save_net(trained[0].scaled(1.1), folder / "other.npz")
    for other, named in (
        (("other.npz", *arguments[1:]), "network"),
        ((*arguments, "--seed", 1), "seed 0 instead of 1"),
        ((*arguments, "--candidates", 5), "candidates 8 instead of 5"),
    ):
        assert audit(*other, "--resume") == 2 and named in capsys.readouterr().err
    assert audit(*arguments) == 2
    assert audit(*arguments, "--resume", "--data", "data.npz") == 0
    assert (folder / "parts" / "start_00000.npz").stat().st_mtime_ns == first
    whole, parts = (np.load(folder / o / "candidates.npz") for o in ("whole", "parts"))
    with whole, parts:
        for name in whole.files:
            assert np.array_equal(whole[name], parts[name])


def test_sigterm_stops_as_ctrl_c_does(folder):
    command = [sys.executable, "-m", "kkt_ref", "audit", "net.npz", "--restarts", "2000"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    began = time.monotonic()
    while not (folder / "net_audit" / "start_00001.npz").exists():
        assert time.monotonic() - began < 60 and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume continues" in said
    assert not list((folder / "net_audit").glob("*.part"))
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2 and "with --resume" in done.stderr and done.stdout == ""


class Payload:
    """Leaves a file behind where it is unpickled."""

    def __reduce__(self):
        return open, ("executed", "w")


JUDGED = ("net.npz", "--data", "data.npz", "--held-out", "unseen.npz")
ERRORS = {
    "missing weights": (["nowhere.npz"], "no such file"),
    "PyTorch file": (["net.pt"], r"np\.savez\(.*state_dict"),
    "pickle by another name": (["pickle.npz"], r"np\.savez\(.*state_dict"),
    "pickled array": (["objects.npz"], "allow_pickle=False"),
    "cut": (["cut.npz"], "expected an npz file of weights"),
    "cut safetensors": (["cut.safetensors"], "safetensors"),
    "PyTorch file by another name": (["zip.npz"], r"torch\.save.*by its content.*np\.savez"),
    "NaN": (["nan.npz"], "NaN or infinite"),
    "convolution": (["conv.npz"], "Conv2d"),
    "one layer": (["linear.npz"], "at least two layers"),
    "zeros": (["zeros.npz"], "first layer is zero"),
    "one input": (["one.npz"], "at least two inputs"),
    "other activation": (["net.npz", "--activation", "softplus", "--alpha", 9], "activation"),
    "no alpha": (["net.npz", "--activation", "gated"], "expected a sharpness"),
    "data without y": (["net.npz", "--data", "unseen.npz"], "expected y in it"),
    "other pixels": (["net.npz", "--data", "wide.npz"], "samples of 30 numbers"),
    "bytes": (["net.npz", "--data", "bytes.npz"], "floating values as the network saw"),
    "labels 0 and 1": (["net.npz", "--data", "zero_one.npz"], r"2 \* y - 1"),
    "channels last": (["net.npz", "--data", "last.npz"], "channels come last"),
    "wrong mean": (["net.npz", "--data", "mean.npz"], r"mean: expected shape \(n, 30\)"),
    "held out alone": (["net.npz", "--held-out", "unseen.npz"], "expected --data too"),
    "few held out": (["net.npz", "--data", "data.npz", "--held-out", "few.npz"], "at least 12"),
    "seen": (["net.npz", "--data", "data.npz", "--held-out", "data.npz"], "12 are in --data"),
    "seen but for noise": (
        ["net.npz", "--data", "data.npz", "--held-out", "noisy.npz"],
        "of which 2 are in --data",
    ),
    "layers in no order": (["disorder.npz"], "follow the layer before"),
    "layers in two orders": (["ambiguous.npz"], "fit in 2 other orders"),
    "bomb": (["net.npz", "--data", "bomb.npz"], "would inflate to 4000 MB"),
    "shape of another": (["net.npz", "--shape", "1,7,5"], "product is 30"),
    "shape against data": (["net.npz", "--data", "data.npz", "--shape", "5,6"], "as in --data"),
    "bad shape": (["net.npz", "--shape", "2,3,5"], "C 1 or 3"),
    "bad box": (["plane.npz", "--box", 1, 0], "box: expected"),
    "data outside the box": (["plane.npz", "--data", "points.npz"], "--box: expected bounds"),
    "no candidate": (["net.npz", "--candidates", 0], "candidates: expected an integer >= 1"),
    "out is a file": (["net.npz", "--out", "data.npz"], "got a file"),
    "out holds a file": (["net.npz", "--out", "full"], "expected an empty or new folder"),
    "out of others": (
        ["net.npz", "--out", "full", "--resume"],
        "with --resume the folder of a run",
    ),
    "no condition": (["net.npz", "--fail-if", "ncc=1"], "such as 'ncc08>0'"),
    "condition without data": (["net.npz", "--fail-if", "ncc08>0"], "expected at least --data"),
    "condition on more": (
        [*JUDGED, "--fail-if", "tpr001>0.1"],
        "at least 100 samples in --held-out, got 12",
    ),
    "json in no folder": (["net.npz", "--json", "nowhere/a.json"], "does not exist"),
    "json is there": (["net.npz", "--json", "mine.json"], "exists already"),
    "json is a folder": (["net.npz", "--json", "folder.json"], "such as results.json"),
    "json is no json": (["net.npz", "--json", "net.npz"], "such as results.json"),
}


@pytest.fixture
def mistakes(folder, trained):
    """All that a user may get wrong, as files."""
    net, x, y, unseen = trained
    whole = (folder / "net.npz").read_bytes()
    for name, content in {
        "net.pt": whole, "pickle.npz": pickle.dumps(Payload()),
        "cut.npz": whole[:-200], "mine.json": b"mine", "cut.safetensors": b"\x10" + bytes(7) + b"{",
    }.items():  # fmt: skip
        (folder / name).write_bytes(content)
    with zipfile.ZipFile(folder / "zip.npz", "w") as archive:  # as torch.save writes it
        archive.writestr("archive/data.pkl", pickle.dumps(Payload()))
    one = np.ones
    for name, arrays in {
        "objects": {"0.weight": np.array([Payload()], object)},
        "nan": state_dict(net) | {"2.weight": np.full((1, 60), np.nan)},
        "conv": {"0.weight": one((1, 3, 3, 3))},
        "linear": {"0.weight": one((1, 30))},
        "zeros": {"0.weight": np.zeros((4, 30)), "2.weight": one((1, 4))},
        "one": {"0.weight": one((4, 1)), "2.weight": one((1, 4))},
        "plane": {"0.weight": np.eye(2), "2.weight": one((1, 2))},
        "points": {"x": 9 * np.eye(2), "y": np.array([1, -1])},
        "wide": {"x": one((N, 1, 7, 5)), "y": y},
        "bytes": {"x": one((N, 30), np.uint8), "y": y},
        "zero_one": {"x": x, "y": (y + 1) / 2},
        "last": {"x": one((N, 5, 2, 3)), "y": y},
        "mean": {"x": x, "y": y, "mean": one(7)},
        "few": {"x": unseen[:3]},
        "noisy": {"x": np.concatenate([unseen, x[:2] + 1e-9])},
        "disorder": {"a.weight": one((4, 30)), "b.weight": one((1, 5))},
        "ambiguous": {
            "a.weight": one((1, 9)),
            "b.weight": one((9, 9)),
            "c.weight": one((9, 9)),
            "d.weight": one((9, 30)),
        },
    }.items():
        np.savez(folder / f"{name}.npz", **arrays)
    with zipfile.ZipFile(folder / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bomb:
        bomb.writestr("x.npy", bytes(20_000_000))
    raw = (folder / "bomb.npz").read_bytes()  # the directory alone says that there is more
    (folder / "bomb.npz").write_bytes(
        raw.replace(struct.pack("<I", 20_000_000), struct.pack("<I", 4 * 10**9))
    )
    (folder / "executed").unlink(missing_ok=True)
    (folder / "full").mkdir()
    (folder / "folder.json").mkdir()
    (folder / "full" / "mine.txt").write_text("keep")
    return folder


@pytest.mark.parametrize("what", ERRORS)
def test_a_mistake_is_one_line_before_any_work(mistakes, capsys, what):
    arguments, message = ERRORS[what]
    if "safetensors" in what:
        pytest.importorskip("safetensors", reason="needs pip install safetensors")
    before = sorted(mistakes.rglob("*"))
    assert audit(*arguments) == 2
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if "error: " in line]
    assert len(lines) == 1 and re.search(message, lines[0]), said.err
    assert "usage" in said.err or said.err.count("\n") == 1
    assert "Traceback" not in said.err and said.out == ""
    assert sorted(mistakes.rglob("*")) == before


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
    numpy.save_file(dict(reversed(state.items())), "net.safetensors")
    weights = load_weights("net.safetensors")
    assert same(weights.net, net) and weights.names == ("net.2", "net.10", "net.11")
    assert audit("net.safetensors", "--candidates", 3, "--restarts", 2) == 0


def test_layers_in_another_order_are_put_in_order_by_their_shapes(folder, trained):
    net = kkt_ref.init_uniform((30, 9, 7, 1), np.random.default_rng(0), bias="all")
    state = state_dict(net, ["hidden1", "hidden2", "out"])
    np.savez("turned.npz", **dict(sorted(state.items(), key=lambda item: item[0] != "out.bias")))
    np.savez("reversed.npz", **dict(reversed(state.items())))
    for name in ("turned", "reversed"):
        weights = load_weights(f"{name}.npz")
        assert same(weights.net, net) and weights.names == ("hidden1", "hidden2", "out")
        assert weights.reordered


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


@pytest.mark.parametrize("name", ["jinja2", "filelock", "threadpoolctl", "tqdm", "safetensors"])
def test_without_the_extra_it_says_how_to_install_it(folder, monkeypatch, capsys, name):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    (folder / "net.safetensors").write_bytes(b"")
    assert audit("net.safetensors" if name == "safetensors" else "net.npz") == 2
    said = capsys.readouterr()
    extra = "safetensors" if name == "safetensors" else "audit"
    assert name in said.err and f"pip install 'kkt_ref[{extra}]'" in said.err
    assert said.out == "" and not (folder / "net_audit").exists()


def test_hostile_names_and_warnings_are_text_in_the_report(folder, trained, capsys):
    net, x, y, _ = trained
    np.savez("wrong.npz", x=x, y=np.roll(y, 1))
    np.savez("<b>&.npz", **state_dict(net, ["<script>alert(1)</script>", "<img src=x>"]))
    arguments = ("--candidates", 3, "--restarts", 2, "--out", "o", "--data", "wrong.npz")
    assert audit("<b>&.npz", *arguments) == 0
    text = (folder / "o" / "report.html").read_text()
    assert "<script" not in text and "<img src=x>" not in text
    assert "&lt;script&gt;alert(1)" in text and "&lt;b&gt;&amp;.npz" in text
    said = "The network does not separate the training data: 2 of 12"
    assert f"warning: {said}" in capsys.readouterr().out and said in text


def test_pictures_have_the_shape_of_the_data_or_the_option(folder, trained):
    _, x, y, _ = trained
    np.savez("flat.npz", x=x.reshape(N, 30), y=y)
    np.savez("colour.npz", x=x.reshape(N, 3, 5, 2), y=y)
    drawn = []
    for name, *more in (("flat",), ("colour",), ("flat", "--shape", "3,5,2")):
        out = f"out{len(drawn)}"
        arguments = ("--data", f"{name}.npz", "--restarts", 2, "--candidates", 8, "--out", out)
        assert audit("net.npz", *arguments, *more) == 0
        drawn.append((folder / out / "matches.png").read_bytes())
    assert drawn[0] != drawn[1] == drawn[2]


def test_a_network_of_three_classes(folder, capsys):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(N, 30)), np.arange(N) % 3
    start = kkt_ref.init_paper((30, 60, 3), rng)
    net = kkt_ref.loss_scaled_descent(start, x, y, rate=6.0, target_loss=1e-5).net
    kkt_ref.save_net(net, "three.npz")
    np.savez("three_data.npz", x=x, y=y)
    arguments = ("three.npz", "--data", "three_data.npz", "--restarts", 6)
    assert audit(*arguments, "--held-out", "unseen.npz", "--json", "n.json") == 0
    numbers = json.loads((folder / "n.json").read_text())
    key = "NCC, mean of the ten best"
    assert numbers["data"][key] > numbers["held_out"][key] + 0.1
    assert numbers["conditions"]["primal_feasibility"] == 0.0
    with np.load(folder / "three_audit" / "candidates.npz") as arrays:
        assert set(arrays["labels"]) == {0.0, 1.0, 2.0}
    np.savez("wrong.npz", x=x, y=np.where(y == 0, -1, 1))
    assert audit("three.npz", "--data", "wrong.npz", "--out", "w") == 2
    assert "expected classes 0 ... 2" in capsys.readouterr().err


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
    numbers = measure_conditions(done.net, x, y).numbers
    assert np.isclose(numbers["weight_decay"], 1e-2, rtol=1e-3)
    assert numbers["problem_that_fits"] == f"weight decay on {name}"
    assert any(f"{name}, μ = 0.01;" in text for text in warnings_of(done.net, x, y))
    trained = kkt_ref.loss_scaled_descent(start, x, y, max_steps=3000).net
    for other in (start, trained):
        assert measure_conditions(other, x, y).numbers["problem_that_fits"] == "max margin"


def test_a_network_without_a_margin_in_the_plane_is_an_answer(folder, capsys):
    net = kkt_ref.init_uniform((2, 20, 1), np.random.default_rng(0))
    kkt_ref.save_net(net, "plane.npz")
    assert audit("plane.npz", "--json", "numbers.json") == 0
    assert "no margin found" in capsys.readouterr().out
    assert json.loads((folder / "numbers.json").read_text())["attack"]["candidates_found"] == 0


@pytest.mark.slow
def test_points_in_the_plane(folder):
    x, y = toys.even_circle(12)
    start = kkt_ref.init_paper((2, 100, 1), np.random.default_rng(0), first_layer=0.3)
    net = kkt_ref.loss_scaled_descent(start, x, y, rate=10.0, target_loss=1e-16).net
    kkt_ref.save_net(net, "plane.npz")
    np.savez("points.npz", x=x, y=y)
    assert audit("plane.npz", "--data", "points.npz", "--json", "numbers.json") == 0
    numbers = json.loads((folder / "numbers.json").read_text())
    assert numbers["data"]["samples within 0.05"] >= 11
    assert numbers["held_out"] is None and numbers["attack"]["attack"] == "kinks"


def warnings_of(net, x=None, y=None, *, known=True, held_out=True):
    weights = Weights(net, tuple("abc"), "npz of kkt_ref", known, "float64")
    audit = Audit(weights, "net.npz", {})
    if x is not None:
        measured = measure_conditions(net, x, y)
        unseen = Samples(x + 1) if held_out else None
        audit = audit._replace(data=Samples(x, y), held_out=unseen, conditions=measured)
    return find_warnings(audit)


def test_what_breaks_homogeneity_is_named():
    rng = np.random.default_rng(0)
    biased = kkt_ref.init_uniform((5, 4, 3, 1), rng, bias="all")
    assert "bias in layer 2, 3." in warnings_of(biased)[0]
    smooth = kkt_ref.init_uniform((5, 4, 1), rng, activation=kkt_ref.Softplus(20.0))
    assert "softplus, alpha 20" in warnings_of(smooth)[0]
    plain = kkt_ref.init_paper((5, 4, 1), rng)
    (only,) = warnings_of(plain)
    assert "No training data were given" in only
    assert "ReLU is assumed" in warnings_of(plain, known=False)[0]
    large = plain.with_arrays([1e6 * plain.weights[0], plain.biases[0], plain.weights[1]])
    assert "random initialisation" in warnings_of(large)[0]


def test_data_that_the_network_does_not_separate_are_named(trained):
    net, x, y, _ = trained
    x = x.reshape(N, 30)
    assert warnings_of(net, x, y) == []
    (no_chance,) = warnings_of(net, x, y, held_out=False)
    assert "No held-out samples were given" in no_chance
    assert "stationarity" not in measure_conditions(net, x, -y).numbers
    assert f"{N} of {N} samples" in warnings_of(net, x, -y)[0]
    far = np.concatenate([x[:2], 3 * x[2:]])
    assert f"only 2 of {N} samples" in warnings_of(net, far, y)[0]
    assert any("not centred" in text for text in warnings_of(net, x + 3.0, y))


def test_as_many_held_out_samples_as_training_samples_count(folder, trained):
    _, x, y, unseen = trained
    np.savez("half.npz", x=x[:6], y=y[:6])
    data, held_out = load_both(folder / "half.npz", folder / "unseen.npz", 30)
    assert len(data.x) == 6 and len(held_out.x) == N  # all of them serve as the null


def test_the_floor_of_layer_1_is_fitted_to_that_layer_alone(trained):
    net, x, y, _ = trained
    x = x.reshape(N, 30)
    fitted = kkt_ref.fit_multipliers(net, x, y, layer_weights=(1.0, 0.0))
    floor = kkt_ref.kkt.stationarity_norms(net, x, y, fitted).by_layer[0]
    assert np.isclose(measure_conditions(net, x, y).numbers["floor_layer_1"], floor)


def test_comparison_in_the_plane_counts_by_steps_of_the_grid():
    x = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = Reconstruction(x + [0.02, 0.0], np.ones(3), np.ones(3), np.arange(3), (), 0)
    net = kkt_ref.MLP((np.eye(2), np.ones((1, 2))), (None, None))
    numbers = compare(net, {"box": (-1.5, 1.5)}, found, x).numbers
    assert [numbers[f"samples within {radius}"] for radius in (0.05, 0.03, 0.01)] == [3, 3, 0]


def test_comparison_counts_planted_candidates():
    x = np.random.default_rng(0).normal(size=(3, 40))
    planted = np.stack([x[1], -x[0]])
    found = Reconstruction(planted, np.ones(2), np.ones(2), np.arange(2), (), 0)
    W = np.array([x[1] / (x[1] @ x[1])])  # its kink, with b = -1, passes through x[1] alone
    net = kkt_ref.MLP((W, np.ones((1, 1))), (-np.ones(1), None))
    compared = compare(net, {}, found, x)
    assert np.isclose(compared.numbers[KINKS], 1 / 3)
    assert compared.candidate[1] == 0 and np.isclose(compared.score[1], 1.0)
    assert compared.numbers["samples with NCC >= 0.9"] == 1

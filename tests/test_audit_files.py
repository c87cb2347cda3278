"""Files of the audit: orders of layers, foreign formats, conditions, paths, the report."""

import argparse
import hashlib
import io
import re
import time

import numpy as np
import pytest

import kkt_ref
from kkt_ref.__main__ import main
from kkt_ref.audit.fail_if import parse_condition
from kkt_ref.audit.weights import load_weights
from kkt_ref.network import Elementwise
from tests.networks import state_dict
from tests.programs import read_json

for extra in ("jinja2", "threadpoolctl", "tqdm"):
    pytest.importorskip(extra, reason="needs pip install 'kkt_ref[audit]'")

NET = kkt_ref.init_uniform((7, 5, 5, 3), np.random.default_rng(0), bias="none")
SHUFFLED = {f"{name}.weight": NET.weights[i] for i, name in ((1, "mid"), (0, "up"), (2, "z"))}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(state, **options):
    np.savez("w.npz", **state)
    return load_weights("w.npz", **options)


def test_numbers_shapes_writers_and_auditors_order_the_layers():
    names = ["dense", "dense_2", "dense_10"]
    by_number = dict(sorted(state_dict(NET, names).items()))
    assert load(by_number).names == tuple(names)
    only = load(SHUFFLED | {"up.bias": np.ones(5)})  # one order fits
    assert only.names == ("up", "mid", "z")
    with pytest.raises(ValueError, match="z, mid, up if each is transposed"):
        load(SHUFFLED)
    square = kkt_ref.init_uniform((5, 5, 5, 3), np.random.default_rng(0))
    written = state_dict(square, ["pixels", "inner", "top"])
    assert load(written).names == ("pixels", "inner", "top")
    ordered = dict(sorted(written.items()))
    with pytest.raises(ValueError, match="several orders.*inner, pixels, top; pixels, inner, top"):
        load(ordered)
    with pytest.raises(ValueError, match="; and others. Say"):
        load({f"{name}.weight": np.ones((5, 5)) for name in "abcd"})
    said = load(ordered, layers=("pixels", "inner", "top"))
    assert np.array_equal(said.net.weights[0], square.weights[0])
    with pytest.raises(ValueError, match="each layer of the file once"):
        load(ordered, layers=("pixels", "top"))
    with pytest.raises(ValueError, match="follow the layer before in the order pixels"):
        load(ordered, layers=("pixels", "top", "inner"))


@pytest.mark.parametrize("bias", ["none", "all"])
def test_transposed_matrices_are_called_so(bias):
    net = kkt_ref.init_uniform((7, 5, 3), np.random.default_rng(0), bias=bias)
    turned = {k: v.T for k, v in state_dict(net).items()}
    with pytest.raises(ValueError, match=r"\(in, out\), as Keras.*W\.T"):
        load(turned)


def test_byte_orders_and_mixed_precision_are_read():
    kinds = ("<f2", ">f4", "<f4")
    pairs = zip(NET.weights, kinds, strict=True)
    state = {f"{i}.weight": W.astype(k) for i, (W, k) in enumerate(pairs)}
    weights = load(state)
    assert weights.net.dtype == np.dtype("=f4") and weights.stored == "float16 and float32"
    assert np.array_equal(weights.net.weights[1], NET.weights[1].astype("f4"))


MODULES = {
    "1.running_mean": "fuse_linear_bn_eval", "0.weight_mask": "prune.remove",
    "0.parametrizations.weight.original1": "remove_weight_norm",
    "0.parametrizations.weight.0._u": "remove_spectral_norm", "0.lora_A.weight": "merge_and_unload",
    "attn.in_proj_weight": "attention", "Dense_0.kernel": "transposed to", "1.weight": "PReLU",
}  # fmt: skip


@pytest.mark.parametrize("key", MODULES)
def test_other_modules_are_named_with_the_way_out(key):
    with pytest.raises(ValueError, match=MODULES[key]) as error:
        load({"0.weight": NET.weights[0], key: np.ones(5), "2.weight": np.ones((1, 5))})
    assert "array" not in str(error.value)


FILES = {
    "w.npz": (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    "w.h5": (b"", "HDF5.* by its name"),
    "onnx.npz": (b"\x08\n\x12\x07pytorch", "ONNX.* by its content"),
    "text.npz": (b"a,b\n1,2\n", "Python objects, or is no such file"),
}


@pytest.mark.parametrize("name", FILES)
def test_other_formats_are_named_and_no_pickle_is_advised(folder, name):
    content, message = FILES[name]
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        load_weights(name)
    assert "allow_pickle" not in str(error.value)


@pytest.mark.parametrize("name", ["auc > 2", "p>=0", "ncc08<0", "verdict == maybe", "nothing>1"])
def test_conditions_that_say_nothing_are_refused(name):
    with pytest.raises(argparse.ArgumentTypeError, match="expected"):
        parse_condition(name)


def test_verdict_and_p_are_conditions():
    figures = {"verdict": "cannot be judged", "p": None}
    assert parse_condition("verdict == 'cannot be judged'").holds(figures)
    assert not parse_condition("verdict == shown").holds(figures)
    assert not parse_condition("p < 0.01").holds(figures)
    assert parse_condition("p < 0.01").holds({"p": 0.001})
    with pytest.raises(ValueError, match="of more than 2 inputs"):  # which counts distances
        parse_condition("ncc08 > 0").check(True, 9, 2)


def test_the_report_says_where_it_comes_from_and_survives_pictures(folder, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    monkeypatch.setenv("TZ", "UTC+3")  # the report's hours are those of UTC
    time.tzset()
    monkeypatch.setattr("kkt_ref.audit.figures._png", lambda figure: 1 / 0)
    np.savez("net.npz", **SHUFFLED)
    arguments = ["audit", "net.npz", "--restarts", "2", "--candidates", "5", "--json", "n.json"]
    assert main([*arguments, "--layers", "up,mid,z"]) == 0
    page = (folder / "net_audit" / "report.html").read_text()
    run = read_json(folder / "n.json")["run"]
    digest = hashlib.sha256((folder / "net.npz").read_bytes()).hexdigest()
    assert run["files"][0]["sha256"] == digest and run["date"] == "02 January 1970, 00:00 UTC"
    for text in (digest, run["date"], run["command"], "could not be drawn", "samples are missing"):
        assert text in page
    heads = re.findall(r"<thead><tr>(.*?)</tr>", page)
    assert heads and all("<td" not in head and 'scope="col"' in head for head in heads)
    assert not list((folder / "net_audit").glob("*.png"))


def test_a_folder_that_cannot_be_written_fails_before_the_work(folder, capsys, monkeypatch):
    kkt_ref.save_net(NET, "net.npz")
    (folder / "net_audit").mkdir()

    def refuse(dir):
        if dir.name != "net_audit":  # as others can be written
            return io.BytesIO()
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert main(["audit", "net.npz", "--json", "n.json"]) == 2
    assert "can be written" in capsys.readouterr().err
    assert not list((folder / "net_audit").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tanh", "sigmoid", "gelu", "silu", "elu", "leaky_relu"])
def test_activations_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch", reason="needs pip install torch")
    z, act = np.linspace(-6, 6, 101) + 0.013, Elementwise(name)
    t = torch.tensor(z, requires_grad=True)
    value = getattr(torch, name, getattr(torch.nn.functional, name, None))(t)
    (slope,) = torch.autograd.grad(value.sum(), t)
    assert np.allclose(act.value(z, np), value.detach().numpy(), atol=1e-14)
    assert np.allclose(act.slope(z, np), slope.numpy(), atol=1e-14)

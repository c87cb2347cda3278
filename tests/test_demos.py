"""The demos run as they are printed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*arguments, cwd):
    command = [sys.executable, str(ROOT / "demos" / arguments[0]), *arguments[1:]]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


def test_toy_refuses_a_missing_folder_before_any_work(tmp_path):
    done = run("toy2d.py", "--json", "nowhere/table.json", cwd=tmp_path)
    assert done.returncode == 2 and "its folder does not exist" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("data", ["circle", "even", "uneven", "random-labels", "spiral", "disc"])
def test_quick_toy(tmp_path, data):
    done = run("toy2d.py", "--quick", "--data", data, "--json", "t.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = json.loads((tmp_path / "t.json").read_text())
    assert {"seed", "seconds", "train", "kkt", "methods"} <= table.keys()
    assert {"steps", "seconds", "loss", "margin_min", "normalised_margin"} == table["train"].keys()
    assert "floor" in table["kkt"]
    for method in ("full", "paper"):
        assert {"matched_05", "matched_03", "matched_01", "missed", "strays", "stray_mass"} | {
            "relative_residual",
            "seconds",
        } <= table["methods"][method].keys()
    assert (tmp_path / "toy2d.png").stat().st_size > 10_000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.json", "toy2d.png"]


@pytest.mark.slow
def test_animation_and_single_methods(tmp_path):
    done = run("toy2d.py", "--quick", "--method", "full", "--animate", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "toy2d.gif").read_bytes().startswith(b"GIF")
    done = run("toy2d.py", "--quick", "--method", "paper", "--save", "p.pdf", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "p.pdf").read_bytes().startswith(b"%PDF")


SCORES = {"ncc_top10", "ncc_08", "ncc_09", "ssim_top10", "ssim_04"}


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_quick_image_demo(tmp_path, name):
    done = run(f"{name}.py", "--quick", "--json", "t.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = json.loads((tmp_path / "t.json").read_text())
    assert {"n", "width", "train", "kkt", "floor", "seconds", "scores"} <= table.keys()
    assert {"steps", "seconds", "loss", "train_error", "test_error"} <= table["train"].keys()
    assert table["train"]["loss"] <= 4e-6 and table["train"]["train_error"] == 0
    for which in ("data", "unseen"):
        assert table["scores"][which].keys() == SCORES
    assert table["scores"]["data"]["ncc_08"] >= 4 > table["scores"]["unseen"]["ncc_08"]
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    assert "100%" in done.stdout + done.stderr  # progress, by tqdm on stderr


@pytest.mark.slow
def test_image_demo_refuses_before_any_work(tmp_path):
    for options, message in (
        (["--json", "nowhere/t.json"], "its folder does not exist"),
        (["--data", "nowhere"], "download_images"),
        (["--n", "7"], "even"),
        (["--restarts", "1"], "at least 2"),
        (["--seed", "-1"], ">= 0"),
    ):
        done = run("mnist.py", *options, cwd=tmp_path)
        assert done.returncode == 2 and message in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


@pytest.mark.slow
def test_resuming_another_run_is_refused(tmp_path):
    assert run("mnist.py", "--quick", cwd=tmp_path).returncode == 0
    done = run("mnist.py", "--quick", "--seed", "1", "--resume", cwd=tmp_path)
    assert done.returncode == 2 and "seed 0 instead of 1" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["margin", "baselines"])
@pytest.mark.parametrize("images", ["mnist", "cifar10"])
def test_quick_margin_and_baselines(tmp_path, name, images):
    done = run(f"{name}.py", "--quick", "--images", images, "--json", "t.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    table = json.loads((tmp_path / "t.json").read_text())
    if name == "baselines":
        ours = table["methods"]["ours, from the weights"]
        inversion = table["methods"]["model inversion"]
        assert ours["data"]["ncc_top10"] > inversion["data"]["ncc_top10"] + 0.2
    else:
        assert len(table["panels"]) == 4 and abs(table["spearman"]) <= 1


@pytest.mark.slow
def test_quick_search(tmp_path):
    done = run("search.py", "--quick", "--json", "t.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again = run("search.py", "--quick", "--json", "u.json", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    tables = [json.loads((tmp_path / f"{name}.json").read_text()) for name in "tu"]
    assert tables[0]["trials"] == tables[1]["trials"]


@pytest.mark.slow
def test_the_papers_attack_runs_on_images(tmp_path):
    done = run("mnist.py", "--quick", "--attack", "paper", "--json", "t.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = json.loads((tmp_path / "t.json").read_text())
    assert table["attack"] == "paper" and table["restarts"] == 4


@pytest.mark.slow
@pytest.mark.parametrize("name, images, top10", [("mnist", 15, 0.88), ("cifar10", 5, 0.75)])
def test_default_image_demo_shows_recognisable_images(tmp_path, name, images, top10):
    """Measured 2026-11-23, two cores, seed 0: 22 digits, 0.92; 6 of 10 pictures, 0.83."""
    environment = os.environ | {"KKT_REF_DATA": "", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, str(ROOT / "demos" / f"{name}.py"), "--json", "t.json"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=300)
    scores = json.loads((tmp_path / "t.json").read_text())["scores"]
    assert scores["data"]["ncc_08"] >= images and scores["data"]["ncc_top10"] >= top10
    assert scores["unseen"]["ncc_08"] <= 1


@pytest.mark.slow
def test_verify_pytorch(tmp_path):
    pytest.importorskip("torch", reason="needs pip install torch")
    done = run("verify_pytorch.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = run("verify_pytorch.py", "--mistake", cwd=tmp_path)
    assert wrong.returncode == 1 and "matches if divided by m" in wrong.stdout


@pytest.mark.slow
def test_quick_benchmark(tmp_path):
    done = run("benchmark.py", "--quick", "--json", "t.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "t.json").read_text())
    assert {"closed form", "autograd", "matrix products"} <= {row["implementation"] for row in rows}
    keys = {"task", "sizes", "m", "dtype", "implementation", "seconds", "ratio_to_pytorch"}
    assert all(row.keys() >= keys | {"ratio_to_products"} for row in rows)
    assert {"loss-scaled descent, float32", "paper's SGD"} <= {r["implementation"] for r in rows}
    assert 0 < rows[-1]["megabytes"] < 600
    assert (tmp_path / "benchmark.png").stat().st_size > 5_000


def test_a_failed_download_is_an_error_of_the_command_line(monkeypatch, capsys, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "demos"))
    import image_demo

    from kkt_ref.datasets import DownloadError

    def stopped(name, progress):
        raise DownloadError(f"{name}: expected 10 bytes, stopped at 5")

    monkeypatch.setattr(image_demo, "download_images", stopped)
    with pytest.raises(SystemExit) as ended:
        image_demo.main("mnist", "", {}, ["--download", "--save", str(tmp_path / "m.png")])
    assert ended.value.code == 2 and "stopped at 5" in capsys.readouterr().err

"""The README's session and the demos run as they are printed."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_the_readme_proves_itself(capsys):
    session = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S).group(1)
    exec(compile(session, "README.md", "exec"), {})
    assert capsys.readouterr().out.split() == ["True", "True", "True"]


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

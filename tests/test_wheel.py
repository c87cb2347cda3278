"""The wheel installs into an empty environment and passes its tests there."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ("kkt_ref", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    if not (ROOT / "setup.cfg").exists():
        pytest.skip("needs the repository: there is nothing to build a wheel from")
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in SOURCE:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, source / name)
    run(sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "-w", built, cwd=source)
    (wheel,) = built.iterdir()
    return wheel


def run(*command, cwd):
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    assert wheel.name.endswith("-py3-none-any.whl") and wheel.stat().st_size < 2_000_000
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packed = {name for name in names if name.startswith("kkt_ref/")}
    here = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "kkt_ref").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == here
    assert all(".dist-info/" in name for name in names - packed)
    assert any(name.endswith("/LICENSE") for name in names - packed)


@pytest.mark.slow
def test_the_installed_wheel_passes_its_tests(wheel, tmp_path):
    venv.create(tmp_path / "empty", with_pip=True)
    python = tmp_path / "empty" / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(python, "-m", "pip", "install", "--quiet", f"{wheel}[test]", cwd=tmp_path)
    away = tmp_path / "away"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "tests", away / "tests", ignore=ignore)
    where = run(python, "-c", "import kkt_ref; print(kkt_ref.__file__)", cwd=away)
    assert (tmp_path / "empty").resolve() in Path(where.strip()).resolve().parents
    shutil.copy(ROOT / "setup.cfg", away)  # how the tests are run
    said = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=away)
    assert " passed" in said
    run(python, "-m", "kkt_ref", "questions", "q.npz", cwd=away)

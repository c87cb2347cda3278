"""The wheel installs into an empty environment and passes its tests there."""

import os
import shutil
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.programs import run_python

ROOT = Path(__file__).parents[1]
WITHOUT_CACHE = shutil.ignore_patterns("__pycache__")


def run(*arguments, cwd, python=sys.executable):
    done = run_python(*arguments, cwd=cwd, python=python, PYTHONPATH="")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_passes_its_tests_in_an_empty_environment(tmp_path):
    if not (ROOT / "setup.cfg").exists():
        pytest.skip("needs the repository: there is nothing to build a wheel from")
    source, away, empty = (tmp_path / name for name in ("source", "away", "empty"))
    shutil.copytree(ROOT / "kkt_ref", source / "kkt_ref", ignore=WITHOUT_CACHE)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run("-m", "pip", "wheel", ".", "--no-deps", "-w", tmp_path, cwd=source)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl") and wheel.stat().st_size < 2_000_000
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packed = {name for name in names if name.startswith("kkt_ref/")}
    here = [path for path in (ROOT / "kkt_ref").rglob("*") if path.is_file()]
    here = [path.relative_to(ROOT) for path in here if "__pycache__" not in path.parts]
    assert packed == {path.as_posix() for path in here}
    assert all(".dist-info/" in name for name in names - packed)
    assert any(name.endswith("/LICENSE") for name in names - packed)

    venv.create(empty, with_pip=True)
    python = empty / ("Scripts" if os.name == "nt" else "bin") / "python"
    shutil.copytree(ROOT / "tests", away / "tests", ignore=WITHOUT_CACHE)
    shutil.copy(ROOT / "setup.cfg", away)  # how the tests are run
    run("-m", "pip", "install", "--quiet", f"{wheel}[test]", cwd=away, python=python)
    where = run("-c", "import kkt_ref; print(kkt_ref.__file__)", cwd=away, python=python)
    assert empty.resolve() in Path(where.strip()).resolve().parents
    said = run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=away, python=python)
    assert " passed" in said
    run("-m", "kkt_ref", "questions", "q.npz", cwd=away, python=python)

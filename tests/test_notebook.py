"""The classroom's notebook: stored without outputs, and its cells run in order."""

import json
import re
from pathlib import Path

import pytest

from tests.programs import run_python

NOTEBOOK = Path(__file__).parent.parent / "demos" / "toy2d.ipynb"


def notebook():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def source(kind):
    return ["".join(cell["source"]) for cell in notebook()["cells"] if cell["cell_type"] == kind]


def test_notebook_is_valid_cleared_and_needs_the_package_and_matplotlib_only():
    content = notebook()
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    cells = content["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", cell["id"]) for cell in cells)
    for cell in cells:
        assert cell["cell_type"] in ("markdown", "code") and cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
    imported = re.findall(r"^(?:import|from) (\w+)", "\n".join(source("code")), re.M)
    assert set(imported) == {"kkt_ref", "matplotlib", "numpy", "os"}


@pytest.mark.slow
def test_notebook_finds_what_it_says(tmp_path):
    run = (
        "import json, sys\n"
        "namespace = {}\n"
        "for cell in json.load(sys.stdin):\n"
        "    exec(compile(cell, 'cell', 'exec'), namespace)\n"
        "print(json.dumps(namespace['found']))\n"
    )
    done = run_python("-c", run, cwd=tmp_path, said=json.dumps(source("code")))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    claimed = re.search(r"bring back all (\d+) points", "\n".join(source("markdown"))).group(1)
    assert found["all four conditions"] == int(claimed) == 20
    assert 5 <= found["stationarity alone"] <= 15  # "about half"
    assert not list(tmp_path.iterdir())

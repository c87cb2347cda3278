"""The two demos of the course that stand alone: the conditions and the floor."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

DEMOS = Path(__file__).parent.parent / "demos"


def run(name, tmp_path, *options):
    command = [sys.executable, str(DEMOS / f"{name}.py"), "--quick", "--json", "t.json", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    return json.loads((tmp_path / "t.json").read_text())


@pytest.mark.slow
def test_each_change_breaks_the_conditions_it_should(tmp_path):
    table = run("conditions", tmp_path)
    true, lines = table["conditions"].pop("true data"), table["conditions"]
    assert true["stationarity"] < 1e-4 and true["primal_feasibility"] == 0
    split = lines.pop("a point split in two")
    assert split == pytest.approx(true, rel=1e-6)  # why stationarity has many solutions
    assert all(line["stationarity"] > 0.1 for line in lines.values())
    assert lines["a label flipped"]["primal_feasibility"] > 2
    negative = {name for name, line in lines.items() if line["dual_feasibility"] > 0}
    assert negative == {"a multiplier's sign flipped"}
    sweep = table["sweep"]
    kept, fitted = sweep["multipliers kept"], sweep["multipliers fitted again"]
    assert all(again <= before + 1e-9 for before, again in zip(kept, fitted, strict=True))


@pytest.mark.slow
def test_free_kinks_lower_the_floor(tmp_path):
    table = run("floor", tmp_path)
    for row in table["training"]:
        floors = row["floors"]
        assert len(floors["hard gates"]["by_layer"]) == 3
        assert (
            floors["gates free at the kinks (Clarke)"]["relative"]
            <= floors["hard gates"]["relative"] + 1e-9
        )
    assert len(table["attack"]) == 2
    for start in table["attack"]:
        assert start["residual"][-1] < start["residual"][0] and start["matched"] <= 20


@pytest.mark.parametrize("name", ["conditions", "floor"])
def test_refused_before_any_work(tmp_path, name):
    command = [sys.executable, str(DEMOS / f"{name}.py"), "--json", "nowhere/t.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "its folder does not exist" in done.stderr
    assert not list(tmp_path.iterdir())

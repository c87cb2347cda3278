"""The architecture: imports go one way, and no file grows too long to read."""

import ast
import re
from pathlib import Path

import pytest

import kkt_ref

ROOT = Path(__file__).parent.parent
LIBRARY = Path(kkt_ref.__file__).parent
PRIVATE = {"_validation", "_io", "_parallel"}
CORE = PRIVATE | {"network", "stationarity", "kkt"}
# each room, and the rooms that it may import from
MAY_IMPORT = {
    "_validation": set(),
    "_io": {"_validation"},
    "_parallel": {"_validation"},
    "network": PRIVATE,
    "stationarity": PRIVATE | {"network"},
    "kkt": PRIVATE | {"network", "stationarity"},
    "training": CORE,
    "attacks": CORE,
    "metrics": PRIVATE,
    "datasets": PRIVATE,
    "conformance": CORE | {"metrics"},
    "audit": CORE | {"attacks", "metrics"},
}
DOORS = {"__init__", "__main__"}  # of the whole library: they may import every room


def rooms():
    for path in LIBRARY.rglob("*.py"):
        room = path.relative_to(LIBRARY).parts[0].removesuffix(".py")
        yield path, room


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("kkt_ref."):
                yield name.split(".")[1]


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_imports_go_one_way(room):
    allowed = MAY_IMPORT[room] | {room}
    for path, its_room in rooms():
        if its_room == room:
            wrong = set(imported_rooms(path)) - allowed
            assert not wrong, f"{path.relative_to(LIBRARY)} imports {sorted(wrong)}"


def test_every_room_is_known():
    assert {room for _, room in rooms()} == set(MAY_IMPORT) | DOORS


def lines(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_file_is_too_long_to_read():
    long = {path.name: lines(path) for path, _ in rooms() if lines(path) > 450}
    assert not long


def budgets():
    """The lines of each room, as the README's map of the house states them."""
    readme = ROOT / "README.md"  # a wheel is tested without it
    table = readme.read_text(encoding="utf-8") if readme.exists() else ""
    return {room: int(number) for room, number in re.findall(r"\| `(\w+)` \| (\d+) \|", table)}


@pytest.mark.parametrize(("room", "budget"), budgets().items())
def test_rooms_are_as_small_as_the_readme_says(room, budget):
    inside = [path for path, its_room in rooms() if its_room == room]
    assert sum(lines(path) for path in inside if "embedded" not in path.parts) <= budget


@pytest.mark.skipif(not budgets(), reason="needs the repository's README.md")
def test_the_readme_has_a_budget_for_each_room():
    assert set(budgets()) == set(MAY_IMPORT) - PRIVATE

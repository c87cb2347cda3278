"""Bugs planted in two right implementations: each is caught, and its name is never wrong.

A bug replaces a piece of the source by another.  What the kit names then is "" where it knows no
name, and only facts may be stated.
"""

import re
import tomllib
import types
from pathlib import Path

import pytest

from kkt_ref.conformance import check_implementation
from kkt_ref.conformance.result import summary
from tests.planted.states import STATES

FOLDER = Path(__file__).parent / "planted"
STYLES = {"torch_modules": "float32", "arrays": "float64"}
BUGS = tomllib.loads((FOLDER / "bugs.toml").read_text(encoding="utf-8"))  # by style and piece


def options(style):
    lacking = {"*: *gates": "ReLU and softplus only"} if style == "torch_modules" else {}
    return {"dtype": STYLES[style], "on_fail": "return", "expected_failures": lacking}


def adapter(style, old="", new=""):
    """The implementation of a style, after a replacement in its source."""
    if style == "torch_modules":
        pytest.importorskip("torch", reason="needs pip install torch")
    source = (FOLDER / f"{style}.py").read_text(encoding="utf-8")
    assert old in source, f"{style}: {old!r} is not in the source"
    module = types.ModuleType(style)
    exec(compile(source.replace(old, new), f"{style}.py", "exec"), module.__dict__)
    return module.Adapter()


ROWS = [
    (style, old, *row)
    for style, pieces in BUGS.items()
    for old, rows in pieces.items()
    for row in rows.items()
]
PLANTED = [  # all are many minutes
    pytest.param(*row, marks=[pytest.mark.slow] if row[0] != "arrays" or number % 5 else [])
    for number, row in enumerate(ROWS)
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("style", "old", "new", "name"), PLANTED)
def test_planted_bugs_are_caught_and_named(style, old, new, name):
    lines = summary(check_implementation(adapter(style, old, new), **options(style)))
    assert lines and re.search(name, lines[0]), lines
    causes = [line for line in lines if line.startswith("the cause")]
    assert all(name and re.search(name, line) for line in causes), causes


@pytest.mark.parametrize("words", STATES)
def test_state_between_calls_is_caught(words):
    lines = summary(check_implementation(STATES[words], on_fail="return"))
    assert re.search(words, "\n".join(lines), re.MULTILINE), lines


@pytest.mark.parametrize("style", ["arrays", pytest.param("torch_modules", marks=pytest.mark.slow)])
def test_without_a_bug_they_are_right(style):
    for dtype in {STYLES[style], "float64"}:
        results = check_implementation(adapter(style), **options(style) | dict(dtype=dtype))
        assert not summary(results)

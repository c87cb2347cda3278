"""Bugs planted in implementations of three styles: all are caught, none gets a wrong name."""

import pytest

from tests.planted_kit import BUGS, verdict

pytestmark = pytest.mark.slow


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_sixth_planted_bug():
    pytest.importorskip("torch", reason="needs pip install torch")
    found = {(style, bug[1]): verdict(style, *bug) for style in BUGS for bug in BUGS[style][::6]}
    assert not [bug for bug, (caught, *_) in found.items() if not caught]
    assert not [bug for bug, (_, _, wrong, _) in found.items() if wrong]
    assert sum(right for _, right, _, _ in found.values()) >= 0.75 * len(found)

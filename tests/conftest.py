"""Hypothesis profiles, and networks trained once for the whole session."""

import os

import numpy as np
import pytest
from hypothesis import settings

from kkt_ref import Softplus, init_uniform, loss_scaled_descent
from kkt_ref.toys import even_circle

settings.register_profile("dev", deadline=None, max_examples=50)
settings.register_profile(
    "ci", deadline=None, max_examples=50, derandomize=True, database=None, print_blob=True
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(scope="session")
def circle_net():
    """A softplus network on six points of a circle, trained until all sit on one margin."""
    x, y = even_circle(6)
    start = init_uniform((2, 30, 1), np.random.default_rng(1), activation=Softplus(30.0))
    return loss_scaled_descent(start, x, y, max_steps=6000, record_every=6000).net, x, y

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# before NumPy is loaded: small products are faster in one thread, and so are two test runs at once
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

quiet = [HealthCheck.too_slow]
settings.register_profile("dev", deadline=None, max_examples=25, suppress_health_check=quiet)
settings.register_profile(
    "ci", deadline=None, max_examples=40, derandomize=True, suppress_health_check=quiet
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# from an installed wheel, away from the repository, there are no demos to test
if not (Path(__file__).parent.parent / "demos").is_dir():
    about_demos = "cnn", "demos", "documents", "notebook", "one_page", "toy_page"
    collect_ignore = [f"test_{name}.py" for name in about_demos]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The working folder of all calls, with the files that they read."""
    from tests.public import prepare  # after the settings above

    made = tmp_path_factory.mktemp("files")
    prepare(made)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        yield made

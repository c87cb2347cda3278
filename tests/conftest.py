import os

from hypothesis import HealthCheck, settings

quiet = [HealthCheck.too_slow]
settings.register_profile("dev", deadline=None, max_examples=40, suppress_health_check=quiet)
settings.register_profile(
    "ci", deadline=None, max_examples=40, derandomize=True, suppress_health_check=quiet
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

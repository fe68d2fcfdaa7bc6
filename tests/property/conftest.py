"""How hard hypothesis tries: enough to find what is wrong, and quick enough to be run all the time."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "suite",
    max_examples=100,
    deadline=None,  # a busy machine is no failure
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")

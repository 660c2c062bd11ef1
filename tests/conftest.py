"""What all tests share beyond the fixtures of `libs/testkit`."""

from hypothesis import settings

# A slow machine is no failure; `tests/bench` measures. The same examples each time: a change is what turns a test red.
settings.register_profile("watchword", deadline=None, derandomize=True)
settings.load_profile("watchword")

"""What all tests share beyond the fixtures of `libs/testkit`."""

from hypothesis import settings

# A slow machine is no failure; `tests/bench` measures.
settings.register_profile("watchword", deadline=None)
settings.load_profile("watchword")

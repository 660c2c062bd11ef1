"""Identifiers sort by the time they were made."""

import time
from uuid import UUID

import pytest

from watchword_database.ids import new_id


@pytest.mark.spec("RFC 9562 5.7")
def test_later_ids_sort_later() -> None:
    made = []
    for _ in range(5):
        made.append(new_id())
        time.sleep(0.002)
    assert made == sorted(made)
    assert {UUID(each).version for each in made} == {7}

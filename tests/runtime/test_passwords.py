"""Password hashing in its bounded pool."""

import asyncio
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher, extract_parameters

from watchword_runtime import passwords
from watchword_runtime.passwords import Busy, Passwords


@pytest.fixture
def pool() -> Iterator[Passwords]:
    made = Passwords(threads=1, queue=3)
    yield made
    made.close()


async def test_a_password_verifies_against_its_hash_only(pool: Passwords) -> None:
    stored = await pool.hash("correct horse")
    assert (await pool.verify(stored, "correct horse")).ok
    assert not (await pool.verify(stored, "wrong horse")).ok
    parameters = extract_parameters(stored)
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19 * 1024, 2, 1)


@pytest.mark.row(52)
async def test_an_unknown_user_costs_the_same_work_and_never_fits(
    pool: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    check = PasswordHasher.verify

    def counting(self: PasswordHasher, stored: str, raw: bytes) -> bool:
        checked.append(stored)
        return bool(check(self, stored, raw))

    monkeypatch.setattr(PasswordHasher, "verify", counting)
    assert not (await pool.verify(None, "anything")).ok
    assert len(checked) == 1
    assert extract_parameters(checked[0]).memory_cost == passwords.MEMORY_KIB


@pytest.mark.row(54)
async def test_a_weaker_hash_is_replaced_at_the_next_sign_in(pool: Passwords) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash("old but right")
    verified = await pool.verify(old, "old but right")
    assert verified.ok
    assert verified.new_hash is not None
    assert (await pool.verify(verified.new_hash, "old but right")).new_hash is None


@pytest.mark.parametrize("stored", ["", "plain", "$argon2id$v=19$m=broken", "$2b$12$abcdefghijklmnopqrstuv"])
async def test_what_is_no_argon2_hash_fits_nothing(pool: Passwords, stored: str) -> None:
    assert not (await pool.verify(stored, "")).ok


@pytest.mark.row(54)
async def test_a_megabyte_is_refused_without_hashing(pool: Passwords) -> None:
    stored = await pool.hash("x" * 1024)
    assert not (await pool.verify(stored, "x" * 1_000_000)).ok
    with pytest.raises(ValueError, match="1024 bytes"):
        await pool.hash("é" * 513)


@pytest.mark.parametrize("password", ["\ud800", "\0", "🔑"])
async def test_any_text_is_a_password(pool: Passwords, password: str) -> None:
    assert not (await pool.verify(None, password)).ok


@pytest.mark.row(54)
async def test_more_than_the_queue_holds_is_refused_at_once(pool: Passwords) -> None:
    tries = [asyncio.create_task(pool.verify(None, "x")) for _ in range(10)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, Busy) for result in results) == 7
    assert not (await pool.verify(None, "x")).ok  # and it recovers

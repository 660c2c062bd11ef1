"""Keys by purpose, and sealing."""

import hmac
import json

import pytest

from watchword_events.names import Service
from watchword_runtime.keyring import (
    Keyring,
    KeyringError,
    Sealer,
    Unsealable,
    derive_service_keys,
    pair_purpose,
)

MASTER = b"m" * 32


def keyring(service: Service) -> Keyring:
    return Keyring(json.dumps(derive_service_keys(MASTER, service)))


def test_both_ends_of_a_pair_hold_the_same_key() -> None:
    purpose = pair_purpose(Service.AUTHZ, Service.ADMIN)
    assert keyring(Service.AUTHZ).key(purpose) == keyring(Service.ADMIN).key(purpose)
    assert keyring(Service.AUTHZ).key(purpose) != keyring(Service.AUTHZ).key(pair_purpose(Service.ADMIN, Service.AUTHZ))


def test_a_third_service_does_not_hold_a_pair_key() -> None:
    with pytest.raises(KeyringError, match="no key for the purpose"):
        keyring(Service.TOKEN).key(pair_purpose(Service.AUTHZ, Service.ADMIN))


@pytest.mark.parametrize("purpose", ["forms", "cursor"])
def test_a_purpose_of_every_service_has_a_key_of_its_own_in_each(purpose: str) -> None:
    assert len({keyring(service).key(purpose) for service in Service}) == len(Service)


@pytest.mark.parametrize("purpose", ["signing-keys", "encryption-keys", "refresh"])
def test_token_alone_holds_what_opens_signing_keys(purpose: str) -> None:
    holders = [service for service in Service if purpose in derive_service_keys(MASTER, service)]
    assert holders == [Service.TOKEN]


def test_provider_secrets_are_admins_and_federations() -> None:
    holders = {service for service in Service if "provider-secrets" in derive_service_keys(MASTER, service)}
    assert holders == {Service.ADMIN, Service.FEDERATION}
    assert keyring(Service.ADMIN).key("provider-secrets") == keyring(Service.FEDERATION).key("provider-secrets")


def test_facts_of_decisions_are_authzs_and_tokens() -> None:
    holders = {service for service in Service if "decision-facts" in derive_service_keys(MASTER, service)}
    assert holders == {Service.AUTHZ, Service.TOKEN}


@pytest.mark.spec("RFC 5869 2")
def test_keys_are_stable() -> None:
    """A changed derivation would lose every signing key and provider secret of every installation."""
    extracted = hmac.digest(b"watchword/keys/v1", MASTER, "sha256")
    expected = hmac.digest(extracted, b"token/signing-keys\x01", "sha256")
    assert keyring(Service.TOKEN).key("signing-keys") == expected
    assert expected.hex() == "fc42c6c7417d34b3fefef990aac82011f6c4892f852c22b98903f87f989c94e3"


def test_a_short_root_is_refused() -> None:
    with pytest.raises(KeyringError, match="root"):
        derive_service_keys(b"short", Service.TOKEN)


@pytest.mark.parametrize("keys", ["", "[]", '{"forms": 1}', '{"forms": "AAAA"}', '{"forms": "\u20ac"}', "nonsense"])
def test_what_is_no_keyring_is_refused(keys: str) -> None:
    with pytest.raises(KeyringError):
        Keyring(keys)


def test_what_was_sealed_opens_with_its_associated_data_only() -> None:
    sealer = Sealer(b"k" * 32, 1)
    sealed = sealer.seal(b"secret", b"row 1")
    assert Sealer(b"k" * 32, 2).open(sealed, b"row 1") == b"secret"
    for broken, aad in [
        (sealed, b"row 2"),
        (sealed[:-1], b"row 1"),
        (b"", b"row 1"),
        (sealed[:11] + b"\xff" * 30, b""),
    ]:
        with pytest.raises(Unsealable):
            sealer.open(broken, aad)
    with pytest.raises(Unsealable):
        Sealer(b"x" * 32, 1).open(sealed, b"row 1")


@pytest.mark.spec("NIST SP 800-38D 8.2.1")
def test_a_nonce_never_repeats() -> None:
    sealers = [Sealer(b"k" * 32, number) for number in (1, 2, 2**32 - 1)]
    nonces = {sealer.seal(b"", b"")[:12] for sealer in sealers for _ in range(1000)}
    assert len(nonces) == 3000


def test_a_process_number_beyond_32_bits_is_refused() -> None:
    with pytest.raises(OverflowError):
        Sealer(b"k" * 32, 2**32)

"""How a client proves who it is, as it registered that. Spec: RFC 6749 2.3; RFC 7523 2.2; RFC 8705 2."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final, Literal, get_args

from watchword_events.exports import ClientAuthMethod, ClientExport
from watchword_runtime.certificates import Subject, SubjectKind
from watchword_runtime.client_assertions import FAPI_ALGS, KEY_ALGS, SECRET_ALGS, AssertionKeys
from watchword_runtime.client_keys import RegisteredKeys, key_set
from watchword_runtime.settings import Network

# How credentials arrive. Who only names itself may be a public client, or one whose TLS connection proves it.
Way = Literal["client_secret_basic", "client_secret_post", "client_assertion", "none"]

_GENERATED: Final = "sha256:"
SEALED: Final = "sealed:"
_WAYS: Final[Mapping[ClientAuthMethod, Way]] = {
    "client_secret_basic": "client_secret_basic",
    "client_secret_post": "client_secret_post",
    "client_secret_jwt": "client_assertion",
    "private_key_jwt": "client_assertion",
    "tls_client_auth": "none",
    "self_signed_tls_client_auth": "none",
    "none": "none",
}


@dataclass(frozen=True, slots=True, eq=False)
class Proofs:
    """How a client proves who it is.

    digests: SHA-256 of generated secrets.  chosen: argon2id hashes of others.  keys: of its assertions and, with
    self_signed_tls_client_auth, its certificates.  subject: whom its certificate names.  networks: where its requests
    come from, anywhere when there are none.
    """

    method: ClientAuthMethod
    way: Way
    digests: tuple[bytes, ...] = ()
    chosen: tuple[str, ...] = ()
    keys: AssertionKeys | None = None
    subject: Subject | None = None
    networks: tuple[Network, ...] = ()


def proofs_of(export: ClientExport) -> Proofs:
    """What an exported client proves itself by."""
    method = export.token_endpoint_auth_method
    hashes = [secret.hash for secret in export.secrets]
    return Proofs(
        method=method,
        way=_WAYS[method],
        digests=tuple(bytes.fromhex(h.removeprefix(_GENERATED)) for h in hashes if h.startswith(_GENERATED)),
        chosen=tuple(h for h in hashes if not h.startswith((_GENERATED, SEALED))),
        keys=_keys_of(export, hashes),
        subject=_subject_of(export),
        networks=tuple(ip_network(network) for network in export.client_ip_ranges),
    )


def _keys_of(export: ClientExport, hashes: Sequence[str]) -> AssertionKeys | None:
    alg = export.token_endpoint_auth_signing_alg
    if export.token_endpoint_auth_method == "client_secret_jwt":
        sealed = [base64.b64decode(h.removeprefix(SEALED)) for h in hashes if h.startswith(SEALED)]
        return AssertionKeys(SECRET_ALGS, sealed=tuple(sealed))
    if export.token_endpoint_auth_method in {"private_key_jwt", "self_signed_tls_client_auth"}:
        usual = FAPI_ALGS if export.profile == "fapi2" else KEY_ALGS
        return AssertionKeys(usual if alg is None else (alg,), keys=registered_keys(export))
    return None


def registered_keys(export: ClientExport) -> RegisteredKeys:
    """Where an exported client's public keys are."""
    if export.jwks is None:
        return RegisteredKeys(jwks_uri=export.jwks_uri)
    return RegisteredKeys(key_set(export.jwks))


def _subject_of(export: ClientExport) -> Subject | None:
    kinds: tuple[SubjectKind, ...] = get_args(SubjectKind)
    named = ((kind, getattr(export, kind)) for kind in kinds)
    return next((Subject(kind, value) for kind, value in named if value is not None), None)

"""What a client gets in another form than everybody else, as it registered that."""

from typing import NamedTuple

from watchword_events.exports import ClientExport
from watchword_runtime.client_keys import RegisteredKeys
from watchword_runtime.client_proofs import registered_keys
from watchword_token.key_material import Alg


class Encryption(NamedTuple):
    """How something is encrypted for its client."""

    alg: str
    enc: str


class ClientFormats(NamedTuple):
    """What a client gets in another form than everybody else; None for the usual one.

    keys: where its own keys are.  userinfo_alg: what userinfo is signed with.
    """

    keys: RegisteredKeys
    id_token: Encryption | None
    userinfo_alg: Alg | None
    userinfo: Encryption | None
    introspection: Encryption | None


def formats_of(export: ClientExport) -> ClientFormats | None:
    """The formats that an exported client registered, None for one that wants none of its own."""
    id_token = _encryption(export.id_token_encrypted_response_alg, export.id_token_encrypted_response_enc)
    userinfo = _encryption(export.userinfo_encrypted_response_alg, export.userinfo_encrypted_response_enc)
    introspection = _encryption(
        export.introspection_encrypted_response_alg, export.introspection_encrypted_response_enc
    )
    found = ClientFormats(
        registered_keys(export), id_token, export.userinfo_signed_response_alg, userinfo, introspection
    )
    return found if any(found[1:]) else None


def _encryption(alg: str | None, enc: str) -> Encryption | None:
    return None if alg is None else Encryption(alg, enc)

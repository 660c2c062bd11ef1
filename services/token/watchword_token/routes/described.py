"""The hot endpoints as OpenAPI path items: FastAPI does not know them, so they are described by hand.

A test compares this with what the endpoints accept and answer.
"""

from collections.abc import Mapping
from itertools import chain
from typing import Any, Final, NamedTuple

from watchword_runtime.client_assertions import TYPE as ASSERTION
from watchword_runtime.receipts import PARAMETERS
from watchword_token.grants.device_code import GRANT_TYPE as DEVICE_CODE
from watchword_token.grants.jwt_bearer import GRANT_TYPE as JWT_BEARER
from watchword_token.grants.token_exchange import GRANT_TYPE as TOKEN_EXCHANGE
from watchword_token.subjects import ACCESS_TOKEN, JWT, TOKEN_TYPES

Item = Mapping[str, Any]  # OpenAPI's own shape

_ERROR: Final[Item] = {
    "description": "Refused",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error"],
                "properties": {"error": {"type": "string"}, "error_description": {"type": "string"}},
            }
        }
    },
}
_SECURITY: Final[list[dict[str, list[str]]]] = [{"client_secret_basic": []}, {}]
_CREDENTIALS: Final = {
    "client_id": {"type": "string"},
    "client_secret": {"type": "string"},
    "client_assertion": {"type": "string"},
    "client_assertion_type": {"type": "string", "enum": [ASSERTION]},
}
_TOKEN: Final = {"token": {"type": "string"}, "token_type_hint": {"type": "string"}}


def _object(properties: Mapping[str, Any], required: list[str]) -> Item:
    return {"type": "object", "required": required, "properties": dict(properties)}


def _operation(
    name: str, summary: str, *, answer: Item | None = None, form: Item | None = None, security: Any = None
) -> Item:
    answered: dict[str, Any] = {"description": "Done"}
    if answer is not None:
        answered["content"] = {"application/json": {"schema": answer}}
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "tags": ["token"],
        "responses": {"200": answered, "default": _ERROR},
    }
    if form is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/x-www-form-urlencoded": {"schema": form}},
        }
    if security is not None:
        operation["security"] = security
    return operation


class Described(NamedTuple):
    """A grant type: the fields that it reads of the form, and the errors that it has beside those of the endpoint."""

    required: tuple[str, ...]
    optional: tuple[str, ...]
    errors: tuple[str, ...]


GRANTS: Final[Mapping[str, Described]] = {
    "authorization_code": Described(
        ("code",),
        ("redirect_uri", "code_verifier", "resource", "authorization_details"),
        ("invalid_grant", "invalid_target", "invalid_authorization_details", "token_too_large"),
    ),
    "refresh_token": Described(
        ("refresh_token",),
        ("scope", "resource", "authorization_details"),
        ("invalid_grant", "invalid_scope", "invalid_target", "invalid_authorization_details", "token_too_large"),
    ),
    "client_credentials": Described(
        (), ("scope", "resource", "assertion"), ("invalid_grant", "invalid_scope", "invalid_target", "token_too_large")
    ),
    DEVICE_CODE: Described(
        ("device_code",),
        ("resource", "authorization_details"),
        (
            "authorization_pending", "slow_down", "access_denied", "expired_token", "invalid_grant", "invalid_target",
            "invalid_authorization_details", "token_too_large",
        ),
    ),
    TOKEN_EXCHANGE: Described(
        ("subject_token", "subject_token_type"),
        ("actor_token", "actor_token_type", "requested_token_type", "scope", "resource", "audience"),
        ("invalid_scope", "invalid_target", "token_too_large"),
    ),
    JWT_BEARER: Described(
        ("assertion",), ("scope", "resource"), ("invalid_grant", "invalid_scope", "invalid_target", "token_too_large")
    ),
}  # fmt: skip
# Whatever the grant type, by status.
TOKEN_ERRORS: Final[Mapping[int, tuple[str, ...]]] = {
    400: (
        "invalid_request", "unauthorized_client", "unsupported_grant_type", "use_dpop_nonce", "invalid_dpop_proof",
    ),
    401: ("invalid_client",),
    429: ("temporarily_unavailable",),
    503: ("temporarily_unavailable",),
}  # fmt: skip
_FIELDS: Final[Mapping[str, Item]] = {
    "code": {"type": "string"},
    "redirect_uri": {"type": "string", "format": "uri"},
    "code_verifier": {"type": "string", "minLength": 43, "maxLength": 128},
    "refresh_token": {"type": "string"},
    "device_code": {"type": "string"},
    "scope": {"type": "string"},
    "resource": {"type": "array", "items": {"type": "string", "format": "uri"}},
    "audience": {"type": "array", "items": {"type": "string"}},
    "authorization_details": {"type": "string", "contentMediaType": "application/json"},
    "subject_token": {"type": "string"},
    "subject_token_type": {"type": "string", "enum": list(TOKEN_TYPES)},
    "actor_token": {"type": "string"},
    "actor_token_type": {"type": "string", "enum": list(TOKEN_TYPES)},
    "requested_token_type": {"type": "string", "enum": [ACCESS_TOKEN, JWT]},
    "assertion": {"type": "string"},
}


def _form_of(grant_type: str, grant: Described) -> Item:
    fields = {name: _FIELDS[name] for name in (*grant.required, *grant.optional)}
    members = {"grant_type": {"type": "string", "enum": [grant_type]}, **fields, **_CREDENTIALS}
    return {"title": grant_type, **_object(members, ["grant_type", *grant.required])}


def _errors(*codes: str) -> Item:
    """A refusal with one of these codes. Spec: RFC 6749 5.2."""
    members = {"error": {"type": "string", "enum": list(codes)}, "error_description": {"type": "string"}}
    return {"description": "Refused", "content": {"application/json": {"schema": _object(members, ["error"])}}}


def _token_operation() -> Item:
    """Each grant type with the fields that it reads, and every error that there is."""
    operation = _operation(
        "issue_token",
        "Turn a grant into tokens",
        answer=_TOKEN_ANSWER,
        form={"oneOf": [_form_of(name, grant) for name, grant in GRANTS.items()]},
        security=[*_SECURITY, {"apiKey": []}, {"bearer": []}],
    )
    lines = [f"- `{name}`: {', '.join(f'`{error}`' for error in grant.errors)}" for name, grant in GRANTS.items()]
    common = ", ".join(f"`{error}`" for error in dict.fromkeys(chain(*TOKEN_ERRORS.values())))
    of_grants = dict.fromkeys(chain(TOKEN_ERRORS[400], *(grant.errors for grant in GRANTS.values())))
    responses = {str(status): _errors(*codes) for status, codes in TOKEN_ERRORS.items()}
    return {
        **operation,
        "description": "\n".join(
            ["Turn a grant into tokens.", "", f"Errors of every grant type: {common}. Beside them:", "", *lines]
        ),
        "parameters": [{"name": "DPoP", "in": "header", "schema": {"type": "string"}}],
        "responses": {**operation["responses"], **responses, "400": _errors(*of_grants)},
    }


_TOKEN_ANSWER: Final = _object(
    {
        "access_token": {"type": "string"},
        "token_type": {"type": "string", "enum": ["Bearer", "DPoP"]},
        "expires_in": {"type": "integer"},
        "scope": {"type": "string"},
        "refresh_token": {"type": "string"},
        "id_token": {"type": "string"},
        "issued_token_type": {"type": "string", "enum": [ACCESS_TOKEN, JWT]},
        "authorization_details": {"type": "array", "items": {"type": "object"}},
    },
    ["access_token", "token_type", "expires_in"],
)
_USERINFO: Final = _object({"sub": {"type": "string"}}, ["sub"])
_JWKS: Final = _operation("get_jwks", "Public signing keys", answer=_object({"keys": {"type": "array"}}, ["keys"]))
_METADATA: Final = _operation("get_metadata", "What this installation offers", answer=_object({}, ["issuer"]))

PATHS: Final[Mapping[str, Item]] = {
    "/oauth2/token": {"post": _token_operation()},
    "/oauth2/introspect": {
        "post": _operation(
            "introspect_token",
            "What a token means, for those it was meant for",
            answer=_object({"active": {"type": "boolean"}}, ["active"]),
            form=_object({**_TOKEN, **_CREDENTIALS}, ["token"]),
            security=_SECURITY,
        )
    },
    "/oauth2/revoke": {
        "post": {
            **_operation(
                "revoke_token",
                "End a token, and with a refresh token its whole family",
                form=_object({**_TOKEN, **_CREDENTIALS}, ["token"]),
                security=_SECURITY,
            ),
            "parameters": PARAMETERS,
        }
    },
    "/oauth2/userinfo": {
        "get": _operation("get_userinfo", "Claims of the person behind a token", answer=_USERINFO, security=[]),
        "post": _operation(
            "post_userinfo",
            "Claims of the person behind a token",
            answer=_USERINFO,
            form=_object({"access_token": {"type": "string"}}, []),
            security=[],
        ),
    },
    "/oauth2/jwks": {"get": _JWKS},
    "/.well-known/jwks.json": {"get": {**_JWKS, "operationId": "get_well_known_jwks"}},
    "/.well-known/openid-configuration": {"get": _METADATA},
    "/.well-known/oauth-authorization-server": {"get": {**_METADATA, "operationId": "get_oauth_metadata"}},
}

"""What the form of an application has beside its main part: each member with its label, its help and its control.

A member of `NewClient` that is neither here nor in the form's main part has a reason in
`tests/contracts/test_console.py`.
"""

from typing import Final

from watchword_admin.console.kinds.shapes import Field, Section
from watchword_web.texts import Text

_SIGNED: Final = (("ES256", "ES256"), ("RS256", "RS256"), ("EdDSA", "EdDSA"))
_ANY: Final = (("", "–"),)
_WRAPPED: Final = (
    *_ANY,
    ("RSA-OAEP-256", "RSA-OAEP-256"),
    ("ECDH-ES", "ECDH-ES"),
    ("ECDH-ES+A256KW", "ECDH-ES+A256KW"),
)
_CONTENT: Final = (*_ANY, ("A128CBC-HS256", "A128CBC-HS256"), ("A128GCM", "A128GCM"), ("A256GCM", "A256GCM"))
_ASSERTED: Final = (*_ANY, *((alg, alg) for alg in ("ES256", "EdDSA", "Ed25519", "PS256", "RS256", "HS256")))
_REQUESTED: Final = (*_ANY, *((alg, alg) for alg in ("ES256", "RS256", "PS256", "EdDSA", "Ed25519")))

SECTIONS: Final[tuple[Section, ...]] = (
    Section(
        Text("Who may use it"),
        (
            Field(
                name="access",
                label="Access rules",
                control="choice",
                options=(
                    ("auto", "Count as soon as one stands for it"),
                    ("rules", "Nobody gets in whom no rule lets in"),
                    ("open", "Do not count: whoever has an account may use it"),
                ),
                hint="Which people the application is for",
            ),
            Field(
                name="organization",
                label="Organization",
                hint="Its short name; permissions are those that people have within it",
            ),
            Field(
                name="required_permission",
                label="Required permission",
                hint="Only people who have it may sign in to it",
            ),
            Field(
                name="permission_scope",
                label="Permissions that count, as JSON",
                control="json",
                hint='The most that anybody may through it: ["tickets:use"]. Empty: no bound; []: nothing',
            ),
            Field(
                name="personal_credentials",
                label="Scripts of persons get tokens",
                control="switch",
                hint="With an API key of the person, and the grant type client credentials",
            ),
            Field(
                name="client_ip_ranges",
                label="Addresses that it calls from",
                control="lines",
                hint="Networks, one a line; from anywhere when empty",
            ),
            Field(
                name="bind_session_ip",
                label="Tokens are bound to the person's address",
                control="switch",
                hint="The application says for whom it asks, from one of its own addresses",
            ),
        ),
    ),
    Section(
        Text("What people are shown"),
        (
            Field(name="logo_uri", label="Logo", hint="Its address, with https"),
            Field(name="policy_uri", label="Privacy policy", hint="Its address, beside the question for consent"),
            Field(name="tos_uri", label="Terms of use", hint="Their address, beside the question for consent"),
            Field(
                name="contacts", label="Contacts", control="lines", spaced=True, hint="Who answers for it, one a line"
            ),
            Field(name="software_id", label="Software", hint="What it is an installation of"),
            Field(name="software_version", label="Version of the software", hint="For your own overview"),
        ),
    ),
    Section(
        Text("How long people stay signed in"),
        (
            Field(
                name="refresh_idle_s",
                label="Life of an unused refresh token, in seconds",
                control="number",
                hint="Each use begins it anew; 1209600 are two weeks",
            ),
            Field(
                name="refresh_max_s",
                label="Life of a grant, in seconds",
                control="number",
                hint="However often it is refreshed; 7776000 are 90 days",
            ),
            Field(
                name="backchannel_logout_uri",
                label="Sign-out notice",
                hint="Called by Watchword when a session ends (back-channel logout)",
            ),
            Field(
                name="backchannel_logout_session_required",
                label="The notice names the session",
                control="switch",
                hint="With sid, not the person alone",
            ),
            Field(
                name="frontchannel_logout_uri",
                label="Sign-out frame",
                hint="Loaded in the browser at sign-out; of the origin of a redirect URI",
            ),
            Field(
                name="frontchannel_logout_session_required",
                label="The frame's address names the session",
                control="switch",
                hint="With iss and sid",
            ),
        ),
    ),
    Section(
        Text("How it proves who it is"),
        (
            Field(name="jwks_uri", label="Address of its keys", hint="Where its public keys are, if not below"),
            Field(
                name="jwks",
                label="Its public keys, as JSON",
                control="json",
                hint='{"keys": […]}; for signed proofs, its certificate, request objects and encryption',
            ),
            Field(
                name="token_endpoint_auth_signing_alg",
                label="Signs its proofs with",
                control="choice",
                options=_ASSERTED,
                hint="Only this algorithm is accepted; any that fits when none is chosen",
            ),
            Field(
                name="tls_client_auth_subject_dn",
                label="Subject of its certificate",
                hint="CN=app,O=Example; of these five names exactly one is needed",
            ),
            Field(name="tls_client_auth_san_dns", label="Certificate's host name", hint="app.example.com"),
            Field(name="tls_client_auth_san_uri", label="Certificate's URI", hint="spiffe://example.com/app"),
            Field(name="tls_client_auth_san_ip", label="Certificate's address", hint="192.0.2.7"),
            Field(name="tls_client_auth_san_email", label="Certificate's e-mail", hint="app@example.com"),
            Field(
                name="dpop_bound_access_tokens",
                label="Its tokens are bound to a key (DPoP)",
                control="switch",
                hint="Nobody else can use one",
            ),
            Field(
                name="tls_client_certificate_bound_access_tokens",
                label="Its tokens are bound to its certificate",
                control="switch",
                hint="Nobody else can use one",
            ),
            Field(
                name="profile",
                label="Profile",
                control="choice",
                options=(("", "None"), ("fapi2", "FAPI 2.0: as strict as banks ask for")),
                hint="What the profile asks for is switched on, what it forbids is refused",
            ),
        ),
    ),
    Section(
        Text("How it asks"),
        (
            Field(
                name="require_pushed_authorization_requests",
                label="Requests are pushed",
                control="switch",
                hint="It sends what it asks for itself, not through the browser",
            ),
            Field(
                name="require_signed_request_object",
                label="Requests are signed",
                control="switch",
                hint="Unsigned ones are refused",
            ),
            Field(
                name="request_object_signing_alg",
                label="Signs its requests with",
                control="choice",
                options=_REQUESTED,
                hint="Needs its keys; without, request objects are refused",
            ),
            Field(
                name="response_types",
                label="Response types",
                control="lines",
                spaced=True,
                hint="One a line, for example code id_token; as the grant types say when empty",
            ),
            Field(
                name="response_modes",
                label="Response modes",
                control="lines",
                hint="query, fragment, form_post, or one of them with .jwt; one a line, the usual when empty",
            ),
            Field(
                name="authorization_details_types",
                label="Types of authorization details",
                control="lines",
                hint="That it may ask for, one a line",
            ),
            Field(
                name="exchange_policies",
                label="What it may exchange tokens for, as JSON",
                control="json",
                hint='[{"audiences": ["https://api.example.com"], "scope": "orders:read"}]',
            ),
        ),
    ),
    Section(
        Text("What its tokens say"),
        (
            Field(
                name="subject_type",
                label="Ids of people",
                control="choice",
                options=(("public", "The same for every application"), ("pairwise", "Others for each sector")),
                hint="Applications of different sectors cannot compare the people of pairwise ids",
            ),
            Field(
                name="sector_identifier_uri",
                label="Address of its sector",
                hint="A list of all its redirect URIs; needed when they have several hosts",
            ),
            Field(name="groups_claim", label="Claim of groups", hint="Under which name it is told of groups"),
            Field(
                name="groups_filter",
                label="Groups that it is told of",
                control="lines",
                spaced=True,
                hint="Regular expressions, one a line; all groups when empty",
            ),
            Field(
                name="max_token_bytes",
                label="Longest token, in bytes",
                control="number",
                hint="A larger one is refused; for applications that keep it in a cookie",
            ),
            Field(
                name="userinfo_claims_only",
                label="Claims of the person at userinfo alone",
                control="switch",
                hint="The ID token says who it is and nothing more",
            ),
        ),
    ),
    Section(
        Text("How documents are signed and encrypted"),
        (
            Field(
                name="access_token_signing_alg",
                label="Access tokens are signed with",
                control="choice",
                options=_SIGNED,
                hint="As resource servers can check it",
            ),
            Field(
                name="id_token_signed_response_alg",
                label="ID tokens are signed with",
                control="choice",
                options=_SIGNED,
                hint="As the application can check it",
            ),
            Field(
                name="id_token_encrypted_response_alg",
                label="ID tokens are encrypted with",
                control="choice",
                options=_WRAPPED,
                hint="Needs a key of the application",
            ),
            Field(
                name="id_token_encrypted_response_enc",
                label="Content encryption of ID tokens",
                control="choice",
                options=_CONTENT,
                hint="A128CBC-HS256 when none is chosen",
            ),
            Field(
                name="userinfo_signed_response_alg",
                label="Userinfo is signed with",
                control="choice",
                options=(*_ANY, *_SIGNED),
                hint="JSON without a signature when none is chosen",
            ),
            Field(
                name="userinfo_encrypted_response_alg",
                label="Userinfo is encrypted with",
                control="choice",
                options=_WRAPPED,
                hint="Needs a key of the application",
            ),
            Field(
                name="userinfo_encrypted_response_enc",
                label="Content encryption of userinfo",
                control="choice",
                options=_CONTENT,
                hint="A128CBC-HS256 when none is chosen",
            ),
            Field(
                name="introspection_signed_response_alg",
                label="Signed introspection is signed with",
                control="choice",
                options=_SIGNED,
                hint="Where it asks for a JWT",
            ),
            Field(
                name="introspection_encrypted_response_alg",
                label="Signed introspection is encrypted with",
                control="choice",
                options=_WRAPPED,
                hint="Needs a key of the application",
            ),
            Field(
                name="introspection_encrypted_response_enc",
                label="Content encryption of introspection",
                control="choice",
                options=_CONTENT,
                hint="A128CBC-HS256 when none is chosen",
            ),
            Field(
                name="authorization_signed_response_alg",
                label="Authorization responses are signed with",
                control="choice",
                options=_SIGNED,
                hint="In the response modes with .jwt",
            ),
        ),
    ),
)
FIELDS: Final = tuple(field for section in SECTIONS for field in section.fields)

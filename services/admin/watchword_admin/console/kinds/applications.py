"""What applications are, may ask for and are registered with."""

from typing import Final

from watchword_admin.console.kinds.shapes import CHANGED, DESCRIPTION, SINCE, Column, Deed, Field, Kind, delete

SCOPES: Final = Kind(
    room="scopes",
    path="scopes",
    title="Scopes",
    lead="What applications may ask for, beside what every installation has, and the claims that it opens.",
    empty="There is none of your own yet: applications may ask for the usual ones.",
    new="New scope",
    name="name",
    changes=True,
    columns=(
        Column("name", "Name", "code"),
        Column("description", "What people are asked to allow"),
        Column("is_default", "For every new application", "flag"),
        CHANGED,
    ),
    details=(Column("id", "ID", "code"), SINCE, CHANGED),
    fields=(
        Field(name="name", label="Name", fixed=True, required=True, hint="As applications ask for it"),
        Field(name="description", label="What people are asked to allow", required=True),
        Field(
            name="claims",
            label="Claims, as JSON",
            control="json",
            hint='[{"name": "department", "expression": "claims.department", "appears_in": ["userinfo"]}]',
        ),
        Field(name="is_default", label="Applications that are registered without a scope have it", control="switch"),
    ),
    deeds=(delete("It opens nothing any more, and applications that ask for it do not get it."),),
)
RESOURCES: Final = Kind(
    room="resources",
    path="resources",
    title="Resource servers",
    lead="Services that tokens are for. The identifier is the audience of their tokens.",
    empty="There is none: tokens are for what applications list.",
    new="New resource server",
    name="name",
    changes=True,
    columns=(
        Column("name", "Name"),
        Column("identifier", "Identifier", "code"),
        Column("scopes", "Scopes", "list", none="all"),
        Column("any_client", "For every application", "flag"),
        CHANGED,
    ),
    details=(Column("id", "ID", "code"), SINCE, CHANGED),
    fields=(
        Field(
            name="identifier", label="Identifier", fixed=True, required=True, hint="https://api.example.com, for ever"
        ),
        Field(name="name", label="Name", required=True),
        Field(name="scopes", label="Scopes", control="lines", hint="That tokens for it may have; empty for any"),
        Field(name="any_client", label="Every application may ask for tokens for it", control="switch"),
        Field(
            name="access_token_format",
            label="Access tokens",
            control="choice",
            options=(("", "As the application has them"), ("jwt", "JWT"), ("opaque", "Opaque")),
        ),
        Field(name="access_token_lifetime_s", label="Life of access tokens, in seconds", control="number"),
        Field(
            name="access_token_signing_alg",
            label="Signed with",
            control="choice",
            options=(("", "As the application has it"), ("ES256", "ES256"), ("RS256", "RS256"), ("EdDSA", "EdDSA")),
        ),
    ),
    deeds=(delete("Applications that list its identifier still get tokens for it; others do not."),),
)
SERVICE_ACCOUNTS: Final = Kind(
    room="service-accounts",
    path="service-accounts",
    title="Service accounts",
    lead="What access rules let people and workloads act as. A token carries its name and its roles.",
    empty="There is none yet. Once there is one, an access rule can lead to it.",
    new="New service account",
    key="name",
    name="name",
    changes=True,
    columns=(
        Column("name", "Name", "code"),
        Column("description", "Description"),
        Column("roles", "Roles", "list"),
        CHANGED,
    ),
    details=(SINCE, CHANGED),
    fields=(
        Field(name="name", label="Name", fixed=True, required=True, hint="team/deployer"),
        DESCRIPTION,
        Field(name="roles", label="Roles", control="lines", hint="One a line"),
    ),
    deeds=(delete("Not possible while a rule leads to it."),),
)
REGISTRATION_TOKENS: Final = Kind(
    room="registration-tokens",
    path="registration-tokens",
    title="Registration tokens",
    lead="With one of these a program registers applications by itself, within the limits that are set here.",
    empty="Nobody may register applications but administrators.",
    new="New registration token",
    name="name",
    once="token",
    columns=(
        Column("name", "Name"),
        Column("uses_left", "Uses left"),
        Column("grant_types", "Grant types", "list"),
        Column("redirect_hosts", "Hosts", "list", none="all"),
        Column("expires_at", "Ends", "time", none="never"),
        Column("revoked_at", "Revoked", "time"),
        Column("created_by", "Made by", "user"),
    ),
    fields=(
        Field(name="name", label="Name", required=True),
        Field(name="uses", label="Uses", control="number", first="1"),
        Field(name="expires_in_s", label="Ends after, in seconds", control="number", first="86400"),
        Field(name="scope", label="Scope", hint="That its applications may have at most; empty for the usual"),
        Field(name="grant_types", label="Grant types", control="lines", first="authorization_code\nrefresh_token"),
        Field(name="redirect_hosts", label="Hosts of redirect URIs", control="lines", hint="*.example.com; one a line"),
    ),
    deeds=(
        delete(
            "Nothing is registered with it any more. What was registered stays.",
            label="Revoke",
            when=("revoked_at", (None,)),
        ),
    ),
)
CLIENT_DOCUMENTS: Final = Kind(
    room="client-documents",
    path="client-documents",
    title="Documents on the web",
    lead="Applications whose id is the address of a document that describes them. Nobody here has vouched for them.",
    empty="None yet. One is listed once an application has named the address of such a document at a sign-in.",
    name="client_name",
    filters=("client_id",),
    columns=(
        Column("client_name", "Name"),
        Column("client_id", "Address", "code"),
        Column("enabled", "Enabled", "flag"),
        Column("used_at", "Last used", "time"),
        Column("expires_at", "Read again", "time"),
    ),
    deeds=(
        Deed(name="enable", label="Enable", method="PATCH", body={"enabled": True}, when=("enabled", (False,))),
        Deed(
            name="disable",
            label="Disable",
            method="PATCH",
            body={"enabled": False},
            when=("enabled", (True,)),
            points=("Nobody signs in to it, and every token that it holds is refused at once.",),
        ),
        delete("It is forgotten, with what it was issued. Whoever uses it again makes it known again."),
    ),
)

"""Keys, and what is demanded."""

from typing import Final

from watchword_admin.console.kinds.shapes import ENDS, SINCE, Column, Deed, Field, Kind, delete

API_KEYS: Final = Kind(
    room="api-keys",
    path="api-keys",
    title="API keys",
    lead="Keys with which programs call the API as a person. A new one is your own.",
    empty="There is none yet: no program calls the API.",
    new="New API key",
    name="name",
    once="key",
    filters=("user_id",),
    columns=(
        Column("name", "Name"),
        Column("user_id", "Whose", "user"),
        Column("scope", "Scope", "list"),
        Column("last_used_at", "Last used", "time", none="never"),
        Column("expires_at", "Ends", "time", none="never"),
        SINCE,
    ),
    fields=(
        Field(name="name", label="Name", required=True, hint="Which program has it"),
        Field(
            name="scope",
            label="Scope",
            control="lines",
            first="watchword:admin",
            hint="watchword:admin to administer, watchword:scim for a directory that pushes people",
        ),
        ENDS,
    ),
    deeds=(delete("Whoever has it is refused at once, everywhere.", label="Revoke"),),
)
FACTOR_REQUIREMENTS: Final = Kind(
    room="factor-requirements",
    path="factor-requirements",
    title="Second factors",
    lead="Of whom a second factor is demanded. Who has none yet sets one up at the next sign-in.",
    empty="Nobody has to have one.",
    new="Demand a second factor",
    is_short=True,
    columns=(Column("applies_to", "Of whom"), Column("entity_id", "Which", "entity"), SINCE),
    fields=(
        Field(
            name="applies_to",
            label="Of whom",
            control="choice",
            options=(
                ("installation", "Everybody"),
                ("organization", "People of an organization"),
                ("client", "Who uses an application"),
            ),
        ),
        Field(name="entity_id", label="Which organization or application", hint="Its id; empty for everybody"),
    ),
    deeds=(delete("One factor is enough again, unless something else demands two.", label="Demand it no more"),),
)
SETTINGS: Final = Kind(
    room="settings",
    path="settings",
    title="Settings of sign-ins",
    lead="How passwords and sessions are treated here. They are read from the environment when the services start.",
    empty="There is none.",
    is_short=True,
    key="name",
    name="name",
    columns=(
        Column(
            "name",
            "What it sets",
            words=(
                ("WATCHWORD_LOCAL_PASSWORDS", "People may have passwords here"),
                ("WATCHWORD_PASSWORD_MIN_LENGTH", "Characters that a password has at least"),
                ("WATCHWORD_SESSION_IDLE_S", "A session ends unused after, in seconds"),
                ("WATCHWORD_SESSION_MAX_S", "A session lasts at most, in seconds"),
                ("WATCHWORD_REMEMBER_DEVICE_DAYS", "A second factor is not asked for again on a device for, in days"),
                ("WATCHWORD_ACCOUNT_ATTEMPTS", "Wrong passwords for an account before tries wait"),
                ("WATCHWORD_ACCOUNT_WAIT_S", "The first of those waits, in seconds"),
                ("WATCHWORD_ACCOUNT_LOCK_ATTEMPTS", "Wrong passwords before an account is locked"),
                ("WATCHWORD_ACCOUNT_LOCK_S", "An account stays locked for, in seconds"),
                ("WATCHWORD_ADDRESS_ATTEMPTS", "Wrong passwords from an address in an hour before tries wait"),
                ("WATCHWORD_INVITATIONS", "Administrators may invite people"),
                ("WATCHWORD_DECISIONS_KEEP_DAYS", "Decisions of access rules are kept for, in days"),
            ),
        ),
        Column("value", "Value"),
        Column("is_default", "As it is by default", "flag"),
        Column("name", "Variable", "code"),
    ),
)
VERIFIERS: Final = Kind(
    room="verifiers",
    path="verifiers",
    title="Verifiers",
    lead="Services that check tokens themselves and follow the ledger. Registered ones are waited for.",
    empty="None is registered, and none was heard.",
    new="Register a verifier",
    name="name",
    columns=(
        Column("name", "Name"),
        Column("audience", "Audience", "code"),
        Column("staleness_bound_s", "Stale after, in seconds"),
        Column("policy", "When stale"),
        Column("is_registered", "Registered", "flag"),
        SINCE,
    ),
    fields=(
        Field(name="name", label="Name", required=True),
        Field(name="audience", label="Audience", required=True, hint="Of the tokens that it checks"),
        Field(name="staleness_bound_s", label="Stale after, in seconds", control="number", first="5"),
        Field(
            name="policy",
            label="When stale",
            control="choice",
            options=(("introspect", "Asks for each token"), ("refuse", "Refuses"), ("accept", "Accepts")),
        ),
        Field(name="client_id", label="Client", hint="The only one that may report for it; may stay empty"),
    ),
    deeds=(
        delete(
            "Nobody waits for it any more. One that goes on reporting is known again, unregistered.", label="Forget"
        ),
    ),
)
SAML_KEYS: Final = Kind(
    room="saml-keys",
    path="upstream/saml-keys",
    title="SAML keys",
    lead="What signs our requests to SAML providers and opens what they encrypt. A new one is published first.",
    empty="There is none yet: the first is made with the first SAML provider.",
    new="New SAML key",
    is_short=True,
    columns=(
        Column("state", "State", words=(("next", "next"), ("active", "current"), ("previous", "previous"))),
        Column("subject", "Certificate of"),
        Column("fingerprint_sha256", "SHA-256", "code"),
        Column("not_before", "From", "time"),
        Column("not_after", "Until", "time"),
    ),
    deeds=(
        Deed(
            name="activate",
            label="Use it now",
            method="POST",
            below="/activate",
            points=("It signs from now on. Providers that have not read our metadata since will refuse us.",),
            when=("state", ("next",)),
        ),
        delete(
            "Nothing that was encrypted for it can be opened any more.",
            label="Remove",
            when=("state", ("next", "previous")),
        ),
    ),
)

"""What can be said of people, and what they and their applications hold."""

from dataclasses import replace
from typing import Final

from watchword_admin.console.kinds.shapes import DESCRIPTION, ENDS, SINCE, Below, Column, Deed, Field, Kind, delete

ATTRIBUTES: Final = Kind(
    room="attributes",
    path="attributes",
    title="Attributes",
    lead="What can be said of people beside the usual, for rules and claims.",
    empty="There is none of your own.",
    new="New attribute",
    named_by="name",
    key="name",
    name="name",
    is_short=True,
    columns=(Column("name", "Name", "code"), Column("kind", "Kind"), Column("description", "Description"), SINCE),
    fields=(
        Field(name="name", label="Name", required=True, fixed=True, hint="cost_center"),
        Field(
            name="kind",
            label="Kind",
            control="choice",
            options=(("string", "Text"), ("strings", "Texts"), ("integer", "Number"), ("boolean", "Yes or no")),
        ),
        DESCRIPTION,
    ),
    deeds=(delete("Not possible while somebody has it."),),
)
SESSIONS: Final = Kind(
    room="sessions",
    path="sessions",
    title="Sessions",
    lead="Browsers that are signed in at this moment.",
    empty="Nobody is signed in.",
    filters=("user_id",),
    columns=(
        Column("user_id", "Who", "user"),
        Column("address", "Address", "code"),
        Column("place", "Place", "words"),
        Column("user_agent", "Browser", "device"),
        Column("provider_id", "Through", "provider"),
        Column("auth_time", "Signed in", "time"),
        Column("seen_at", "Last seen", "time"),
    ),
    deeds=(
        Deed(
            name="end",
            label="End",
            method="DELETE",
            is_danger=True,
            points=("The browser is signed out, with every token that came of it.",),
        ),
    ),
)
GRANTS: Final = Kind(
    room="grants",
    path="grants",
    title="Grants",
    lead="What applications hold for people at this moment.",
    empty="No application holds anything. One does as soon as somebody signs in to it.",
    filters=("user_id", "client_id"),
    columns=(
        Column("client_id", "Application", "client"),
        Column("user_id", "Who", "user"),
        Column("scope", "Scope", "code"),
        Column("last_used_at", "Last used", "time"),
        Column("expires_at", "Ends", "time"),
    ),
    deeds=(
        Deed(
            name="revoke",
            label="Revoke",
            method="DELETE",
            is_danger=True,
            points=("Every token of this grant is refused at once, everywhere.",),
        ),
    ),
)
CONSENTS: Final = Kind(
    room="consents",
    path="consents",
    title="Consents",
    lead="What people allowed applications.",
    empty="Nobody was asked for anything yet. People are asked by applications whose settings say so.",
    filters=("user_id",),
    columns=(
        Column("client_id", "Application", "client"),
        Column("user_id", "Who", "user"),
        Column("scope", "Scope", "list"),
        Column("scope_at", "At resource servers", "list"),
        Column("granted_at", "Allowed", "time"),
    ),
    deeds=(
        Deed(
            name="withdraw",
            label="Withdraw",
            method="DELETE",
            is_danger=True,
            points=("The application is asked to ask again, and what it holds for the person ends at once.",),
        ),
    ),
)
SCIM_TOKENS: Final = Kind(
    room="scim-tokens",
    path="scim-tokens",
    title="SCIM tokens",
    lead="With what directories push people and groups: those of one organization, or of the installation.",
    empty="There is none yet: no directory can push people and groups.",
    new="New SCIM token",
    name="name",
    once="token",
    filters=("organization", "provider_id"),
    columns=(
        Column("name", "Name"),
        Column("organization", "Organization", "organization", none="all"),
        Column("provider_id", "Provider", "provider"),
        Column("last_used_at", "Last request", "time", none="none yet"),
        Column("expires_at", "Ends", "time", none="never"),
        SINCE,
    ),
    details=(
        Column("organization", "Organization", "organization", none="all"),
        Column("provider_id", "Provider", "provider", none="none"),
        Column("last_used_at", "Last request", "time", none="none yet"),
        Column("expires_at", "Ends", "time", none="never"),
        SINCE,
    ),
    fields=(
        Field(name="name", label="Name", required=True, hint="Which system has it"),
        Field(
            name="organization",
            label="Organization",
            hint="Its short name: the token sees and writes its people and groups alone; empty for all",
        ),
        Field(
            name="provider_id",
            label="Provider",
            hint="The ID of a provider with which the token ends, and whose organization is meant; may stay empty",
        ),
        replace(ENDS, first="never"),  # a directory that may not push any more is noticed late
    ),
    below=Below(
        path="failures",
        title="Requests that were refused",
        empty="None that is remembered.",
        columns=(
            Column("at", "Time", "time"),
            Column("method", "Method", "code"),
            Column("path", "Path", "code"),
            Column("status", "Status"),
            Column("detail", "What it was told"),
        ),
    ),
    deeds=(delete("Whoever has it is refused at once.", label="Revoke"),),
)
DELIVERIES: Final = Kind(
    room="deliveries",
    path="deliveries",
    title="Sign-out notices",
    lead="Applications are told that a session is over. What one does not take is tried again, and given up at last.",
    empty="No application had to be told anything. Those that have an address for it are told when a session ends.",
    filters=("state", "client_id"),
    columns=(
        Column("client_id", "Application", "client"),
        Column("user_id", "Who", "user"),
        Column("state", "State", words=(("pending", "under way"), ("delivered", "taken"), ("dead", "given up"))),
        Column("attempts", "Attempts"),
        Column("error", "Trouble"),
        Column("created_at", "Began", "time"),
        Column("ended_at", "Over", "time"),
    ),
    deeds=(Deed(name="replay", label="Send again", method="POST", below="/replay", when=("state", ("dead",))),),
)

"""Who is told what happens."""

from typing import Final

from watchword_admin.console.kinds.shapes import SINCE, Below, Column, Deed, Field, Kind, delete

WEBHOOKS: Final = Kind(
    room="webhooks",
    path="webhooks",
    title="Webhooks",
    lead="Who is sent the audit log or the events, in signed batches, one after the other.",
    empty="Nobody is sent anything.",
    new="New webhook",
    name="name",
    once="secret",
    changes=True,
    columns=(
        Column("name", "Name"),
        Column("url", "Address", "code"),
        Column("about", "Is sent"),
        Column("enabled", "Enabled", "flag"),
        Column("delivered_at", "Last taken", "time"),
        Column("error", "Trouble"),
    ),
    details=(
        Column("id", "ID", "code"),
        Column("after", "Has got everything up to number"),
        Column("attempts", "Attempts at the next batch"),
        Column("delivered_at", "Last taken", "time", none="none yet"),
        Column("error", "Trouble", none="none"),
        SINCE,
    ),
    fields=(
        Field(name="name", label="Name", required=True),
        Field(name="url", label="Address", hint="https://receiver.example/hook", required=True),
        Field(
            name="about",
            label="What is sent",
            control="choice",
            fixed=True,
            options=(("audit", "The audit log"), ("events", "Public events")),
        ),
        Field(name="types", label="Types", control="lines", first="*", hint="client.* for several; one a line"),
        Field(
            name="methods",
            label="Only calls with these methods",
            control="lines",
            hint="POST, PUT, PATCH or DELETE, of the audit log; empty for all",
        ),
        Field(
            name="dialect",
            label="Dialect",
            control="choice",
            options=(("watchword", "Watchword"), ("openfaas", "OpenFaaS")),
        ),
        Field(name="ca_bundle", label="Certificates that alone vouch for the receiver (PEM)", control="area"),
        Field(
            name="secret",
            label="Secret",
            control="secret",
            hint="Signs each batch. Empty: a new one is made, an existing one stays",
        ),
        Field(name="enabled", label="Enabled", control="switch", first="1"),
    ),
    deeds=(
        Deed(
            name="test",
            label="Send an empty batch",
            method="POST",
            below="/test",
            answers=(Column("delivered", "Taken", "flag"), Column("error", "Trouble")),
        ),
        Deed(
            name="replay",
            label="Send again",
            method="POST",
            below="/replay",
            fields=(Field(name="after", label="Everything behind number", control="number", first="0"),),
        ),
        delete("It is sent nothing more, and its dead letters are forgotten."),
    ),
    below=Below(
        path="dead-letters",
        title="Dead letters",
        empty="Nothing was given up.",
        columns=(
            Column("at", "Given up", "time"),
            Column("after", "Behind number"),
            Column("until", "Up to number"),
            Column("error", "Trouble"),
        ),
        deed="replay",
    ),
)

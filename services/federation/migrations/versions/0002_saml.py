"""SAML: our keys, what is known of providers, sign-ins that begin there, sign-outs; the steps of failed sign-ins

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "federation"


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "saml_key",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("changed_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema=SCHEMA,
    )
    for state in ("active", "next"):
        op.create_index(
            f"uq_saml_key_{state}",
            "saml_key",
            ["state"],
            unique=True,
            schema=SCHEMA,
            postgresql_where=sa.text(f"state = '{state}'"),
        )
    op.create_table(
        "saml_provider",
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("document", postgresql.JSONB(astext_type=sa.Text(), none_as_null=True), nullable=True),
        sa.Column("fetched_at", moment, nullable=True),
        sa.Column("tried_at", moment, nullable=True),
        sa.Column("failed_since", moment, nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("alarmed_at", moment, nullable=True),
        sa.PrimaryKeyConstraint("provider_id"),
        schema=SCHEMA,
    )
    op.create_table(
        "upstream_arrival",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("binding", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("configuration", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("rev", sa.BigInteger(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("confirmed_at", moment, nullable=True),
        sa.Column("taken_at", moment, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        schema=SCHEMA,
    )
    op.create_index("ix_upstream_arrival_expires_at", "upstream_arrival", ["expires_at"], schema=SCHEMA)
    op.create_table(
        "upstream_session",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("subject_hash", sa.LargeBinary(), nullable=False),
        sa.Column("session_hash", sa.LargeBinary(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("keep_until", moment, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema=SCHEMA,
    )
    op.create_index("ix_upstream_session_subject", "upstream_session", ["provider_id", "subject_hash"], schema=SCHEMA)
    op.create_index("ix_upstream_session_keep_until", "upstream_session", ["keep_until"], schema=SCHEMA)
    op.create_table(
        "upstream_logout",
        sa.Column("id_hash", sa.LargeBinary(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("return_to", sa.Text(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("taken_at", moment, nullable=True),
        sa.PrimaryKeyConstraint("id_hash"),
        schema=SCHEMA,
    )
    op.create_index("ix_upstream_logout_expires_at", "upstream_logout", ["expires_at"], schema=SCHEMA)
    op.create_table(
        "sign_in_attempt",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("failure", sa.Text(), nullable=False),
        sa.Column("steps", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema=SCHEMA,
    )
    op.create_index("ix_sign_in_attempt_provider", "sign_in_attempt", ["provider_id", "id"], schema=SCHEMA)
    op.create_index("ix_sign_in_attempt_reference", "sign_in_attempt", ["reference"], schema=SCHEMA)


def downgrade() -> None:
    for table in (
        "sign_in_attempt",
        "upstream_logout",
        "upstream_session",
        "upstream_arrival",
        "saml_provider",
        "saml_key",
    ):
        op.drop_table(table, schema=SCHEMA)

"""dynamic client registration

Revision: 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("clients", sa.Column("kind", sa.Text(), server_default="registered", nullable=False), schema="admin")
    op.add_column("clients", sa.Column("used_at", sa.DateTime(timezone=True), nullable=True), schema="admin")
    op.add_column("clients", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True), schema="admin")
    op.add_column(
        "clients", sa.Column("registration", postgresql.JSONB(astext_type=sa.Text()), nullable=True), schema="admin"
    )
    op.add_column("clients", sa.Column("registration_token", sa.LargeBinary(), nullable=True), schema="admin")
    op.create_index(
        "ix_clients_not_vouched_for",
        "clients",
        ["id"],
        unique=False,
        schema="admin",
        postgresql_where=sa.text("kind <> 'registered' AND deleted_at IS NULL"),
    )
    op.create_table(
        "registration_tokens",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("terms", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("uses_left", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        schema="admin",
    )


def downgrade() -> None:
    op.drop_table("registration_tokens", schema="admin")
    op.drop_index(
        "ix_clients_not_vouched_for",
        table_name="clients",
        schema="admin",
        postgresql_where=sa.text("kind <> 'registered' AND deleted_at IS NULL"),
    )
    for column in ("registration_token", "registration", "expires_at", "used_at", "kind"):
        op.drop_column("clients", column, schema="admin")

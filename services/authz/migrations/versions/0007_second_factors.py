"""authenticator apps, recovery codes, and sign-ins that wait for them

Revision: 0007, after 0006.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "authenticator",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("user_id"),
        schema="authz",
    )
    op.create_table(
        "recovery_code",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("user_id", "code_hash"),
        schema="authz",
    )
    for name in ("held", "passed"):
        op.add_column("flow", sa.Column(name, postgresql.JSONB(astext_type=sa.Text()), nullable=True), schema="authz")
    op.add_column(
        "flow",
        sa.Column("is_renewal", sa.Boolean(), nullable=False, server_default=sa.false()),
        schema="authz",
    )


def downgrade() -> None:
    for name in ("is_renewal", "passed", "held"):
        op.drop_column("flow", name, schema="authz")
    for table in ("recovery_code", "authenticator"):
        op.drop_table(table, schema="authz")

"""of whom a second factor is demanded

Revision: 0011, after 0010.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "factor_requirement",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("applies_to", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("applies_to", "entity_id", name="uq_factor_requirement_of"),
        schema="authz",
    )


def downgrade() -> None:
    op.drop_table("factor_requirement", schema="authz")

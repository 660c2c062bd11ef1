"""groups are found by the id that a SCIM client gave them

Revision: 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_groups_external_id",
        "groups",
        ["external_id"],
        schema="directory",
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_groups_external_id", table_name="groups", schema="directory")

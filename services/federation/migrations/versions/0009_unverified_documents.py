"""documents of providers that nobody vouched for

Revision: 0009, after 0008.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("upstream_document", "saml_provider"):
        column = sa.Column("unverified", sa.Boolean(), server_default=sa.text("false"), nullable=False)
        op.add_column(table, column, schema="federation")
        op.execute(
            f"UPDATE federation.{table} SET unverified = true FROM federation.provider_copy"
            f" WHERE provider_copy.id = {table}.provider_id AND data ->> 'insecure_skip_verify' = 'true'"
        )


def downgrade() -> None:
    for table in ("upstream_document", "saml_provider"):
        op.drop_column(table, "unverified", schema="federation")

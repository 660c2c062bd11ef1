"""a consent says at which resources a scope may be used; what stood allowed before was allowed without one

Revision: 0015, after 0014.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("consent", sa.Column("scope_at", JSONB(), server_default="{}", nullable=False), schema="authz")


def downgrade() -> None:
    op.drop_column("consent", "scope_at", schema="authz")

"""the audit log may end somewhere

Revision: 0011, after 0010.

`admin` lets go of the beginning of the log up to a seal, which stays as the anchor of what follows; the log itself says
that it was pruned. The last entry is never let go of: the chain goes on from it.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

PRUNE = """
CREATE FUNCTION bus.audit_prune(up_to bigint) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    WITH gone AS (
        DELETE FROM bus.audit WHERE seq <= up_to AND seq < (SELECT seq FROM bus.audit_head) RETURNING 1)
    SELECT count(*) FROM gone
$$
"""


def upgrade() -> None:
    op.execute(PRUNE)
    op.execute("REVOKE ALL ON FUNCTION bus.audit_prune FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION bus.audit_prune TO watchword_admin")


def downgrade() -> None:
    op.execute("DROP FUNCTION bus.audit_prune(bigint)")

"""hand-overs of answers that token completes

Revision: 0004, after 0003.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# kind, sender, receiver: as at this revision; the closed table of hand-overs
ROUTES = (
    ("upstream-start", "authz", "federation"),
    ("identity", "federation", "directory"),
    ("prove-account", "directory", "authz"),
    ("account-proved", "authz", "directory"),
    ("signed-in", "directory", "authz"),
    ("code", "authz", "token"),
    ("device-code", "authz", "token"),
    ("device-answer", "authz", "token"),
    ("set-password", "directory", "authz"),
)
RESPONSES = (("authorization-response", "authz", "token"),)


def constrain(*routes: tuple[str, str, str]) -> None:
    listed = ", ".join(f"('{kind}', 'watchword_{sender}', 'watchword_{to}')" for kind, sender, to in routes)
    op.execute("ALTER TABLE bus.handover DROP CONSTRAINT handover_route")
    op.execute(
        f"ALTER TABLE bus.handover ADD CONSTRAINT handover_route CHECK ((kind, sender, receiver) IN ({listed}))"
        " NOT VALID"  # what stands there passed the narrower one; checking it again would hold up sign-ins
    )


def upgrade() -> None:
    constrain(*ROUTES, *RESPONSES)


def downgrade() -> None:
    op.execute("DELETE FROM bus.handover WHERE kind = 'authorization-response'")
    constrain(*ROUTES)

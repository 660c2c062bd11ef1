"""hand-over of sign-ins that directory refused, to where their steps stand

Revision: 0014, after 0013.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
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
    ("authorization-response", "authz", "token"),
    ("set-password", "directory", "authz"),
    ("upstream-logout", "authz", "federation"),
    ("upstream-ended", "federation", "authz"),
    ("reset-password", "authz", "authz"),
    ("link-account", "authz", "directory"),
    ("change-email", "authz", "authz"),
    ("email-proved", "authz", "directory"),
    ("invite-people", "admin", "authz"),
)
REFUSED = ("identity-refused", "directory", "federation")


def constrain(*routes: tuple[str, str, str]) -> None:
    listed = ", ".join(f"('{kind}', 'watchword_{sender}', 'watchword_{to}')" for kind, sender, to in routes)
    op.execute("ALTER TABLE bus.handover DROP CONSTRAINT handover_route")
    op.execute(
        f"ALTER TABLE bus.handover ADD CONSTRAINT handover_route CHECK ((kind, sender, receiver) IN ({listed}))"
        " NOT VALID"  # what stands there passed the narrower one; checking it again would hold up sign-ins
    )


def upgrade() -> None:
    constrain(*ROUTES, REFUSED)


def downgrade() -> None:
    op.execute("DELETE FROM bus.handover WHERE kind = 'identity-refused'")
    constrain(*ROUTES)

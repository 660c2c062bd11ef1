"""hand-over of who is to be invited: the people of a provider that was closed

Revision: 0013, after 0012.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
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
)
INVITE = ("invite-people", "admin", "authz")


def constrain(*routes: tuple[str, str, str]) -> None:
    listed = ", ".join(f"('{kind}', 'watchword_{sender}', 'watchword_{to}')" for kind, sender, to in routes)
    op.execute("ALTER TABLE bus.handover DROP CONSTRAINT handover_route")
    op.execute(
        f"ALTER TABLE bus.handover ADD CONSTRAINT handover_route CHECK ((kind, sender, receiver) IN ({listed}))"
        " NOT VALID"  # what stands there passed the narrower one; checking it again would hold up sign-ins
    )


def upgrade() -> None:
    constrain(*ROUTES, INVITE)


def downgrade() -> None:
    op.execute("DELETE FROM bus.handover WHERE kind = 'invite-people'")
    constrain(*ROUTES)

"""hand-overs of links with which a password is chosen

Revision: 0008, after 0007.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
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
)
RESET = ("reset-password", "authz", "authz")


def constrain(*routes: tuple[str, str, str]) -> None:
    listed = ", ".join(f"('{kind}', 'watchword_{sender}', 'watchword_{to}')" for kind, sender, to in routes)
    op.execute("ALTER TABLE bus.handover DROP CONSTRAINT handover_route")
    op.execute(
        f"ALTER TABLE bus.handover ADD CONSTRAINT handover_route CHECK ((kind, sender, receiver) IN ({listed}))"
        " NOT VALID"  # what stands there passed the narrower one; checking it again would hold up sign-ins
    )


def upgrade() -> None:
    constrain(*ROUTES, RESET)


def downgrade() -> None:
    op.execute("DELETE FROM bus.handover WHERE kind = 'reset-password'")
    constrain(*ROUTES)

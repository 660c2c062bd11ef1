"""hand-overs of sign-outs that reach an identity provider, or come from one

Revision: 0006, after 0005.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
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
)
LOGOUTS = (("upstream-logout", "authz", "federation"), ("upstream-ended", "federation", "authz"))


def constrain(*routes: tuple[str, str, str]) -> None:
    listed = ", ".join(f"('{kind}', 'watchword_{sender}', 'watchword_{to}')" for kind, sender, to in routes)
    op.execute("ALTER TABLE bus.handover DROP CONSTRAINT handover_route")
    op.execute(
        f"ALTER TABLE bus.handover ADD CONSTRAINT handover_route CHECK ((kind, sender, receiver) IN ({listed}))"
        " NOT VALID"  # what stands there passed the narrower one; checking it again would hold up sign-ins
    )


def upgrade() -> None:
    constrain(*ROUTES, *LOGOUTS)


def downgrade() -> None:
    op.execute("DELETE FROM bus.handover WHERE kind IN ('upstream-logout', 'upstream-ended')")
    constrain(*ROUTES)

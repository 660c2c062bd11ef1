"""A way in for somebody who has none any more, made with access to the database alone."""

from datetime import datetime, timedelta

from watchword_authz import credentials, factor_store, passkey_store, store
from watchword_database import bus
from watchword_database.engine import Database, Session, transaction
from watchword_events.exports import UserExport
from watchword_events.handovers import ResetPassword
from watchword_runtime.feed import Feed
from watchword_runtime.ledger import HEAD

INVITED_FOR = timedelta(days=3)


async def way_in(
    session: Session, user_id: str, *, rev: int, now: datetime, email: str | None = None, ttl: timedelta = INVITED_FOR
) -> str:
    """The ticket of a link with which the person chooses a password; links of before lead nowhere any more.

    rev: the ledger position noted before the person was read.  email: where it is sent; None for one that somebody
    hands over.
    """
    flow = f"reset:{user_id}"
    await bus.take_flow(session, ResetPassword, flow=flow, now=now)
    payload = ResetPassword(user_id=user_id, email=email, rev=rev)
    return await bus.hand_over(session, payload, flow=flow, now=now, ttl=ttl)


def is_good(link: bus.Taken[ResetPassword], user: UserExport, feed: Feed) -> bool:
    """Whether the address that a link was sent to is still the person's, and nothing that ends it was cut since."""
    lineage = {"rev": link.payload.rev, "iat": link.created_at.timestamp(), "sub": link.payload.user_id}
    return link.payload.email in (None, user.email) and feed.is_live(lineage)


async def forget_factors(session: Session, user_id: str, now: datetime) -> bool:
    """True when the person had an authenticator, recovery codes or passkeys; now there are none.

    Appends CredentialChanged.
    """
    had_app = await factor_store.delete_authenticator(session, user_id)
    await factor_store.delete_recovery_codes(session, user_id)
    await store.forget_devices(session, user_id)
    had_passkeys = await passkey_store.delete_passkeys(session, user_id)
    if had_app:
        credentials.announce(session, user_id, "totp", now)
    if had_passkeys:
        credentials.announce(session, user_id, "passkey", now)
    return had_app or had_passkeys


async def open_again(database: Database, user_id: str, *, forget: bool, now: datetime) -> str:
    """The ticket of a link for the person, as way_in. forget: whether their second factors and passkeys are gone, too.

    database: as authz.
    """
    rev = int(await database.ask(HEAD))
    async with transaction(database) as session:
        if forget:
            await forget_factors(session, user_id, now)
        return await way_in(session, user_id, rev=rev, now=now)

"""Mails that tell a person what happened to their account, so that they hear of it if it was somebody else."""

from watchword_authz.context import Context
from watchword_database.engine import Session
from watchword_events.exports import UserExport
from watchword_web.texts import Text


async def tell(context: Context, session: Session, user: UserExport, what: str, **facts: str) -> None:
    """A mail to the person, where they have an address that is known to be their own. what: of _happened.

    It leaves after the transaction.
    """
    if user.email is None or not user.email_verified:
        return
    advice = Text(
        "If it was not you, sign in, end all sessions at %(account)s and tell the people who run this service.",
        account=f"{context.settings.public_url}/account",
    )
    words = context.pages.words(user.locale)
    await context.mails.write(
        session, user.email, Text("Your account"), [_happened(what, user.username, **facts), advice], words=words
    )


def _happened(what: str, username: str, device: str = "", address: str = "") -> Text:
    match what:
        case "password":
            return Text("The password of your account %(username)s was changed.", username=username)
        case "totp":
            return Text(
                "An authenticator app was set up for your account %(username)s, or removed from it.", username=username
            )
        case "recovery_codes":
            return Text("New recovery codes were made for your account %(username)s.", username=username)
        case "passkey":
            return Text("A passkey was added to your account %(username)s, or removed from it.", username=username)
        case "forgotten":
            return Text(
                "An administrator removed every second factor and passkey of your account %(username)s.",
                username=username,
            )
        case "device":
            return Text(
                "Somebody signed in to your account %(username)s with your password on a device that was not seen "
                "before: %(device)s, address %(address)s.",
                username=username,
                device=device,
                address=address,
            )
        case _:
            raise ValueError(what)

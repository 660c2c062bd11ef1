"""What owners answer to a form, in the reader's language.

Their words are English, for every program that calls them; those that a form meets are in the catalogues.
"""

import re
from collections.abc import Mapping
from typing import Final

from watchword_web.texts import Text

_LENGTH: Final = re.compile(r"String should have at (least|most) (\d{1,9}) characters?")
_WAIT: Final = re.compile(r"Try again in (\d{1,9}) s\.")
_BOUND: Final = re.compile(r"Input should be (greater|less) than or equal to (\d{1,15})")


def worded(errors: Mapping[str, str]) -> Mapping[str, Text]:
    """What is wrong, by field; in English where no catalogue has the words."""
    return {name: text if isinstance(text, Text) else _text(text) for name, text in errors.items()}


def _text(answer: str) -> Text:
    if length := _LENGTH.fullmatch(answer):
        count = int(length[2])
        if length[1] == "least":
            return Text.of_count(
                "String should have at least %(count)s character",
                "String should have at least %(count)s characters",
                count,
            )
        return Text.of_count(
            "String should have at most %(count)s character", "String should have at most %(count)s characters", count
        )
    if bound := _BOUND.fullmatch(answer):
        if bound[1] == "greater":
            return Text("Input should be greater than or equal to %(bound)s", bound=int(bound[2]))
        return Text("Input should be less than or equal to %(bound)s", bound=int(bound[2]))
    if wait := _WAIT.fullmatch(answer):
        return Text("Try again in %(seconds)s s.", seconds=int(wait[1]))
    return Text(answer)


# What is in the catalogues for the sake of the above.
KNOWN: Final = (
    Text("Field required"),
    Text("Input should be a valid string"),
    Text("Input should be a valid integer, unable to parse string as an integer"),
    Text("Input should be a valid number, unable to parse string as a number"),
    Text("Input should be a valid datetime"),
    Text("Already taken"),
    Text("lies in the past"),
    # What somebody may not say who administers an organization, or stands below whom it is about.
    Text("only an address in a domain that the organization has proved"),
    Text("only an administrator of the installation says that"),
    Text("only those of the organization, which begin with its short name"),
    Text("people stay in theirs"),
    Text("a role is given within one"),
    Text("say one that the caller administers"),
    Text("say which: the caller administers several"),
    Text("this name is one of those that an installation uses itself"),
    Text("the person has rights beyond the organization"),
    Text("The person has rights beyond the organization."),
    Text("This person has more rights than the caller."),
    Text("Already configured"),
    Text("The request is not valid"),
    Text("Not allowed"),
    Text("It concerns somebody, or a role, that stands above the caller."),
    Text("an empty text is not accepted: leave the field out, or send null"),
    Text("control characters are not accepted"),
    Text("only printable ASCII characters are accepted"),
    Text("only printable ASCII characters without spaces are accepted"),
    # Colours and pictures.
    Text("a colour is # and six hexadecimal digits, for example #0a5c8f"),
    Text("a PNG, JPEG or WebP picture is needed"),
    Text("the file is empty"),
    Text("the file is larger than 256 KiB"),
    Text("the file is damaged"),
    Text("something follows the picture, or its end is missing"),
    Text("a picture that moves is not accepted"),
    Text("a picture has 1 to 2048 pixels on each side"),
    Text("this kind of JPEG is shown by no browser"),
    # Addresses.
    Text("one address is expected behind mailto:"),
    Text("this is not a URI"),
    Text("the URI must be absolute"),
    Text("only the characters of RFC 3986 are accepted: encode the others"),
    Text("a fragment is not accepted"),
    Text("user information before the host is not accepted"),
    Text("wildcards are not accepted: register each URI"),
    Text("http is accepted only for localhost, 127.0.0.1 and [::1]: use https"),
    Text("the scheme must be https, http on a loopback host, or a private one with a dot"),
    Text("an origin is https://host or, on a loopback host, http://host"),
    Text("an origin is scheme, host in lower case and port, without a slash after it"),
    Text("a link starts with https:// or http://"),
    Text("the address must start with https://"),
    Text("the address must start with https://, or http:// inside the setting outbound_allow"),
    Text("plain http is accepted only inside the networks of the setting outbound_allow"),
    Text("a loopback address is accepted only when the setting outbound_allow contains it"),
    Text("an issuer has no query"),
    # Applications, scopes and providers.
    Text("the grant types authorization_code and implicit need at least one"),
    Text("refresh_token needs authorization_code or device_code"),
    Text("a client without a secret cannot use client_credentials"),
    Text("may be false only for a client with a secret"),
    Text("scope is a list of names, separated by single spaces"),
    Text("another client has this short name"),
    Text("a scope has up to 128 of letters, digits and . _ : / -, and begins with a letter or digit"),
    Text("this is one of Watchword's own scopes"),
    Text("it stands in consents and tokens, and is never changed"),
    Text("another scope has this name"),
    Text("another resource has this identifier"),
    Text("another service account has this name"),
    Text("openid is needed, without it there is no ID token"),
    Text("a host name is expected, as acme.example"),
    Text("an address is expected, as https://acme.example"),
    Text("certificates in PEM are expected"),
    Text("certificates in PEM are needed"),
    Text("this is no PEM with certificates"),
    Text("this is not well-formed XML, or has a document type"),
    Text("nobody becomes an owner through a provider"),
    Text("give the keys or where they are, not both"),
    # Rules.
    Text("another rule has this name"),
    Text("there is no client with this id or short name"),
    Text("there is no such role"),
    Text("there is no such group"),
    Text("there is no such user"),
    # People.
    Text("another user has this user name"),
    Text("another user has this e-mail address"),
    Text("another group has this name"),
    Text("another role has this name"),
    Text("another organization has this short name, or a group begins with it"),
    Text("another organization has proved that this domain is its own"),
    Text("a user name with an @ must be the user's own e-mail address"),
    Text("an e-mail address needs a local part, @ and a domain"),
    Text("not a domain name"),
    Text("not a domain name that somebody could own"),
    Text("a group stays where it was made"),
    Text("Make somebody else an owner first: this is the only active one."),
    Text("Without this identity the user could not sign in. Set a password first, or disable or delete the user."),
    Text("Name another account: nobody is merged with themselves."),
    Text("A group cannot lie in itself, nor in a group that lies in it."),
    Text("Remove its groups, the roles within it, and the people whose organization it is, first."),
    Text("This is one of Watchword's own roles, which nobody changes."),
    Text("Some users have this attribute. Remove it from them first."),
    Text("an attribute's name has up to 63 of a-z, 0-9 and _, and begins with a letter"),
    Text("No name server answered. Try again later."),
    Text("The organization has not said that this domain is its own."),
    Text("This is demanded already"),
    Text("There is no mail server, or the user has no verified address."),
    Text("Nothing is sent here: no mail server is set."),
    Text("A test message goes to your own verified address: you have none."),
    Text("another verifier has this name"),
    Text("The last owner"),
    Text("The last way in"),
    Text("Not empty"),
    Text("In use"),
    Text("Too many"),
)

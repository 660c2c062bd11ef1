"""What the form of a person has beside who it is and where it belongs: each member with its label and its help.

A member of the API's users that is in neither has a reason in `tests/contracts/test_console.py`. One of an address is
called by both names.
"""

from typing import Final

from watchword_admin.console.kinds.shapes import Field, Section
from watchword_web.texts import Text

SECTIONS: Final[tuple[Section, ...]] = (
    Section(
        Text("How to call and reach the person"),
        (
            Field(name="given_name", label="Given name", hint="Of several, all of them"),
            Field(name="middle_name", label="Middle name", hint="Where there is one"),
            Field(name="family_name", label="Family name", hint="Of several, all of them"),
            Field(name="nickname", label="Nickname", hint="As friends say it"),
            Field(name="phone_number", label="Telephone", hint="+491701234567; you vouch for it"),
            Field(name="locale", label="Language", hint="de-DE"),
            Field(name="zoneinfo", label="Time zone", hint="Europe/Berlin"),
        ),
    ),
    Section(
        Text("What else there is to say of the person"),
        (
            Field(name="gender", label="Gender", hint="As the person says it"),
            Field(name="birthdate", label="Date of birth", hint="1985-04-23"),
            Field(name="profile", label="Page about the person", hint="Its address, with https"),
            Field(name="picture", label="Picture", hint="Its address, with https"),
            Field(name="website", label="Website", hint="Its address, with https"),
        ),
    ),
    Section(
        Text("Where the person lives"),
        (
            Field(name="address.formatted", label="Whole address", control="area", hint="As it stands on a letter"),
            Field(
                name="address.street_address", label="Street and number", control="area", hint="May have several lines"
            ),
            Field(name="address.postal_code", label="Postal code", hint="As it is written there"),
            Field(name="address.locality", label="City", hint="City or town"),
            Field(name="address.region", label="Region", hint="State or province"),
            Field(name="address.country", label="Country", hint="Its name"),
        ),
    ),
    Section(
        Text("What rules and applications look at"),
        (
            Field(
                name="attributes",
                label="Attributes, as JSON",
                control="json",
                hint='Those that are declared: {"department": "ops"}',
            ),
        ),
    ),
)
FIELDS: Final = tuple(field for section in SECTIONS for field in section.fields)

"""Passkeys, with an authenticator of the test's own: made after a sign-in, and used at the sign-in page."""

import asyncio
import hashlib
import html
import json
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from tests.authz.conftest import ISSUER, Rig, Visit, held, waiting_or_done
from tests.authz.test_second_factor import Phone, enrolled, sign_in_here

from watchword_authz.models import Passkey
from watchword_database.engine import transaction
from watchword_events.exports import UserExport
from watchword_policy.assurance import TWO_FACTORS
from watchword_testkit.browser import Browser
from watchword_testkit.pages import Page

MOST_PASSKEYS = 20
PRESENT, VERIFIED, ELIGIBLE, ATTESTED = 0x01, 0x04, 0x08, 0x40


def encoded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


def decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def asked(page: Page) -> dict[str, Any]:
    """What the page asks the browser to do."""
    found = re.search(r'data-(?:create|request)="([^"]*)"', page.body)
    assert found is not None
    return dict(json.loads(html.unescape(found[1])))


@dataclass
class Device:
    """One that keeps one passkey. Spec: WebAuthn Level 3 6.1, 6.5."""

    origin: str = ISSUER
    rp_id: str = "localhost"
    flags: int = PRESENT | VERIFIED
    count: int = 0
    counts: bool = True
    user_handle: str | None = None
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def _client_data(self, kind: str, challenge: str) -> bytes:
        data = {"type": f"webauthn.{kind}", "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return json.dumps(data).encode()

    def _authenticator_data(self, flags: int, more: bytes = b"") -> bytes:
        self.count += self.counts
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big") + more

    def make(self, options: dict[str, Any]) -> str:
        """The answer to a request for a new passkey."""
        assert options["authenticatorSelection"]["userVerification"] == "required"
        self.user_handle = options["user"]["id"]
        point = self.key.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")}
        more = bytes(16) + len(self.credential_id).to_bytes(2, "big") + self.credential_id + cbor2.dumps(cose)
        data = self._authenticator_data(self.flags | ATTESTED, more)
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return self._answer(
            {
                "clientDataJSON": encoded(self._client_data("create", options["challenge"])),
                "attestationObject": encoded(attestation),
                "transports": ["internal"],
            }
        )

    def use(self, options: dict[str, Any], kind: str = "get") -> str:
        """The answer to a request for a passkey."""
        assert options["userVerification"] == "required"
        data, client_data = self._authenticator_data(self.flags), self._client_data(kind, options["challenge"])
        signature = self.key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(SHA256()))
        return self._answer(
            {
                "clientDataJSON": encoded(client_data),
                "authenticatorData": encoded(data),
                "signature": encoded(signature),
                "userHandle": self.user_handle,
            }
        )

    def _answer(self, response: dict[str, Any]) -> str:
        name = encoded(self.credential_id)
        return json.dumps(
            {"id": name, "rawId": name, "type": "public-key", "response": response, "clientExtensionResults": {}}
        )


async def add(browser: Browser, device: Device) -> None:
    """A person who has just signed in adds a passkey."""
    await browser.open(f"{ISSUER}/account/passkeys")
    await browser.submit("credential", "use-passkey", credential=device.make(asked(browser.page)), name="My laptop")


async def owner(rig: Rig, device: Device | None = None) -> tuple[UserExport, Device]:
    """A person with a passkey."""
    user, browser, device = await rig.person(), rig.browser(), device or Device()
    await sign_in_here(rig, browser, user)
    await add(browser, device)
    assert browser.page.texts["passkey-count"] == "1", browser.page.body
    return user, device


async def at_login(rig: Rig, browser: Browser | None = None, **params: str) -> Visit:
    """A visit at the sign-in page."""
    visit = Visit(rig, browser or rig.browser(), rig.client(), params)
    await visit.start()
    return visit


async def enter(visit: Visit, answer: str) -> None:
    """The page after the browser answered."""
    await visit.browser.submit("credential", "use-passkey", credential=answer)


@pytest.mark.spec("WebAuthn Level 3 7.1, 7.2; RFC 8176 2")
@pytest.mark.parametrize(("flags", "kind"), [(0, "hwk"), (ELIGIBLE, "swk")], ids=["of one device", "synchronized"])
async def test_a_passkey_is_two_factors(rig: Rig, flags: int, kind: str) -> None:
    user, device = await owner(rig, Device(flags=PRESENT | VERIFIED | flags))
    visit = await at_login(rig)
    await enter(visit, device.use(asked(visit.browser.page)))
    code = await visit.code()
    assert (code.user_id, code.amr, code.acr) == (user.id, (kind, "user", "mfa"), TWO_FACTORS)


async def test_a_passkey_is_enough_for_who_has_an_authenticator(rig: Rig) -> None:
    user, phone, _ = await enrolled(rig)
    browser, device = rig.browser(), Device()
    await sign_in_here(rig, browser, user)
    await browser.submit("otp", "verify", otp=phone.next_code())
    await add(browser, device)
    visit = await at_login(rig, acr_values=TWO_FACTORS)
    await enter(visit, device.use(asked(visit.browser.page)))
    assert (await visit.code()).acr == TWO_FACTORS
    assert isinstance(phone, Phone)


async def wrong_origin(device: Device, options: dict[str, Any], _other: dict[str, Any]) -> str:
    device.origin = "https://evil.example"
    return device.use(options)


async def wrong_site(device: Device, options: dict[str, Any], _other: dict[str, Any]) -> str:
    device.rp_id = "evil.example"
    return device.use(options)


async def not_unlocked(device: Device, options: dict[str, Any], _other: dict[str, Any]) -> str:
    device.flags = PRESENT
    return device.use(options)


async def not_there(device: Device, options: dict[str, Any], _other: dict[str, Any]) -> str:
    device.flags = VERIFIED
    return device.use(options)


async def another_key(device: Device, options: dict[str, Any], _other: dict[str, Any]) -> str:
    device.key = ec.generate_private_key(ec.SECP256R1())
    return device.use(options)


async def unknown_passkey(device: Device, options: dict[str, Any], _other: dict[str, Any]) -> str:
    device.credential_id = secrets.token_bytes(32)
    return device.use(options)


async def another_user(device: Device, options: dict[str, Any], _other: dict[str, Any]) -> str:
    device.user_handle = encoded(b"somebody-else")
    return device.use(options)


async def another_challenge(device: Device, options: dict[str, Any], _other: dict[str, Any]) -> str:
    return device.use(options | {"challenge": encoded(b"x" * 64)})


async def challenge_of_another_browser(device: Device, _options: dict[str, Any], other: dict[str, Any]) -> str:
    return device.use(other)


async def counter_went_back(device: Device, options: dict[str, Any], _other: dict[str, Any]) -> str:
    device.count = 0
    return device.use(options)


async def made_instead_of_used(device: Device, options: dict[str, Any], _other: dict[str, Any]) -> str:
    return device.use(options, "create")


async def garbage(_device: Device, _options: dict[str, Any], _other: dict[str, Any]) -> str:
    return '{"id": [], "rawId": 7, "response": {"clientDataJSON": "%%%"}}'


async def not_json(_device: Device, _options: dict[str, Any], _other: dict[str, Any]) -> str:
    return "x" * 10_000


REFUSALS: list[Callable[..., Any]] = [
    wrong_origin, wrong_site, not_unlocked, not_there, another_key, unknown_passkey, another_user, another_challenge,
    challenge_of_another_browser, counter_went_back, made_instead_of_used, garbage, not_json,
]  # fmt: skip


@pytest.mark.spec("WebAuthn Level 3 5.1.3, 6.1.1, 7.2")
async def test_what_signs_nobody_in(rig: Rig) -> None:
    """One person and one page for all rows: each spoils the device in its own way, and the last one is right."""
    user, device = await owner(rig)
    other = asked((await at_login(rig)).browser.page)
    visit = await at_login(rig)
    device.count = 10
    for spoil in REFUSALS:
        spoiled = Device(key=device.key, credential_id=device.credential_id, count=device.count)
        spoiled.user_handle = device.user_handle
        await enter(visit, await spoil(spoiled, asked(visit.browser.page), other))
        assert (visit.browser.page.status, spoil.__name__) == (400, spoil.__name__)
        assert "was not accepted" in visit.browser.page.body
    await enter(visit, device.use(asked(visit.browser.page)))
    assert (await visit.code()).user_id == user.id


async def test_a_challenge_counts_once(rig: Rig) -> None:
    _, device = await owner(rig)
    visit = Visit(rig, rig.browser(), rig.client(require_consent=True))
    await visit.start()
    form, options = visit.browser.page.form_with("credential"), asked(visit.browser.page)
    data = form.filled("use-passkey", credential=device.use(options))
    assert (await visit.browser.client.post(form.action, data=data)).status_code == 303
    again = data | {"credential": device.use(options)}
    assert (await visit.browser.client.post(form.action, data=again)).status_code == 400


@pytest.mark.parametrize("at_s", ["999999999999", "0", "x"])
async def test_a_challenge_of_somebodys_making_is_none(rig: Rig, at_s: str) -> None:
    _, device = await owner(rig)
    visit = await at_login(rig)
    forged = {"credential": device.use(asked(visit.browser.page)), "challenge": f"{'A' * 22}.{at_s}.{'A' * 43}"}
    await visit.browser.submit("credential", "use-passkey", **forged)
    assert visit.browser.page.status == 400
    assert "was not accepted" in visit.browser.page.body


async def test_a_device_that_does_not_count_is_taken(rig: Rig) -> None:
    """WebAuthn Level 3 6.1.1: synchronized passkeys always say zero."""
    user, device = await owner(rig, Device(counts=False))
    for _ in range(2):
        visit = await at_login(rig)
        await enter(visit, device.use(asked(visit.browser.page)))
        assert (await visit.code()).user_id == user.id


async def test_who_is_disabled_does_not_sign_in(rig: Rig) -> None:
    user, device = await owner(rig)
    pool = await rig.db().raw_pool()
    await pool.execute(
        "UPDATE authz.user_copy SET data = data || '{\"active\": false}'::jsonb, version = 9 WHERE id = $1", user.id
    )
    visit = await at_login(rig)
    await enter(visit, device.use(asked(visit.browser.page)))
    assert visit.browser.page.status == 400


async def test_what_is_no_new_passkey(rig: Rig) -> None:
    user, browser = await rig.person(), rig.browser()
    await sign_in_here(rig, browser, user)
    _, taken = await owner(rig)
    for device in (
        Device(flags=PRESENT), Device(origin="https://evil.example"), Device(rp_id="evil.example"),
        Device(credential_id=taken.credential_id),
    ):  # fmt: skip
        await add(browser, device)
        assert browser.page.status == 400
    await browser.submit("credential", "use-passkey", credential="{}", name="x")
    assert browser.page.status == 400
    async with transaction(rig.db()) as session:
        row = await session.get(Passkey, taken.credential_id)
    assert row is not None
    assert row.user_id != user.id


async def test_a_passkey_is_removed_but_not_the_only_way_in(rig: Rig) -> None:
    user, device = await owner(rig)
    pool = await rig.db().raw_pool()
    browser = rig.browser()
    visit = await at_login(rig, browser)
    await enter(visit, device.use(asked(browser.page)))
    await visit.code()
    await browser.open(f"{ISSUER}/account/passkeys")
    name = f"remove-{encoded(device.credential_id)}"
    await pool.execute("DELETE FROM authz.credential WHERE user_id = $1", user.id)
    await browser.submit(name, name)
    assert browser.page.status == 400
    second = Device()
    await add(browser, second)
    await browser.open(f"{ISSUER}/account/passkeys")
    await browser.submit(name, name)
    assert browser.page.texts["passkey-count"] == "1"
    visit = await at_login(rig)
    await enter(visit, device.use(asked(visit.browser.page)))
    assert visit.browser.page.status == 400


async def test_a_person_keeps_so_many_passkeys_however_many_are_added_at_once(rig: Rig) -> None:
    user, browser = await rig.person(), rig.browser()
    await sign_in_here(rig, browser, user)
    async with transaction(rig.db()) as session:
        session.add_all(
            Passkey(
                credential_id=secrets.token_bytes(32),
                user_id=user.id,
                public_key=b"",
                sign_count=0,
                name="One of many",
                is_synced=False,
                created_at=rig.clock(),
            )
            for _ in range(MOST_PASSKEYS - 1)
        )
    forms = []
    for _ in range(4):
        page = await browser.open(f"{ISSUER}/account/passkeys")
        made = Device().make(asked(page))
        forms.append(page.form_with("credential").filled("use-passkey", credential=made, name="One more"))
    url, headers = f"{ISSUER}/account/passkeys", {"Origin": ISSUER}
    answers = await asyncio.gather(*[browser.client.post(url, data=form, headers=headers) for form in forms])
    assert sorted(answer.status_code for answer in answers) == [303, 400, 400, 400]
    assert all(str(MOST_PASSKEYS) in answer.text for answer in answers if answer.status_code == 400)
    page = await browser.open(url)
    assert len([button for form in page.forms for button in form.buttons if button.id.startswith("remove-")]) == 20
    assert not page.has("use-passkey")
    assert (await browser.open(f"{ISSUER}/account")).texts["passkey-count"] == str(MOST_PASSKEYS)


async def test_of_two_passkeys_that_are_removed_at_once_the_last_way_in_stays(rig: Rig) -> None:
    user, device = await owner(rig)
    browser, second = rig.browser(), Device()
    visit = await at_login(rig, browser)
    await enter(visit, device.use(asked(browser.page)))
    await visit.code()
    await add(browser, second)
    pool = await rig.db().raw_pool()
    await pool.execute("DELETE FROM authz.credential WHERE user_id = $1", user.id)
    await browser.open(f"{ISSUER}/account/passkeys")
    names = [f"remove-{encoded(each.credential_id)}" for each in (device, second)]
    forms = [browser.page.form_with(name) for name in names]
    headers = {"Origin": ISSUER}

    async def remove(number: int) -> None:
        await browser.client.post(forms[number].action, data=forms[number].filled(names[number]), headers=headers)

    async with held(rig, "LOCK TABLE authz.passkey IN SHARE MODE"):
        removing = [asyncio.create_task(remove(number)) for number in range(2)]
        await waiting_or_done(rig, removing[0], at_least=2)
    await asyncio.gather(*removing)
    assert await pool.fetchval("SELECT count(*) FROM authz.passkey WHERE user_id = $1", user.id) == 1

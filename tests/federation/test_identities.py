"""What a provider's claims make of a person."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import JsonValue

from watchword_federation.failures import SignInFailed
from watchword_federation.identities import identity_of, merge_userinfo

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
TOKEN: dict[str, JsonValue] = {
    "iss": "https://idp.test",
    "sub": "s1",
    "aud": "us",
    "iat": AT,
    "exp": AT + 60,
    "nonce": "n",
}


def claims(**more: JsonValue) -> dict[str, JsonValue]:
    return {**TOKEN, "email": "alice@acme.test", **more}


def test_a_full_identity() -> None:
    found = identity_of(
        "acme",
        claims(
            email_verified=True, name="Alice A.", given_name="Alice", family_name="A.", preferred_username="alice",
            picture="https://idp.test/a.png", groups=["ops"], auth_time=AT - 100, amr=["pwd", 1, "otp"], acr="high",
        ),
        NOW,
    )  # fmt: skip
    assert (found.provider_id, found.issuer, found.subject) == ("acme", "https://idp.test", "s1")
    assert (found.email, found.email_verified, found.name) == ("alice@acme.test", True, "Alice A.")
    assert (found.given_name, found.family_name, found.preferred_username) == ("Alice", "A.", "alice")
    assert found.picture == "https://idp.test/a.png"
    assert found.auth_time == NOW - timedelta(seconds=100)
    assert (found.amr, found.acr) == (("pwd", "otp"), "high")
    assert found.claims["groups"] == ["ops"]
    assert not {"iss", "aud", "exp", "iat", "nonce"} & set(found.claims)


@pytest.mark.parametrize("value", [False, "true", "True", "1", 1, None, [True], {"value": True}])
def test_only_the_boolean_true_verifies_an_address(value: JsonValue) -> None:
    assert not identity_of("acme", claims(email_verified=value), NOW).email_verified


def test_no_address_is_never_a_verified_one() -> None:
    found = identity_of("acme", claims(email=None, name="Alice", email_verified=True), NOW)
    assert (found.email, found.email_verified) == (None, False)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(1, id="a number"),
        pytest.param("", id="empty"),
        pytest.param("x" * 600, id="endless"),
        pytest.param("a\nb", id="line break"),
        pytest.param(["a"], id="a list"),
        pytest.param("‮evil", id="reversed text"),
    ],
)
def test_a_value_of_a_wrong_type_counts_as_absent(value: JsonValue) -> None:
    found = identity_of("acme", claims(name=value, preferred_username=value, acr=value, given_name=value), NOW)
    assert (found.name, found.preferred_username, found.acr, found.given_name) == (None, None, None, None)


def test_the_name_is_put_together_where_only_its_parts_are_given() -> None:
    assert identity_of("acme", claims(given_name="Alice", family_name="Andersen"), NOW).name == "Alice Andersen"


@pytest.mark.parametrize("picture", ["http://idp.test/a.png", "javascript:alert(1)", "data:image/png;base64,AA", 1])
def test_a_picture_is_an_https_address_or_none(picture: JsonValue) -> None:
    assert identity_of("acme", claims(picture=picture), NOW).picture is None


def test_a_provider_whose_clock_is_ahead_signs_nobody_in_later_than_now() -> None:
    assert identity_of("acme", claims(iat=AT + 50), NOW).auth_time == NOW


def test_somebody_without_any_name_is_missing_user_info() -> None:
    with pytest.raises(SignInFailed, match="missing_user_info"):
        identity_of("acme", {**TOKEN, "email": "", "name": 1}, NOW)


@pytest.mark.spec("OpenID Connect Core 5.3.2")
def test_userinfo_completes_and_the_signed_claims_win() -> None:
    merged = merge_userinfo(
        claims(name="Alice", locale=None), {"sub": "s1", "name": "Mallory", "locale": "nb", "groups": ["a"]}
    )
    assert (merged["name"], merged["locale"], merged["groups"]) == ("Alice", "nb", ["a"])


def test_userinfo_cannot_change_what_belongs_to_the_token() -> None:
    merged = merge_userinfo({"iss": "a", "sub": "s1"}, {"aud": "evil", "nonce": "x", "exp": 1, "iat": 1, "sid": "z"})
    assert merged == {"iss": "a", "sub": "s1"}


@pytest.mark.parametrize("auth_time", ["yesterday", True, 10**30, -1, [1], AT - 7])
def test_how_and_when_somebody_signed_in_is_said_by_the_token_alone(auth_time: JsonValue) -> None:
    """Userinfo is not about this sign-in, and nobody signed it: a second factor is not proved by it."""
    more = {"sub": "s1", "email": "a@x.test", "auth_time": auth_time, "amr": ["mfa"], "acr": "high"}
    found = identity_of("acme", merge_userinfo(TOKEN, more), NOW)
    assert (found.auth_time.timestamp(), found.amr, found.acr) == (AT, (), None)
    assert not {"auth_time", "amr", "acr"} & set(found.claims)


@pytest.mark.parametrize("auth_time", ["yesterday", True, 10**30, -1, [1]])
def test_a_time_that_is_none_counts_as_absent(auth_time: JsonValue) -> None:
    """Under the name of another claim it was not looked at with the token."""
    assert identity_of("acme", claims(auth_time=auth_time), NOW).auth_time.timestamp() == AT


@pytest.mark.parametrize(
    ("token", "userinfo", "email", "verified"),
    [
        pytest.param(
            {"email": "a@x.test"}, {"email_verified": True}, "a@x.test", False, id="proof from userinfo alone"
        ),
        pytest.param(
            {"email": "a@x.test"},
            {"email": "b@x.test", "email_verified": True},
            "a@x.test",
            False,
            id="proof of another address",
        ),
        pytest.param(
            {"email_verified": True}, {"email": "b@x.test"}, "b@x.test", False, id="proof from the token alone"
        ),
        pytest.param(
            {"email_verified": True},
            {"email": "b@x.test", "email_verified": False},
            "b@x.test",
            False,
            id="userinfo says no",
        ),
        pytest.param({}, {"email": "b@x.test", "email_verified": True}, "b@x.test", True, id="both from userinfo"),
        pytest.param(
            {"email": None, "email_verified": True}, {"email": "b@x.test"}, "b@x.test", False, id="null in the token"
        ),
        pytest.param(
            {"email": "a@x.test", "email_verified": True},
            {"email": "b@x.test"},
            "a@x.test",
            True,
            id="both from the token",
        ),
    ],
)
def test_an_address_and_its_proof_come_from_the_same_document(
    token: dict[str, JsonValue], userinfo: dict[str, JsonValue], email: str, *, verified: bool
) -> None:
    found = identity_of("acme", merge_userinfo({**TOKEN, **token}, {"sub": "s1", **userinfo}), NOW)
    assert (found.email, found.email_verified) == (email, verified)

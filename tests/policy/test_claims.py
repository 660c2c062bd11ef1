"""Which scope opens which claims."""

import pytest

from watchword_policy.claims import within


@pytest.mark.spec("OpenID Connect Core 5.4, 5.5")
def test_a_claim_is_within_the_scope_that_opens_it() -> None:
    asked = ["email", "phone_number", "sub", "unheard", "name", "email"]
    assert within(asked, {"openid", "email"}) == ("email",)
    assert within(asked, {"profile", "email", "phone"}) == ("email", "phone_number", "name")
    assert within(asked, set()) == ()

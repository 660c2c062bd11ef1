"""Named failures: what a person reads when an upstream sign-in ends early.

Each says in plain words what happened and what the person or the administrator can do. The private detail goes to the
log under the page's reference and never holds a token, code, claim value or secret.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from watchword_web.errors import PageError


class Failure(StrEnum):
    """Every way in which an upstream sign-in can end without an identity."""

    STATE_MISMATCH = "state_mismatch"
    ISSUER_MISMATCH = "issuer_mismatch"
    MISSING_USER_INFO = "missing_user_info"
    ACCESS_DENIED = "access_denied"
    INVALID_SCOPE = "invalid_scope"
    REDIRECT_URI_MISMATCH = "redirect_uri_mismatch"
    TOKEN_EXCHANGE_FAILED = "token_exchange_failed"
    ID_TOKEN_MISSING = "id_token_missing"
    ID_TOKEN_INVALID = "id_token_invalid"
    CLOCK_SKEW = "clock_skew"
    USERINFO_FAILED = "userinfo_failed"
    UPSTREAM_EXCHANGE_FAILED = "upstream_exchange_failed"
    INVALID_DPOP_PROOF = "invalid_dpop_proof"
    GROUPS_OVERAGE = "groups_overage"
    SIGNATURE_VALIDATION_FAILED = "signature_validation_failed"
    CERTIFICATE_EXPIRED = "certificate_expired"
    AUDIENCE_MISMATCH = "audience_mismatch"
    RECIPIENT_MISMATCH = "recipient_mismatch"
    RESPONSE_INVALID = "response_invalid"
    ACCOUNT_NOT_FOUND = "account_not_found"
    UNSOLICITED_RESPONSE = "unsolicited_response"
    SAML_UNAVAILABLE = "saml_unavailable"
    PROVIDER_DISABLED = "provider_disabled"
    PROVIDER_UNREACHABLE = "provider_unreachable"
    PROVIDER_ERROR = "provider_error"


@dataclass(frozen=True, slots=True)
class Words:
    """A failure as its page tells it."""

    title: str
    message: str
    status: int = 400


# The page itself adds that one may start again at the application, and whom to tell.
WORDS: Final[dict[Failure, Words]] = {
    Failure.STATE_MISMATCH: Words(
        "This sign-in cannot be continued",
        "The identity provider's answer does not belong to a sign-in that this browser has open: it was used before, "
        "took longer than ten minutes, was started in another browser, or cookies are blocked. Sign in again; if it "
        "happens every time, allow cookies for this site. An administrator can compare the callback URL that is "
        "registered at the provider with the one shown for it here.",
    ),
    Failure.ISSUER_MISMATCH: Words(
        "The answer came from another identity provider",
        "What came back names another issuer than the one configured, so nobody was signed in. If it happens every "
        "time, an administrator should compare the configured issuer, letter by letter and with its trailing slash, "
        "with the one in the provider's discovery document.",
        502,
    ),
    Failure.MISSING_USER_INFO: Words(
        "The identity provider did not say enough",
        "It confirmed the sign-in but sent neither a name nor an e-mail address. Check that your account there has "
        "one and that you agreed to share it. An administrator can add the scopes profile and email to this provider, "
        "or switch on its userinfo endpoint.",
        502,
    ),
    Failure.ACCESS_DENIED: Words(
        "The identity provider did not sign you in",
        "Access was refused there, or the sign-in was cancelled. Try again or choose another way to sign in. If you "
        "should have access, ask whoever administers that provider to let you use this application.",
        403,
    ),
    Failure.INVALID_SCOPE: Words(
        "The identity provider refuses what was asked for",
        "It does not know or does not allow one of the scopes that are configured for it. Trying again will not help: "
        "an administrator should remove that scope here or allow it there.",
        502,
    ),
    Failure.REDIRECT_URI_MISMATCH: Words(
        "The identity provider does not know this address",
        "The callback URL that Watchword sends is not registered there. Trying again will not help: an administrator "
        "should copy the callback URL of this provider, exactly as shown (upper and lower case matter), to the "
        "provider's list of redirect URIs.",
        502,
    ),
    Failure.TOKEN_EXCHANGE_FAILED: Words(
        "The identity provider did not complete the sign-in",
        "It sent you back, but then refused to confirm who you are. Try again in a moment. If it happens every time, "
        "an administrator should check this provider's client ID, client secret (it may have expired) and "
        "authentication method.",
        502,
    ),
    Failure.ID_TOKEN_MISSING: Words(
        "The identity provider did not confirm who you are",
        "Its answer holds no ID token. An administrator should check that it really is an OpenID Connect provider and "
        "that the application registered there may ask for the scope openid.",
        502,
    ),
    Failure.ID_TOKEN_INVALID: Words(
        "The identity provider's confirmation cannot be trusted",
        "Its ID token did not pass every check, so nobody was signed in. If it happens every time, an administrator "
        "finds in the log, under the reference below, which check failed.",
        502,
    ),
    Failure.CLOCK_SKEW: Words(
        "The clocks do not agree",
        "The identity provider's confirmation was already over when it arrived, or is from the future: its clock and "
        "Watchword's differ by more than a minute. An administrator should let both synchronise their time.",
        502,
    ),
    Failure.USERINFO_FAILED: Words(
        "The identity provider did not tell about you",
        "It confirmed the sign-in, but its userinfo endpoint gave no usable answer about the same person. Try again "
        "in a moment. If it happens every time, an administrator should check that endpoint or switch it off.",
        502,
    ),
    Failure.UPSTREAM_EXCHANGE_FAILED: Words(
        "The identity provider gave no token for this application",
        "The application asked for a token of your identity provider, and there is none to be had. Sign in again "
        "through that provider. If it happens every time, an administrator finds in the steps of this attempt, under "
        "the reference, what the provider answered, and should check how tokens are exchanged with it.",
    ),
    Failure.INVALID_DPOP_PROOF: Words(
        "The identity provider wants a proof that it did not accept",
        "It binds its answers to a key (DPoP), and refused the proof that Watchword sent, or would not bind. If it "
        "happens every time, an administrator should compare the setting DPoP of this provider (auto, required, off) "
        "with the one of the application there, and let both synchronise their time.",
        502,
    ),
    Failure.GROUPS_OVERAGE: Words(
        "You are in too many groups",
        "The identity provider left your groups out because there are too many of them, so it cannot be decided what "
        "you may do. An administrator can let it send only groups assigned to this application, allow Watchword to "
        "ask for them (GroupMember.Read.All at Microsoft Entra ID), or clear the claim with groups here.",
        502,
    ),
    Failure.SIGNATURE_VALIDATION_FAILED: Words(
        "The identity provider's signature is not right",
        "Nothing in its answer is signed as it has to be by a certificate that is known here, so nobody was signed in. "
        "The provider may have changed its certificate: an administrator should read its metadata again or enter the "
        "certificate that it signs with now, and compare what it signs (assertion or response) with the setting here.",
        502,
    ),
    Failure.CERTIFICATE_EXPIRED: Words(
        "The identity provider's certificate has expired",
        "What it signs with is not valid any more, so nobody was signed in. An administrator should renew the "
        "certificate at the provider, and read its metadata again or enter the new certificate here.",
        502,
    ),
    Failure.AUDIENCE_MISMATCH: Words(
        "The answer was meant for another service",
        "The identity provider confirmed the sign-in to somebody else than Watchword, so nobody was signed in. If it "
        "happens every time, an administrator should compare the entity ID (audience) that is configured at the "
        "provider with the one in Watchword's metadata for it.",
        502,
    ),
    Failure.RECIPIENT_MISMATCH: Words(
        "The answer was sent to another address",
        "The identity provider made it for another address than the one where it arrived, so nobody was signed in. If "
        "it happens every time, an administrator should copy the ACS address from Watchword's metadata, exactly as it "
        "is (upper and lower case matter), to the provider.",
        502,
    ),
    Failure.RESPONSE_INVALID: Words(
        "The identity provider's answer cannot be accepted",
        "It did not pass every check, so nobody was signed in. If it happens every time, an administrator finds in "
        "the steps of this attempt, under the reference below, which check failed.",
        502,
    ),
    Failure.ACCOUNT_NOT_FOUND: Words(
        "The identity provider did not say which account is yours",
        "Its answer holds nothing by which you would be recognised the next time. An administrator should let the "
        "provider send a NameID in the e-mail or persistent format, and the attributes email, firstName and lastName, "
        "or name here the attribute that identifies people.",
        502,
    ),
    Failure.UNSOLICITED_RESPONSE: Words(
        "This sign-in did not begin here",
        "The identity provider sent you here without having been asked. Open the application and sign in from there. "
        "An administrator can allow sign-ins that begin at this provider.",
        403,
    ),
    Failure.SAML_UNAVAILABLE: Words(
        "SAML does not work on this installation",
        "The libraries that check a SAML provider's signatures cannot be loaded. Choose another way to sign in. Who "
        "runs this installation finds the reason in the log.",
        503,
    ),
    Failure.PROVIDER_DISABLED: Words(
        "This way to sign in is not available",
        "The identity provider does not exist here, was switched off, or was changed while you were signing in. Sign "
        "in again, or choose another way.",
        403,
    ),
    Failure.PROVIDER_UNREACHABLE: Words(
        "The identity provider cannot be reached",
        "It does not answer, or its discovery document or keys cannot be used. Try again in a moment or choose "
        "another way to sign in. An administrator should check the provider's issuer and whether this server may "
        "reach it.",
        502,
    ),
    Failure.PROVIDER_ERROR: Words(
        "The identity provider reported an error",
        "It could not handle this sign-in. Try again in a moment. If it happens every time, an administrator finds in "
        "the log, under the reference below, what the provider answered.",
        502,
    ),
}

# Errors that an authorization response may carry, and what they mean here. Spec: RFC 6749 4.1.2.1; OpenID Connect
# Core 3.1.2.6; `redirect_uri_mismatch` is what GitHub and Google say.
_UPSTREAM_ERRORS: Final[dict[str, Failure]] = {
    "access_denied": Failure.ACCESS_DENIED,
    "login_required": Failure.ACCESS_DENIED,
    "consent_required": Failure.ACCESS_DENIED,
    "interaction_required": Failure.ACCESS_DENIED,
    "account_selection_required": Failure.ACCESS_DENIED,
    "invalid_scope": Failure.INVALID_SCOPE,
    "redirect_uri_mismatch": Failure.REDIRECT_URI_MISMATCH,
    "invalid_redirect_uri": Failure.REDIRECT_URI_MISMATCH,
    "invalid_dpop_proof": Failure.INVALID_DPOP_PROOF,
    "use_dpop_nonce": Failure.INVALID_DPOP_PROOF,
    "temporarily_unavailable": Failure.PROVIDER_UNREACHABLE,
}


class SignInFailed(PageError):
    """An upstream sign-in ends here, with a page that names the failure."""

    def __init__(self, failure: Failure, detail: str) -> None:
        """detail: which check failed, for the log alone."""
        words = WORDS[failure]
        super().__init__(failure.value, words.title, words.message, status=words.status, detail=detail)
        self.failure = failure
        self.reason = detail


def failure_of(error: str) -> Failure:
    """What an error of the provider's authorization endpoint means here."""
    return _UPSTREAM_ERRORS.get(error, Failure.PROVIDER_ERROR)

"""Names of claims that have a meaning of their own: nothing that an installation adds may be called so."""

from typing import Final

RESERVED: Final = frozenset(
    {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "azp", "nonce", "auth_time", "acr", "amr", "at_hash", "c_hash"}
    | {"s_hash", "sid", "gid", "rev", "idp", "client_id", "scope", "cnf", "act", "may_act", "events", "typ", "active"}
    | {
        "token_type",
        "authorization_details",
        "userinfo_claims",
        "client_ip",
        "client_ip_ranges",
        "_claim_names",
        "_claim_sources",
        "via",
    }
    | {"permissions", "roles", "groups", "service_account", "policy", "entitlements", "username", "fed:iss"}
    | {"organization", "customer_id", "domain_id", "customer_shortname", "customer_name", "groupstring"}
    | {"name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "profile", "picture"}
    | {"website", "gender", "birthdate", "zoneinfo", "locale", "updated_at", "email", "email_verified"}
    | {"phone_number", "phone_number_verified", "address"}
)

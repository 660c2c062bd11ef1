"""SCIM 2.0: other systems keep people and groups here up to date.

    resources  what is said of people and groups over SCIM, and what this server offers
    people     a user as SCIM shows it, and what SCIM says of a user
    filters    filters as SQL, every value bound
    sorting    the order of pages, and where one begins
    storage    where the protocol reads and writes: the same changes as /api/v1 makes, with the same events
    server     one request

Imported at the first request: the libraries take some megabytes, and many installations have no such client.

Specs: RFC 7643 4; RFC 7644 3; RFC 9865 2.
"""

from pydantic import BaseModel

# A worker builds models when they are used (`watchword.lean`). Those of this library look at each other while they are
# defined, so they, and what is derived from them, are built at once.
_deferred = BaseModel.model_config.get("defer_build", False)
BaseModel.model_config["defer_build"] = False
try:
    import scim2_models  # noqa: F401 - the first import is what matters
finally:
    BaseModel.model_config["defer_build"] = _deferred

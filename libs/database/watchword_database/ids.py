"""Identifiers that sort by time, so that B-trees grow at one end."""

import uuid_utils


def new_id() -> str:
    """A fresh UUIDv7 as text. Spec: RFC 9562 5.7."""
    return str(uuid_utils.uuid7())

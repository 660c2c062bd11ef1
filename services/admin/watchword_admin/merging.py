"""What a PATCH makes of a document."""

from collections.abc import Mapping

from pydantic import BaseModel, JsonValue


def merged(document: BaseModel, members: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The settings with the members changed; null removes one, which gives it its default. Spec: RFC 7396 2."""
    result: dict[str, JsonValue] = document.model_dump(mode="json")
    for name, value in members.items():
        if value is None and name in result:
            del result[name]
        else:
            result[name] = value
    return result

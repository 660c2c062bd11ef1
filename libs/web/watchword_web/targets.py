"""Where a browser may be sent after signing in: only to a path of ours."""

import re
import unicodedata
from urllib.parse import unquote_to_bytes

_MAX_LENGTH = 2048
_MAX_LAYERS = 5  # how often a proxy, a framework and a browser between them could decode one value
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_WIRE = re.compile(r"[!-~]+")  # what may stand in a Location header unescaped


def is_local_path(value: str) -> bool:
    """Whether a redirect to the value stays on this origin, however often somebody on the way decodes it.

    True only for a path-absolute reference of printable ASCII (others escaped), at most 2048 characters. `//host`,
    `/\\host`, schemes, `.` and `..` segments, empty segments, backslashes and control characters are refused, also
    where they are percent-encoded up to five times over or written in full-width characters that NFKC folds.
    Spec: RFC 3986 3.3, 4.2; RFC 9700 4.11.
    """
    if len(value) > _MAX_LENGTH or not _WIRE.fullmatch(value) or _BAD_ESCAPE.search(value):
        return False
    for _ in range(_MAX_LAYERS):
        if not _is_plain_local_path(value):
            return False
        # Later layers are decoded leniently, as a careless reader would: what is no escape stays as it is.
        try:
            decoded = unquote_to_bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            return False
        if decoded == value:
            return True
        value = decoded
    return False


def _is_plain_local_path(value: str) -> bool:
    value = unicodedata.normalize("NFKC", value)
    # A browser reads "\" as "/" and drops tabs and line breaks before it parses (WHATWG URL 4.4).
    if "\\" in value or _CONTROL.search(value):
        return False
    path = re.split(r"[?#]", value, maxsplit=1)[0]
    if not path.startswith("/"):
        return False
    segments = path[1:].split("/")
    # An empty segment is "//" once dot segments are removed; only the last may be empty ("/account/").
    return "" not in segments[:-1] and not {".", ".."} & set(segments)

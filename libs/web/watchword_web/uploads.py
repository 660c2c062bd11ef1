"""Forms with a file in them, as browsers send them, read as strictly as other forms."""

import re
from typing import Final

from fastapi import Request

from watchword_web.errors import MalformedForm, RepeatedParameter
from watchword_web.forms import Params, body_of, read_form, text_of
from watchword_web.texts import Text

_TYPE: Final = re.compile(r'multipart/form-data; ?boundary="?([A-Za-z0-9\'()+_,./:=? -]{1,70})"?', re.IGNORECASE)
# A browser writes a quote in a name as %22, and a line break as %0D%0A. Spec: HTML, multipart/form-data encoding.
_HEADER: Final = re.compile(rb'content-disposition: form-data; name="([^"\r\n]{1,64})"(; filename="[^"\r\n]*")?', re.I)
_MAX_PARTS: Final = 50


def parse_upload(raw: bytes, content_type: str) -> tuple[Params, dict[str, bytes]]:
    """The texts and the files of a multipart form, by name; those that are empty are left out.

    What a file is called, and what it is said to be, is nobody's business. Raises MalformedForm, also for another type,
    and RepeatedParameter for a name that stands there twice.  Spec: RFC 7578 4; RFC 2046 5.1.1.
    """
    told = _TYPE.fullmatch(content_type.strip())
    if told is None:
        raise MalformedForm(Text("The request body must be %(type)s", type="multipart/form-data"))
    first, *parts = (b"\r\n" + raw).split(b"\r\n--" + told[1].encode())
    if first or len(parts) < 1 or parts.pop().rstrip(b"\r\n") != b"--" or len(parts) > _MAX_PARTS:
        raise MalformedForm("The request body is not what its type says")
    texts: dict[str, str] = {}
    files: dict[str, bytes] = {}
    seen: set[str] = set()
    for part in parts:
        head, separator, content = part.partition(b"\r\n\r\n")
        found = [match for line in head.split(b"\r\n") if (match := _HEADER.fullmatch(line))]
        if not part.startswith(b"\r\n") or not separator or len(found) != 1:
            raise MalformedForm("The request body is not what its type says")
        name = text_of(found[0][1])
        if name in seen:
            raise RepeatedParameter(name)
        seen.add(name)
        if content and found[0][2] is not None:
            files[name] = content
        elif content:
            texts[name] = text_of(content)
    return texts, files


async def read_upload(request: Request, limit_bytes: int) -> tuple[Params, dict[str, bytes]]:
    """The form that a request carries, as `parse_upload`; an urlencoded one is one without files."""
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/"):
        return await read_form(request, limit_bytes), {}
    return parse_upload(await body_of(request, limit_bytes), content_type)

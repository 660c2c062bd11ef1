"""Pictures that others give us, known by what is in them and never by what they are called.

PNG, JPEG and WebP alone: SVG is a document that may hold scripts and call elsewhere. A picture is walked through to its
end, so that nothing can hide behind it, and says how large it is before a browser has to find room for it.
"""

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Self

MAX_BYTES: Final = 256 * 1024
MAX_SIDE: Final = 2048  # pixels; four bytes each in the browser's memory
# The same as text, as a data URL.
MAX_TEXT: Final = 4 * (MAX_BYTES + 2) // 3 + 64
TYPES: Final = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
_DATA_URL: Final = re.compile(r"data:(image/[a-z]+);base64,([A-Za-z0-9+/]+={0,2})")
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2})  # the ways of coding that browsers know
_OTHER_FRAMES: Final = frozenset({0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)})


class UnusableImage(ValueError):
    """The picture cannot be taken; the message says why and fits into an answer."""


@dataclass(frozen=True, slots=True)
class Image:
    """A picture that can be shown. width, height: in pixels."""

    body: bytes = field(repr=False)
    media_type: str
    width: int
    height: int

    @classmethod
    def read(cls, body: bytes) -> Self:
        """The picture in these bytes. Raises UnusableImage."""
        if not body:
            raise UnusableImage("the file is empty")
        if len(body) > MAX_BYTES:
            raise UnusableImage(f"the file is larger than {MAX_BYTES // 1024} KiB")
        for media_type, begins, sides in _KINDS:
            if begins(body):
                try:
                    width, height = sides(body)
                except (IndexError, ValueError) as error:
                    reason = str(error) if isinstance(error, UnusableImage) else "the file is damaged"
                    raise UnusableImage(reason) from None
                if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
                    raise UnusableImage(f"a picture has 1 to {MAX_SIDE} pixels on each side")
                return cls(body, media_type, width, height)
        raise UnusableImage("a PNG, JPEG or WebP picture is needed")

    @classmethod
    def from_data_url(cls, url: str) -> Self:
        """The picture in a data URL, whose type must be the picture's own. Raises UnusableImage. Spec: RFC 2397 3."""
        found = _DATA_URL.fullmatch(url)
        if found is None:
            raise UnusableImage("a picture as data:image/png;base64,… is needed, or jpeg or webp")
        try:
            body = base64.b64decode(found[2], validate=True)
        except binascii.Error:
            raise UnusableImage("what follows base64, is damaged") from None
        image = cls.read(body)
        if image.media_type != found[1]:
            raise UnusableImage(f"the picture is {image.media_type}, not {found[1]}")
        return image

    @property
    def data_url(self) -> str:
        """The picture as text."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.body).decode()}"

    @property
    def digest(self) -> str:
        """What is another for another picture: 16 hexadecimal digits."""
        return hashlib.sha256(self.body).hexdigest()[:16]

    @property
    def suffix(self) -> str:
        """How a file with it would end: `png`, `jpg` or `webp`."""
        return TYPES[self.media_type]


Sides = tuple[int, int]


def _png(body: bytes) -> Sides:
    """As PNG (Third Edition) 5 and 11.2.1 say."""
    sides, at, kind, is_drawn = (0, 0), len(_PNG), b"", False
    while kind != b"IEND":
        length, kind = int.from_bytes(body[at : at + 4]), body[at + 4 : at + 8]
        data, end = body[at + 8 : at + 8 + length], at + 8 + length
        if len(body) < end + 4 or zlib.crc32(kind + data) != int.from_bytes(body[end : end + 4]):
            raise UnusableImage("the file is damaged")
        if (at == len(_PNG)) != (kind == b"IHDR"):
            raise UnusableImage("the file is damaged")
        if kind == b"IHDR":
            sides = int.from_bytes(data[:4]), int.from_bytes(data[4:8])
        if kind == b"acTL":
            raise UnusableImage("a picture that moves is not accepted")
        is_drawn = is_drawn or kind == b"IDAT"
        at = end + 4
    if not is_drawn:
        raise UnusableImage("the file is damaged")
    _check_end(body, at)
    return sides


def _jpeg(body: bytes) -> Sides:
    """As ITU-T T.81 B.1 and B.2 say."""
    sides: Sides | None = None
    for marker, segment in _segments(body):
        if marker in _OTHER_FRAMES:
            raise UnusableImage("this kind of JPEG is shown by no browser")
        if marker in _FRAMES:
            sides = int.from_bytes(segment[3:5]), int.from_bytes(segment[1:3])
    if sides is None:
        raise UnusableImage("the file is damaged")
    if not body.endswith(b"\xff\xd9"):
        raise UnusableImage("something follows the picture, or its end is missing")
    return sides


def _segments(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment before the picture itself."""
    at = 2
    while True:
        if body[at] != 0xFF:
            raise UnusableImage("the file is damaged")
        while body[at] == 0xFF:  # any number of them stand before a marker
            at += 1
        marker, at = body[at], at + 1
        length = int.from_bytes(body[at : at + 2])
        if length < 2 or at + length > len(body):
            raise UnusableImage("the file is damaged")
        yield marker, body[at + 2 : at + length]
        if marker == 0xDA:
            return
        at += length


def _webp(body: bytes) -> Sides:
    """Spec: RFC 9649 2.3-2.7."""
    _check_end(body, 8 + int.from_bytes(body[4:8], "little"))
    kind, data = body[12:16], body[20 : 20 + int.from_bytes(body[16:20], "little")]
    match kind:
        case b"VP8 " if data[3:6] == b"\x9d\x01\x2a":
            return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
        case b"VP8L" if data[0] == 0x2F:
            bits = int.from_bytes(data[1:5], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8X" if len(data) == 10:
            if data[0] & 0x02:
                raise UnusableImage("a picture that moves is not accepted")
            return 1 + int.from_bytes(data[4:7], "little"), 1 + int.from_bytes(data[7:10], "little")
    raise UnusableImage("the file is damaged")


def _check_end(body: bytes, end: int) -> None:
    if len(body) < end:
        raise UnusableImage("the file is damaged")
    if len(body) > end:
        raise UnusableImage("something follows the picture, or its end is missing")


_KINDS: Final[tuple[tuple[str, Callable[[bytes], bool], Callable[[bytes], Sides]], ...]] = (
    ("image/png", lambda body: body.startswith(_PNG), _png),
    ("image/jpeg", lambda body: body.startswith(_JPEG), _jpeg),
    ("image/webp", lambda body: body[:4] == b"RIFF" and body[8:12] == b"WEBP", _webp),
)

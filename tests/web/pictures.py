"""Pictures, made byte by byte."""

import struct
import zlib

PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int = 60, height: int = 60, *more: bytes, colour: tuple[int, int, int] = (200, 80, 20)) -> bytes:
    """A picture of one colour. more: chunks before its content."""
    rows = b"".join(b"\x00" + bytes(colour) * width for _ in range(height))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return PNG + header + b"".join(more) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND")


def segment(marker: int, data: bytes) -> bytes:
    """A part of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def jpeg(width: int = 60, height: int = 30, *, frame: int = 0xC0, end: bytes = b"\xff\xd9") -> bytes:
    """The outside of a JPEG. frame: how it says that it is coded."""
    sides = struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00"
    start = b"\xff\xd8" + segment(0xE0, b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")
    return start + segment(frame, sides) + segment(0xDA, b"\x01\x01\x00\x00\x3f\x00") + b"\x12\x34" + end


def webp(data: bytes, kind: bytes = b"VP8L") -> bytes:
    """A WebP with one part."""
    body = b"WEBP" + kind + struct.pack("<I", len(data)) + data + b"\x00" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def lossless(width: int = 60, height: int = 40) -> bytes:
    """What a WebP without losses begins with."""
    return b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + b"\x00\x00\x00"


def lossy(width: int = 60, height: int = 40) -> bytes:
    """What a WebP with losses begins with."""
    return b"\x10\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width, height)


def extended(width: int = 60, height: int = 40, flags: int = 0) -> bytes:
    """What a WebP with extras begins with."""
    return bytes([flags, 0, 0, 0]) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]

"""Pictures are known by what is in them; whatever is no picture, or more than one, is refused."""

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.web.pictures import PNG, chunk, extended, jpeg, lossless, lossy, png, segment, webp

from watchword_web.images import MAX_BYTES, Image, UnusableImage

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
GIF = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00"
)
HEADER = chunk(b"IHDR", b"\x00\x00\x00\x3c" * 2 + b"\x08\x02\x00\x00\x00")

GOOD = {
    "png": (png(60, 30), "image/png", 60, 30),
    "jpeg": (jpeg(60, 30), "image/jpeg", 60, 30),
    "progressive jpeg": (jpeg(60, 30, frame=0xC2), "image/jpeg", 60, 30),
    "webp without losses": (webp(lossless(60, 40)), "image/webp", 60, 40),
    "webp with losses": (webp(lossy(60, 40), b"VP8 "), "image/webp", 60, 40),
    "webp with extras": (webp(extended(60, 40), b"VP8X"), "image/webp", 60, 40),
}
BAD = {
    "nothing": (b"", "empty"),
    "text": (b"a picture", "is needed"),
    "svg": (SVG, "is needed"),
    "gif": (GIF, "is needed"),
    "html": (b"<!doctype html><script>alert(1)</script>", "is needed"),
    "too large a file": (PNG + b"\x00" * MAX_BYTES, "256 KiB"),
    "png alone by its first bytes": (PNG, "damaged"),
    "png cut off": (png()[:-6], "damaged"),
    "png that begins with its content": (PNG + chunk(b"IDAT") + chunk(b"IEND"), "damaged"),
    "png with two beginnings": (png(60, 60, chunk(b"IHDR", b"\x00" * 13)), "damaged"),
    "png without content": (PNG + HEADER + chunk(b"IEND"), "damaged"),
    "png with a wrong check sum": (png().replace(b"IDAT", b"IDaT"), "damaged"),
    "png with a page behind it": (png() + b"<script>alert(1)</script>", "something follows"),
    "png that moves": (png(60, 60, chunk(b"acTL", b"\x00" * 8)), "moves"),
    "png without width": (PNG + chunk(b"IHDR", b"\x00" * 13) + chunk(b"IDAT") + chunk(b"IEND"), "pixels"),
    "png too wide": (png(2049, 1), "pixels"),
    "png too high": (png(1, 2049), "pixels"),
    "png of four thousand million pixels": (
        PNG + chunk(b"IHDR", b"\xff" * 8 + b"\x08\x02\x00\x00\x00") + chunk(b"IDAT") + chunk(b"IEND"), "pixels"
    ),
    "jpeg without a frame": (b"\xff\xd8" + segment(0xDA, b"\x01") + b"\xff\xd9", "damaged"),
    "jpeg of a kind that nobody shows": (jpeg(frame=0xC3), "no browser"),
    "jpeg without its end": (jpeg(end=b""), "end is missing"),
    "jpeg with a page behind it": (jpeg() + b"<script>", "something follows"),
    "jpeg with a segment that is too long": (b"\xff\xd8\xff\xe0\xff\xff\x00", "damaged"),
    "jpeg cut off": (jpeg()[:20], "damaged"),
    "jpeg too wide": (jpeg(4000, 30), "pixels"),
    "webp with something behind it": (webp(lossless()) + b"<script>", "something follows"),
    "webp cut off": (webp(lossless())[:-3], "damaged"),
    "webp of another kind": (webp(lossless(), b"VP9 "), "damaged"),
    "webp that moves": (webp(extended(flags=2), b"VP8X"), "moves"),
    "webp too high": (webp(lossless(60, 3000)), "pixels"),
    "webp without anything": (webp(b"", b"VP8L"), "damaged"),
    "a sound": (b"RIFF\x04\x00\x00\x00WAVE", "is needed"),
}  # fmt: skip
BAD_URLS = {
    "an address": "https://elsewhere.example/logo.png",
    "a script": "javascript:alert(1)",
    "not in base64": "data:image/png,%89PNG",
    "svg": f"data:image/svg+xml;base64,{base64.b64encode(SVG).decode()}",
    "text": "data:text/html;base64,PHNjcmlwdD4=",
    "damaged base64": "data:image/png;base64,iVBORw0KGgo",
    "with a line break": f"data:image/png;base64,{base64.b64encode(png()).decode()}\n",
    "another type": f"data:image/jpeg;base64,{base64.b64encode(png()).decode()}",
    "no picture": f"data:image/png;base64,{base64.b64encode(b'nothing').decode()}",
}


@pytest.mark.parametrize(("body", "media_type", "width", "height"), GOOD.values(), ids=GOOD)
@pytest.mark.spec("RFC 2397 3; RFC 9649 2.3-2.7")
def test_a_picture_says_what_it_is_and_how_large(body: bytes, media_type: str, width: int, height: int) -> None:
    image = Image.read(body)
    assert (image.media_type, image.width, image.height) == (media_type, width, height)
    assert Image.from_data_url(image.data_url) == image


@pytest.mark.parametrize(("body", "reason"), BAD.values(), ids=BAD)
def test_what_is_no_picture_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(UnusableImage, match=reason):
        Image.read(body)


@pytest.mark.parametrize("url", BAD_URLS.values(), ids=BAD_URLS)
def test_what_is_no_picture_in_text_is_refused(url: str) -> None:
    with pytest.raises(UnusableImage):
        Image.from_data_url(url)


@given(st.sampled_from([png(3, 3), jpeg(), webp(lossless()), webp(lossy(), b"VP8 ")]), st.data())
def test_a_damaged_picture_is_refused_or_one_all_the_same(body: bytes, data: st.DataObject) -> None:
    """No bytes make reading fail in another way."""
    at = data.draw(st.integers(0, len(body) - 1))
    other = data.draw(st.binary(max_size=8))
    with contextlib.suppress(UnusableImage):
        Image.read(body[:at] + other + body[at + data.draw(st.integers(0, 8)) :])

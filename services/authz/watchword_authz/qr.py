"""QR codes as SVG that stands in the page itself: no request, no script and no style, as our policy demands."""

import segno
from markupsafe import Markup


def qr_code(text: str) -> Markup:
    """The markup of an `<svg>` element."""
    made = segno.make_qr(text, error="m").svg_inline(omitsize=True, svgclass="qr-code", lineclass=None)
    return Markup(made)  # noqa: S704 - made of numbers by the library; the text is drawn, not written

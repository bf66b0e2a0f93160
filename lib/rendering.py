"""One document as PDF: a pure function from a `Document` to bytes. The layout is `templates/invoice.typ`.

Customer text reaches the layout as data, never as markup. The same document gives the same bytes.
"""

import json
import shutil
import tempfile
import threading
from base64 import b64encode
from datetime import UTC, date, datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import font_source_sans_pro  # type: ignore[import-untyped]
import typst
import zxingcpp
from PIL import Image, UnidentifiedImageError

from lib import layouts
from lib.errors import Invalid
from lib.papers import Document

TEMPLATE = Path(__file__).parent / "templates" / "invoice.typ"
LARGEST_LOGO = 500_000  # bytes; it is in every PDF that is kept
LOGO_ALONE = b'#image(bytes(sys.inputs.logo), format: "svg", height: 18mm)'
_here = threading.local()


def rendered(document: Document) -> bytes:
    """The PDF of a document: PDF/A-3b, dated by the document itself, so that it is the same for ever.

    A text with a character that the font lacks (Chinese, say) can't be archival PDF; it becomes a plain one.
    """
    content = layouts.content(document)
    content["logo"] = _as_svg(document.logo) if document.logo else ""
    content["qr"] = girocode(document)
    day = document.issued_on or document.service_until
    try:
        return _compiled(content, day=day, standards=["a-3b"])
    except typst.TypstError:
        return _compiled(content, day=day, standards=[])


def girocode(document: Document) -> str:
    """The EPC payment code (EPC069-12, version 2) as SVG; empty where it can't be paid by it."""
    seller = document.seller
    if not (document.is_transferred and document.number and seller.iban and document.currency == "EUR"):
        return ""
    parts = ["BCD", "002", "1", "SCT", seller.bic, seller.name[:70], seller.iban.replace(" ", "")]
    parts += [f"EUR{document.to_pay:.2f}", "", "", document.number]
    # As bytes: the code says UTF-8 (the 1 above), and from a text the library would choose its own coding.
    code = zxingcpp.create_barcode("\n".join(parts).encode(), zxingcpp.BarcodeFormat.QRCode, ec_level="M")
    return str(zxingcpp.write_barcode_to_svg(code, add_quiet_zones=False))


def checked_logo(content: bytes) -> bytes:
    """The same bytes if they can stand on a document, else Invalid: PNG, JPEG or SVG, up to 500 kB."""
    if len(content) > LARGEST_LOGO:
        raise Invalid("The logo is larger than 500 kB. Save it smaller.", field="logo")
    try:
        inputs = {"logo": _as_svg(content)}
        typst.compile(LOGO_ALONE, font_paths=_fonts(), ignore_system_fonts=True, format="pdf", sys_inputs=inputs)
    except (typst.TypstError, UnidentifiedImageError, UnicodeDecodeError, OSError, ValueError) as error:
        raise Invalid("This logo can't be read. Save it as PNG, JPEG or SVG.", field="logo") from error
    return content


def _compiled(content: dict[str, Any], *, day: date, standards: list[Any]) -> bytes:
    if not hasattr(_here, "compiler"):
        # A compiler belongs to one thread; it keeps the read template and fonts warm.
        _here.compiler = typst.Compiler(
            str(TEMPLATE), root=str(TEMPLATE.parent), font_paths=_fonts(), ignore_system_fonts=True
        )
    content = content | {"day": [day.year, day.month, day.day]}
    output = _here.compiler.compile(
        format="pdf",
        sys_inputs={"document": json.dumps(content, ensure_ascii=False)},
        pdf_standards=standards,
        pdf_tags=False,  # tags would double the size of every kept document
        timestamp=int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()),
    )
    assert isinstance(output, bytes)
    return output


@cache
def _fonts() -> typst.Fonts:
    # The package has each font twice, as OTF and TTF, and typst takes whichever the folder lists first.
    # From a folder with one of each, every machine makes the same bytes.
    source = Path(font_source_sans_pro.font_directory)
    with tempfile.TemporaryDirectory() as folder:
        for weight in ("Regular", "Semibold"):
            shutil.copy(source / f"SourceSansPro-{weight}.ttf", folder)
        fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[folder])
        _warm(fonts)
    return fonts


def _warm(fonts: typst.Fonts) -> None:
    """Make typst read the font files, while their folder is there."""
    sample = b'#set text(font: "Source Sans Pro")\nA #text(weight: "semibold")[A]'
    typst.compile(sample, font_paths=fonts, ignore_system_fonts=True, format="pdf")


def _as_svg(logo: bytes) -> str:
    """The logo as SVG text, the one image form that passes to the layout as a string."""
    if logo.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        return logo.decode("utf-8-sig")
    with Image.open(BytesIO(logo), formats=("PNG", "JPEG")) as image:
        width, height = image.size
        kind = str(image.format).lower()
    data = b64encode(logo).decode("ascii")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
        f'<image width="{width}" height="{height}" href="data:image/{kind};base64,{data}"/></svg>'
    )

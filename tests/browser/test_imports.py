"""A file with errors, its corrected twin, and what became of it, in a real browser."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import text

from lib import db, import_applying
from lib.auth import Role
from tests.browser.accessibility import violations
from tests.browser.settling import settled
from tests.uploads import written

pytestmark = [pytest.mark.browser, pytest.mark.row("B11")]
SignIn = Callable[..., Page]
HEADER = "Kundennummer|Firma|Ort|E-Mail"


def counted() -> int:
    with db.transaction() as conn:
        return conn.scalar(text("SELECT count(*) FROM customers")) or 0


def upload(page: Page, folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    path.write_bytes(content)
    page.locator("input[type=file]").set_input_files(path)


def test_a_file_is_corrected_and_imported(sign_in: SignIn, tmp_path: Path) -> None:
    page = sign_in(Role.SALES, "/imports")
    wrong = written(HEADER, "K-1|Ährenfeld AG|Köln|info@", "K-1|Zwei AG||", encoding="cp1252")
    upload(page, tmp_path, "falsch.csv", wrong)
    expect(page.get_by_text("2 things are wrong in 2 rows of 2.")).to_be_visible()
    expect(page.get_by_text("Semicolon · Windows-1252")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile(r"^Import \d"))).to_have_count(0)
    settled(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the list (CSV)").click()
    listed = download.value.path().read_text(encoding="utf-8-sig").splitlines()
    assert listed[0] == "Line;Column;Cell;What is wrong"
    assert listed[1].startswith("2;E-Mail;info@;“info@” is not an e-mail address.")
    assert listed[2] == "3;Kundennummer;K-1;This number is on line 2 already."
    assert violations(page) == []

    right = written(HEADER, "K-1|Ährenfeld AG|Köln|info@aehrenfeld.example", "K-2|Zwei AG||", delimiter=",")
    upload(page, tmp_path, "richtig.csv", right)
    expect(page.get_by_text("Comma · UTF-8")).to_be_visible()
    expect(page.get_by_test_id("stMetricValue").first).to_have_text("2")
    page.get_by_role("button", name="Import 2 rows").click()
    expect(page.get_by_text("Waiting for the worker")).to_be_visible()
    assert counted() == 0
    assert import_applying.apply_one()
    # The page looks for itself.
    expect(page.get_by_text("Imported", exact=True).first).to_be_visible()
    expect(page.get_by_role("cell", name="richtig.csv")).to_be_visible()
    assert counted() == 2
    page.get_by_role("link", name="Imports").click()
    expect(page.get_by_role("heading", name="Earlier imports")).to_be_visible()
    upload(page, tmp_path, "nochmal.csv", right)
    expect(page.get_by_text("imported this very file on")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile(r"^Import \d"))).to_have_count(0)

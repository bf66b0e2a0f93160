"""The pages about documents: what each role sees, filters in the address, editing that loses nothing (rows S1, S3)."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import Connection, text
from streamlit.testing.v1 import AppTest

from lib import cancellations, close_drafts, customers, db, documents, drafts, invoices, issuing, layouts, settings
from lib.auth import Role
from lib.invoices import Filters, InvoiceLine
from pages.shared import explain, line_editor
from tests import closes
from tests.beginnings import Begin
from tests.closes import END_OF_JUNE, JUNE, TODAY, Company, line

Open = Callable[..., AppTest]


@pytest.fixture
def company(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> Company:
    monkeypatch.setenv("MANDANT_TODAY", TODAY.isoformat())
    return begin(closes.approved)


def draft_of(company: Company) -> int:
    with db.transaction() as conn:
        return invoices.invoices_of(conn, company.with_users)[0].id


def issue_all(company: Company) -> None:
    with db.transaction() as conn:
        closes.issue(conn, company)


def undecided(conn: Connection, company: Company) -> int:
    """A draft over 100.00 for a business elsewhere in the EU whose VAT ID nobody has checked."""
    details = {"name": "Alpenhof", "country": "AT", "street": "Weg 1", "postcode": "1070", "city": "Wien"}
    alpenhof = customers.create(conn, details=details, billed=True, ends_on=None, today=TODAY, user=company.admin)
    return drafts.create(
        conn, alpenhof, service_from=JUNE, service_until=END_OF_JUNE, lines=[line("100")], user=company.finance
    )


def table(page: AppTest, column: str) -> list[str]:
    """A column of the first table that has it."""
    frame = next(one.value for one in page.dataframe if column in one.value.columns)
    return [str(value) for value in frame[column]]


def buttons(page: AppTest) -> set[str]:
    return {one.label for one in page.button} - {"Sign out"}


def said(page: AppTest) -> str:
    parts = (page.markdown, page.caption, page.info, page.warning, page.error, page.text, page.toast)
    return "\n".join(str(one.value) for kind in parts for one in kind).replace("\\", "")


# ---------------------------------------------------------------------------------- the list


@pytest.mark.row("S3")
def test_the_list_shows_documents_with_their_states_and_sums(company: Company, open_page: Open) -> None:
    with db.transaction() as conn:
        issuing.issue(conn, [draft_of(company)], today=TODAY, user=company.finance)
    page = open_page("invoices.py", Role.FINANCE)
    assert not page.exception
    assert table(page, "number") == ["Draft", "RE-2026-00001"]
    assert table(page, "state") == ["['Draft']", "['Issued']"]
    assert table(page, "gross") == ["547.40", "53.55"]
    assert "together net 505.00 EUR, gross 600.95 EUR" in said(page)


def test_a_draft_without_a_vat_decision_has_no_gross_anywhere(company: Company, open_page: Open) -> None:
    with db.transaction() as conn:
        draft_id = undecided(conn, company)
    page = open_page("invoices.py", Role.FINANCE)
    assert not page.exception
    assert table(page, "net") == ["100.00", "460.00", "45.00"]
    assert table(page, "gross") == ["–", "547.40", "53.55"]
    assert "net 605.00 EUR, gross 600.95 EUR without 1 draft whose VAT isn't decided" in said(page)
    page = open_page("invoice.py", Role.FINANCE, id=str(draft_id))
    sums = next(one.value for one in page.dataframe if "what" in one.value.columns)
    assert sums.to_numpy().tolist() == [["Net", "100.00"], ["VAT", "–"], ["Gross", "–"]]


def test_overdue_is_derived_from_the_due_date(
    company: Company, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue_all(company)
    monkeypatch.setenv("MANDANT_TODAY", "2026-07-18")
    assert table(open_page("invoices.py", Role.VIEWER), "state") == ["['Overdue']", "['Overdue']"]


@pytest.mark.looks
def test_the_filters_come_from_the_address(company: Company, open_page: Open) -> None:
    page = open_page("invoices.py", Role.FINANCE, invoice_search="berta", invoice_state="Draft")
    assert table(page, "customer") == ["Berta AG"]
    page = open_page("invoices.py", Role.FINANCE, invoice_state="Paid")
    assert "No document matches these filters" in said(page)
    page = open_page("invoices.py", Role.FINANCE, invoice_month="June 2026", invoice_order="Customer")
    assert table(page, "customer") == ["Ada GmbH", "Berta AG"]


def test_many_documents_come_in_pages(company: Company, open_page: Open) -> None:
    with db.transaction() as conn:
        for _ in range(30):
            drafts.create(
                conn, company.with_users, service_from=JUNE, service_until=END_OF_JUNE, lines=[line("1")],
                user=company.finance,
            )  # fmt: skip
    assert len(table(open_page("invoices.py", Role.FINANCE), "number")) == 25
    page = open_page("invoices.py", Role.FINANCE, invoice_page="2")
    assert len(table(page, "number")) == 7
    assert "26–32 of 32 documents" in said(page)


@pytest.mark.looks
@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES])
def test_other_roles_read_and_find_no_buttons(company: Company, open_page: Open, role: Role) -> None:
    assert buttons(open_page("invoices.py", role)) == set()
    page = open_page("invoice.py", role, id=str(draft_of(company)))
    assert not page.exception
    assert buttons(page) == set()
    assert table(page, "amount")[0] == "45.00"


def test_unbilled_charges_are_listed_with_the_way_back(company: Company, open_page: Open) -> None:
    page = open_page("invoices.py", Role.FINANCE, invoice_view="Unbilled")
    assert "All charges of closed months are on a document" in said(page)
    with db.transaction() as conn:
        drafts.remove(conn, draft_of(company), user=company.finance)
    page = open_page("invoices.py", Role.FINANCE, invoice_view="Unbilled")
    assert table(page, "name") == ["Ada GmbH"]
    assert "Draft again" in table(page, "again")[0]
    reader = open_page("invoices.py", Role.VIEWER, invoice_view="Unbilled")
    assert "again" not in reader.dataframe[0].value.columns


def test_before_set_up_the_page_says_so(open_page: Open) -> None:
    assert "Billing has not begun" in said(open_page("invoices.py", Role.ADMIN))


# ---------------------------------------------------------------------------------- one document


@pytest.mark.row("S3")
def test_a_draft_shows_lines_taxes_totals_and_what_it_lacks(company: Company, open_page: Open) -> None:
    with db.transaction() as conn:
        settings.edit_company(conn, version=settings.company(conn).version, changes={"street": ""}, user=company.admin)
    page = open_page("invoice.py", Role.FINANCE, id=str(draft_of(company)))
    assert not page.exception
    assert page.title[0].value == "Draft invoice"
    assert table(page, "amount")[0] == "45.00"
    sums = next(one.value for one in page.dataframe if "what" in one.value.columns)
    assert sums.to_numpy().tolist() == [["Net", "45.00"], ["VAT 19 % on 45.00", "8.55"], ["Gross", "53.55"]]
    assert "It needs:\n- the street of our company" in said(page)
    assert "Lines of the close of June 2026 can't be edited" in said(page)
    assert buttons(page) == {"Edit", "Delete", "Issue"}
    issue = page.button(key="draft_issue")
    assert issue.disabled
    assert issue.help == "It needs the street of our company."


def test_a_complete_draft_can_be_issued(company: Company, open_page: Open) -> None:
    page = open_page("invoice.py", Role.FINANCE, id=str(draft_of(company)))
    assert not page.button(key="draft_issue").disabled
    page.button(key="draft_issue").click().run()
    assert "Gross 53.55 EUR." in said(page)


def test_the_history_begins_with_the_approval_that_drafted_it(company: Company, open_page: Open) -> None:
    issue_all(company)
    page = open_page("invoice.py", Role.FINANCE, id=str(draft_of(company)))
    assert table(page, "action") == ["Issue", "Approve"]
    assert table(page, "changes")[-1] == "The close of June 2026 drafted this document."
    assert "History (2)" in [one.label for one in page.expander]


def test_the_history_of_what_was_drafted_again_begins_with_that(company: Company, open_page: Open) -> None:
    with db.transaction() as conn:
        drafts.remove(conn, draft_of(company), user=company.finance)
        again = close_drafts.draft_unbilled(conn, company.with_users, JUNE, user=company.finance)
    assert table(open_page("invoice.py", Role.FINANCE, id=str(again)), "action") == ["Draft unbilled"]


def test_bill_to_is_the_address_that_is_printed(company: Company, open_page: Open) -> None:
    with db.transaction() as conn:
        conn.execute(
            text("UPDATE customers SET contact_name = 'Eva Beispiel' WHERE id = :id"), {"id": company.with_users}
        )
        paper = documents.document(conn, draft_of(company))
    page = open_page("invoice.py", Role.FINANCE, id=str(draft_of(company)))
    assert "\n".join(layouts.address(paper)) in [one.value for one in page.text]
    assert layouts.address(paper)[:2] == ["Ada GmbH", "Eva Beispiel"]


@pytest.mark.row("S3")
def test_texts_are_edited_and_the_closes_lines_stay(company: Company, open_page: Open) -> None:
    draft_id = draft_of(company)
    page = open_page("invoice.py", Role.FINANCE, id=str(draft_id))
    page.button(key="draft_edit").click().run()
    assert "Lines of the close of June 2026" in said(page)
    page.text_input(key=f"draft_{draft_id}_purchase_order").set_value("PO-77")
    page.text_area(key=f"draft_{draft_id}_intro").set_value("Hello")
    page.button(key="draft_save").click().run()
    assert not page.exception
    assert "The draft is saved" in said(page)
    with db.transaction() as conn:
        stored = invoices.invoice(conn, draft_id)
        assert (stored.purchase_order, stored.intro, stored.net) == ("PO-77", "Hello", Decimal("45.00"))


def test_a_stale_form_says_who_was_faster_and_keeps_what_was_typed(company: Company, open_page: Open) -> None:
    draft_id = draft_of(company)
    page = open_page("invoice.py", Role.FINANCE, id=str(draft_id))
    page.button(key="draft_edit").click().run()
    with db.transaction() as conn:
        drafts.edit(
            conn, draft_id, version=1, intro="Meanwhile", closing="", purchase_order="", due_on=None,
            service_from=JUNE, service_until=END_OF_JUNE, lines=[], user=company.admin,
        )  # fmt: skip
    page.text_input(key=f"draft_{draft_id}_purchase_order").set_value("PO-77")
    page.button(key="draft_save").click().run()
    assert "Adam changed this draft" in said(page)
    assert page.text_input(key=f"draft_{draft_id}_purchase_order").value == "PO-77"
    with db.transaction() as conn:
        assert invoices.invoice(conn, draft_id).intro == "Meanwhile"


@pytest.mark.looks
@pytest.mark.parametrize("typed", ["x" * 10_000, "a\x00b"])
def test_a_bad_text_is_refused_at_its_field(company: Company, open_page: Open, typed: str) -> None:
    draft_id = draft_of(company)
    page = open_page("invoice.py", Role.FINANCE, id=str(draft_id))
    page.button(key="draft_edit").click().run()
    page.text_area(key=f"draft_{draft_id}_closing").set_value(typed)
    page.button(key="draft_save").click().run()
    assert "The text below the lines" in said(page)
    assert page.text_area(key=f"draft_{draft_id}_closing").value == typed
    with db.transaction() as conn:
        assert invoices.invoice(conn, draft_id).version == 1


@pytest.mark.row("S3")
def test_an_issued_document_offers_its_pdf_and_a_cancellation_and_no_edit(company: Company, open_page: Open) -> None:
    issue_all(company)
    page = open_page("invoice.py", Role.FINANCE, id=str(draft_of(company)))
    assert not page.exception
    assert page.title[0].value == "RE-2026-00001"
    assert buttons(page) == {"Send by mail", "Cancel", "Record payment"}
    links = {one.proto.url for one in page.get("link_button")}
    assert links == {f"/documents/{draft_of(company)}.pdf", f"/documents/{draft_of(company)}.pdf?download=1"}


def test_a_cancelled_document_and_its_cancellation_name_each_other(company: Company, open_page: Open) -> None:
    issue_all(company)
    original = draft_of(company)
    with db.transaction() as conn:
        other = cancellations.cancel(conn, original, reason="x", today=TODAY, user=company.finance)
    links = [one.proto.label for one in open_page("invoice.py", Role.FINANCE, id=str(original)).get("page_link")]
    assert "Cancelled by ST-2026-00001" in links
    page = open_page("invoice.py", Role.FINANCE, id=str(other))
    assert "Cancels RE-2026-00001" in [one.proto.label for one in page.get("page_link")]
    assert buttons(page) == {"Send by mail"}


@pytest.mark.looks
@pytest.mark.parametrize("invoice_id", ["", "999999", "abc", "-1", "9" * 40, "²"])
def test_an_address_without_a_document_says_so(company: Company, open_page: Open, invoice_id: str) -> None:
    page = open_page("invoice.py", Role.FINANCE, id=invoice_id)
    assert not page.exception
    assert "There is no such document" in said(page)


def test_markup_in_names_is_shown_as_it_is(company: Company, open_page: Open) -> None:
    with db.transaction() as conn:
        draft_id = drafts.create(
            conn, company.with_users, service_from=JUNE, service_until=JUNE,
            lines=[line("1", name="<b>*bold*</b> :red[x]")], user=company.finance,
        )  # fmt: skip
        assert len(invoices.page(conn, Filters(), today=TODAY)) == 3
    assert table(open_page("invoice.py", Role.VIEWER, id=str(draft_id)), "text") == ["<b>*bold*</b> :red[x]"]


# ---------------------------------------------------------------------------------- the table of lines


def cells(**given: str | None) -> dict[str, str | None]:
    return {"name": "Work", "detail": "", "quantity": "1", "unit": "", "unit_price": "1"} | given


def test_lines_are_read_as_people_type_them() -> None:
    entered = line_editor.check(
        [cells(quantity="1,5", unit_price="1.234,56"), dict.fromkeys(line_editor.COLUMNS), cells(quantity="-2")]
    )
    assert entered.problems == []
    assert [(one.quantity, one.unit_price) for one in entered.lines] == [
        (Decimal("1.5"), Decimal("1234.56")), (Decimal(-2), Decimal(1))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"name": ""}, "Row 2, Text: Enter what is billed."),
        ({"quantity": ""}, "Row 2, Quantity: Enter a number."),
        ({"quantity": "0"}, "Row 2, Quantity: The quantity is 0."),
        ({"quantity": "two"}, "Row 2, Quantity: “two” is not an amount"),
        ({"quantity": "=1+1"}, "Row 2, Quantity: “=1+1” is not an amount"),
        ({"unit_price": "-5"}, "For a credit, make the quantity negative."),
        ({"unit_price": "−5"}, "For a credit, make the quantity negative."),
        ({"unit_price": "1.00001"}, "Row 2, Unit price: 1.00001 has more than 4 decimals."),
        ({"unit_price": "9" * 30}, "is too large"),
        ({"unit_price": "1.234"}, "can be read in two ways"),
        ({"vat_treatment": "Exempt"}, "Row 2, If exempt: why: Say why it is exempt"),
        ({"vat_treatment": "Reduced rate", "exempt_reason": "x"}, "Row 2, If exempt: why: A reason belongs to"),
        ({"vat_treatment": "Free"}, "Row 2, VAT: VAT: choose one of"),
    ],
)
def test_a_cell_that_cannot_be_read_is_named_by_row_and_column(given: dict[str, str], problem: str) -> None:
    entered = line_editor.check([cells(), cells(**given)])
    assert len(entered.problems) == 1
    assert problem in entered.problems[0]


@pytest.mark.parametrize("value", ["1", "1.5", "1.25", "1.125", "-0.125", "1000", "12345.6789", "0.0001", "100"])
def test_a_stored_number_is_shown_so_that_it_reads_back(value: str) -> None:
    stored = InvoiceLine(1, False, "x", "", Decimal(value), "", Decimal(value).copy_abs(), Decimal(0), None, None, None)
    row = dict(zip(line_editor.COLUMNS, line_editor.as_text([stored])[0], strict=True))
    entered = line_editor.check([row])
    assert entered.problems == []
    assert (entered.lines[0].quantity, entered.lines[0].unit_price) == (stored.quantity, stored.unit_price)


def test_how_a_line_is_taxed_is_chosen_in_its_row() -> None:
    why = "Steuerfrei nach § 4 Nr. 21 UStG"
    rows = [cells(), cells(vat_treatment="Reduced rate"), cells(vat_treatment="Exempt", exempt_reason=why)]
    entered = line_editor.check([*rows, {"vat_treatment": line_editor.STANDARD}])
    assert entered.problems == []
    assert [(one.vat_treatment, one.exempt_reason) for one in entered.lines] == [
        ("standard", ""), ("reduced", ""), ("exempt", why)
    ]  # fmt: skip


def test_the_page_tells_exempt_from_taxed(company: Company, open_page: Open) -> None:
    with db.transaction() as conn:
        lines = [line("10"), replace(line("5"), vat_treatment="exempt", exempt_reason="§ 4 Nr. 21 UStG")]
        draft_id = drafts.create(
            conn, company.with_users, service_from=JUNE, service_until=JUNE, lines=lines, user=company.finance
        )
    page = open_page("invoice.py", Role.VIEWER, id=str(draft_id))
    assert table(page, "vat") == ["19 %", "exempt"]
    assert "§ 4 Nr. 21 UStG" in said(page).replace("\\", "")


@pytest.mark.row("B2")
def test_a_line_of_the_close_says_how_its_amount_came_about(company: Company, open_page: Open) -> None:
    """Opened here by what a click remembers."""
    page = open_page("invoice.py", Role.FINANCE, id=str(draft_of(company)))
    assert "says how its amount came about" in said(page)
    with db.transaction() as conn:
        product_id = invoices.lines(conn, draft_of(company))[0].product_id
    page.session_state[explain.ASKED] = (company.with_users, product_id, JUNE)
    page.run()
    assert not page.exception
    assert table(page, "line")[-1] == "Sum"

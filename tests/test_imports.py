"""Customers are added and changed by a file: checked whole, previewed, all or nothing, once."""

from collections.abc import Callable
from datetime import date
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import Connection, text

from lib import (
    audit,
    charges,
    contacts,
    customer_exports,
    customer_filters,
    customer_users,
    customer_verbs,
    customers,
    imports,
)
from lib.auth import Role, User
from lib.errors import Conflict, Invalid, NotAllowed
from tests import ledgers, uploads
from tests.uploads import TODAY, apply, check, faults, written

pytestmark = pytest.mark.row("B11")
SetUp = Callable[..., dict[Role, User]]
# Written by a database's clock, or counted: no part of what an import may do otherwise than a form.
OWN = ("id", "number", "created_at", "version", "search", "sort_name")


@pytest.fixture
def sales(set_up: SetUp) -> User:
    return set_up()[Role.SALES]


def row(conn: Connection, number: str) -> dict[str, Any]:
    found = conn.execute(text("SELECT * FROM customers WHERE number = :number"), {"number": number}).one()
    return dict(found._mapping)


def count(conn: Connection, table: str) -> int:
    return conn.scalar(text(f"SELECT count(*) FROM {table}")) or 0


def logged(conn: Connection, customer_id: int) -> list[audit.Entry]:
    return audit.entries(conn, customer_id=customer_id)[0]


# ---------------------------------------------------------------------------------- works


def test_a_file_adds_customers_and_changes_those_it_names(conn: Connection, sales: User) -> None:
    known = customers.create(
        conn, details={"name": "Alt GmbH", "city": "Berlin"}, billed=True, ends_on=None, today=TODAY, user=sales
    )
    number = customers.customer(conn, known).number
    content = written(
        "Kundennummer|Firma|Phase|Ort|USt-IdNr.|Max. Benutzer",
        f"{number}|Neu GmbH|billed|Bremen|DE136695976|50",
        "KD-7|Sieben AG|ja|Kiel||",
        "|Ohne Nummer KG|test|Köln||1.200",
    )
    report = apply(conn, "customers", content, sales)
    assert (report.rows, report.created, report.updated, report.unchanged) == (3, 2, 1, 0)
    assert report.effect is None
    changed = customers.customer(conn, known)
    assert (changed.name, changed.city, changed.vat_id, changed.vat_id_valid) == (
        "Neu GmbH", "Bremen", "DE136695976", True,
    )  # fmt: skip
    assert (changed.max_users, changed.vat_id_checked_on, changed.version) == (50, TODAY, 2)
    seven = row(conn, "KD-7")
    assert (seven["phase"], seven["billed_from"], seven["ends_on"], seven["tenant_type"]) == (
        "billed", TODAY, None, "commercial",
    )  # fmt: skip
    third = conn.execute(text("SELECT number, ends_on, max_users FROM customers WHERE name = 'Ohne Nummer KG'")).one()
    assert third.number.startswith("C-")
    assert (third.ends_on, third.max_users) == (date(2026, 7, 13), 1200)  # four weeks


def test_the_preview_says_what_will_be_before_and_after(conn: Connection, sales: User) -> None:
    known = ledgers.customer(conn, {Role.ADMIN: sales, Role.SALES: sales}, "Alt GmbH")
    number = customers.customer(conn, known).number
    report = check(
        conn, "customers", written("Number|Name|City", f"{number}|Alt GmbH|Bremen", "K-1|Neu AG|Kiel"), sales
    )
    first, second = report.changes
    assert (first.line, first.outcome, first.number, first.name) == (2, "updated", number, "Alt GmbH")
    assert first.changes == {"city": ("Berlin", "Bremen")}
    assert (second.outcome, second.number, second.name) == ("created", "K-1", "Neu AG")
    assert second.changes["city"] == (None, "Kiel")
    assert customers.customer(conn, known).city == "Berlin"
    assert count(conn, "customers") == 1


DETAILS: list[dict[str, str]] = [
    {"name": "Ada GmbH"},
    {"name": "  Ada  "},
    {"name": "Ada" + "x" * 197},
    {"name": "Ada" + "x" * 198},
    {"name": "Ada\x07GmbH"},
    {"name": "Müller & Söhne", "contact_email": "ada@müller.example"},
    {"name": "Ada", "contact_email": "ada@musterwerk.example", "phone": "+49 30 1"},
    {"name": "Ada", "country": "at", "vat_id": "ATU13585627"},
    {"name": "Ada", "country": "AT", "vat_id": "ATU13585626"},
    {"name": "Ada", "country": "AT", "vat_id": "DE136695976"},
    {"name": "Ada", "country": "XX"},
    {"name": "Ada", "payment_days": "30"},
    {"name": "Ada", "payment_days": "400"},
    {"name": "Ada", "max_users": "1,5"},
    {"name": "Ada", "max_users": "10.000.001"},
    {"name": "Ada", "service_mode": "self_service", "payment_method": "card", "language": "en"},
    {"name": "Ada", "payment_method": "cash"},
    {"name": "Ada", "separate_billing": "yes"},
    {
        "name": "Ada", "separate_billing": "yes", "billing_name": "B", "billing_street": "S 1",
        "billing_postcode": "10115", "billing_city": "Berlin", "billing_country": "CH",
    },
    {"name": "Ada", "console_url": "http://console.example"},
    {"name": "Ada", "console_url": "https://console.example/x", "account_name": "ada", "storage_region": "ch"},
    {"name": "Ada", "tenant_type": "commercial", "licence_expires_on": "2027-01-31"},
    {"name": "Ada", "tenant_type": "sandbox", "purchase_order": "PO'1", "tax_number": "12/345"},
]  # fmt: skip


@pytest.mark.parametrize("billed", [False, True])
@pytest.mark.parametrize("details", DETAILS, ids=lambda details: ", ".join(details)[:40])
def test_a_file_and_a_form_agree_on_what_is_right(
    conn: Connection, sales: User, details: dict[str, str], billed: bool
) -> None:
    """The same values, typed and in a file: the same row, the same log, or the same refusal."""
    typed: dict[str, Any] = {name: value == "yes" if value == "yes" else value for name, value in details.items()}
    end = None if billed else TODAY + customers.FOUR_WEEKS
    by_form: dict[str, Any] | list[str]
    entry = None
    try:
        with conn.begin_nested():
            made = customers.create(conn, details=typed, billed=billed, ends_on=end, today=TODAY, user=sales)
        by_form = row(conn, customers.customer(conn, made).number)
        [entry] = logged(conn, made)
    except Invalid as refused:
        by_form = list(refused.at.values())
    header = "|".join(["phase", *details])
    content = written(header, "|".join(["billed" if billed else "test", *details.values()]), delimiter="\t")
    content = content.replace(b"Ada", b"Bea")  # a name that is there already is asked about
    report = check(conn, "customers", content, sales)
    if isinstance(by_form, list):
        # A form offers the countries to choose from, a file names them.
        other = {"Choose a country.": "“XX” is no country. Write its code, like DE, or its name."}
        wanted = [other.get(sentence, sentence).replace("Ada", "Bea") for sentence in by_form]
        assert sorted(fault.message for fault in report.faults) == sorted(wanted)
        return
    apply(conn, "customers", content, sales)
    newest = conn.execute(text("SELECT * FROM customers ORDER BY id DESC LIMIT 1")).one()._mapping
    expected = {name: value for name, value in by_form.items() if name not in OWN}
    expected["name"] = expected["name"].replace("Ada", "Bea")
    assert {name: value for name, value in newest.items() if name not in OWN} == expected
    [imported] = logged(conn, newest["id"])
    assert entry is not None
    wanted = {name: change for name, change in entry.changes.items() if change[1] not in (None, "", False)}
    wanted["name"] = [None, expected["name"]]  # type: ignore[assignment]
    assert (imported.action, imported.object_type, imported.changes) == ("create", "customer", wanted)
    spans = "SELECT effective_on, billed, active, ends_on, recorded_by FROM lifecycle WHERE customer_id = :id"
    first, second = (conn.execute(text(spans), {"id": id_}).all() for id_ in (by_form["id"], newest["id"]))
    assert first == second


def test_personal_values_stand_beside_the_log(conn: Connection, sales: User) -> None:
    apply(conn, "customers", written("Number|Name|Street|Payment method", "K-1|Ada|Hauptstr. 1|card"), sales)
    apply(conn, "customers", written("Number|Street", "K-1|Nebenstr. 2"), sales)
    stored = conn.execute(text("SELECT changes FROM audit_log WHERE object_type = 'customer'")).scalars().all()
    assert "Hauptstr" not in str(stored)
    assert "Ada" not in str(stored)
    edit, create = logged(conn, row(conn, "K-1")["id"])
    assert edit.changes == {"street": ["Hauptstr. 1", "Nebenstr. 2"]}
    assert create.changes["street"] == [None, "Hauptstr. 1"]
    assert create.changes["payment_method"] == [None, "card"]


def test_an_empty_cell_leaves_the_field_or_empties_it_as_asked(conn: Connection, sales: User) -> None:
    apply(conn, "customers", written("Number|Name|City|Max users|Country", "K-1|Ada|Berlin|50|AT"), sales)
    silent = written("Number|City|Max users|Country", "K-1|||")
    assert check(conn, "customers", silent, sales).unchanged == 1
    apply(conn, "customers", silent, sales, empties=True)
    after = row(conn, "K-1")
    # A country can't be empty, so it stays.
    assert (after["city"], after["max_users"], after["country"]) == ("", None, "AT")


# ---------------------------------------------------------------------------------- twice


def test_the_same_file_is_imported_once(conn: Connection, sales: User) -> None:
    content = written("Number|Name", "K-1|Ada")
    apply(conn, "customers", content, sales)
    again = check(conn, "customers", content, sales)
    assert (again.created, again.updated, again.unchanged) == (0, 0, 1)
    with pytest.raises(Conflict, match=r"Samuel imported this very file on .* The same file changes nothing twice"):
        uploads.queue(conn, "customers", content, sales)


def test_a_file_that_waits_is_not_queued_twice(conn: Connection, sales: User) -> None:
    content = written("Number|Name", "K-1|Ada")
    uploads.queue(conn, "customers", content, sales)
    with pytest.raises(Conflict, match=r"waits to be imported already; Samuel uploaded it as file\.csv"):
        uploads.queue(conn, "customers", content, sales)


def test_a_changed_export_of_the_same_data_changes_only_what_differs(conn: Connection, sales: User) -> None:
    header = "Number|Name|City|VAT ID"
    apply(conn, "customers", written(header, "K-1|Ada|Berlin|DE 136 695 976", "K-2|Bea|Kiel|"), sales)
    version = row(conn, "K-1")["version"]
    again = written(header, "K-2|Bea|Bremen|", "K-1|Ada|Berlin|DE136695976")
    report = apply(conn, "customers", again, sales)
    assert (report.created, report.updated, report.unchanged) == (0, 1, 1)
    assert row(conn, "K-1")["version"] == version
    assert len(logged(conn, row(conn, "K-1")["id"])) == 1


@pytest.mark.parametrize("german", [False, True])
def test_an_export_is_read_back_and_changes_nothing(conn: Connection, sales: User, german: bool) -> None:
    odd = 'K-3|@home & Söhne; "AG"|+49 30 1|AT|ATU13585627|yes|B|S 1|1|Wien|Switzerland|https://c.example/|1.200|yes'
    header = "Number|Name|Phone|Country|VAT ID|Separate billing address|Billing name|Billing street|Billing postcode"
    header += "|Billing city|Billing country|Console address|Maximum of users|Users beyond the maximum"
    apply(conn, "customers", written(header, odd), sales)
    apply(conn, "customers", written("Number|Name|Phase", "K-1|Ada|billed", "K-2|'=1+1|test"), sales)
    exported = b"".join(
        customer_exports.export_csv(conn, customer_filters.Filters(phase=None), today=TODAY, german=german)
    )
    for empties in (False, True):
        report = check(conn, "customers", exported, sales, empties=empties)
        assert faults(report) == []
        assert (report.rows, report.unchanged) == (3, 3), report.changes


# ---------------------------------------------------------------------------------- refused


def test_one_bad_row_among_a_thousand_stops_all_of_them(conn: Connection, sales: User) -> None:
    rows = [f"K-{index}|Number {index}|ada{index}@musterwerk.example" for index in range(1000)]
    rows[500] = "K-500|Number 500|not an address"
    content = written("Number|Name|E-mail", *rows)
    report = check(conn, "customers", content, sales)
    assert (report.rows, report.created, report.fault_count, report.faulty_rows) == (1000, 999, 1, 1)
    [fault] = report.faults
    assert (fault.line, fault.column, fault.value) == (502, "E-mail", "not an address")
    assert "is not an e-mail address" in fault.message
    import_id = uploads.queue(conn, "customers", content, sales)
    with pytest.raises(Invalid, match=r"line 502, E-mail: .*Nothing was imported"):
        uploads.import_applying.apply(conn, import_id, today=TODAY)
    assert count(conn, "customers") == 0


def test_faults_are_named_by_line_and_column(conn: Connection, sales: User) -> None:
    content = written(
        "Nummer|Firma|E-Mail|Land|Enddatum",
        "K-1|Ada|ada@x.example|DE|30.06.2026",
        "K-1|Ada 2||DE|",
        "K-3||||",
        "C-99999|Nobody|||",
        "K-5|Eva|eva|Atlantis|31.06.2026",
        "K-6|=SUM(A1)|||",
        "K-7|" + "x" * 10_000 + "|||",
        "K-8|Früh|||01.01.2026",
    )
    found = faults(check(conn, "customers", content, sales))
    assert [(line, column) for line, column, _ in found] == [
        (3, "Nummer"), (4, "Firma"), (5, "Nummer"), (6, "E-Mail"), (6, "Land"), (6, "Enddatum"), (7, "Firma"),
        (8, "Firma"), (9, "Enddatum"),
    ]  # fmt: skip
    said = {line: message for line, _, message in found}
    assert said[3] == "This number is on line 2 already."
    assert said[4] == "A new customer needs a name."
    assert said[5].startswith("There is no customer C-99999.")
    assert said[9] == "The end date can't be before 15 Jun 2026."
    assert "“Atlantis” is no country. Write its code, like DE, or its name." in [message for _, _, message in found]


def test_what_may_follow_from_a_faulty_cell_is_not_told(conn: Connection, sales: User) -> None:
    content = written("Name|Country|VAT ID", "Ada|Atlantis|FR40303265045", "Bea|DE|FR40303265045")
    found = faults(check(conn, "customers", content, sales))
    assert [(line, column) for line, column, _ in found] == [(2, "Country"), (3, "VAT ID")]


def test_a_name_that_is_there_without_its_number_is_asked_about(conn: Connection, sales: User) -> None:
    apply(conn, "customers", written("Number|Name", "K-1|Ada"), sales)
    report = check(conn, "customers", written("Name", "Ada", "Bea", "Bea"), sales)
    assert [(line, message[:40]) for line, _, message in faults(report)] == [
        (2, "This customer is there already, as K-1. "),
        (4, "This name is on line 3 already. Give bot"),
    ]


def test_what_has_a_button_of_its_own_is_not_done_by_a_file(conn: Connection, sales: User) -> None:
    people = {Role.ADMIN: sales, Role.SALES: sales}
    test = ledgers.customer(conn, people, "Test AG", billed=False, ends_on=date(2026, 7, 31))
    billed = ledgers.customer(conn, people, "Billed AG")
    numbers = {id_: customers.customer(conn, id_).number for id_ in (test, billed)}
    content = written("Number|Phase|End date", f"{numbers[test]}|billed|", f"{numbers[billed]}|test|")
    report = check(conn, "customers", written("Number|Phase", f"{numbers[test]}|test", f"{numbers[billed]}|yes"), sales)
    assert report.unchanged == 2
    said = [message for _, _, message in faults(check(conn, "customers", content, sales))]
    assert "Convert it to billed on its own page; a file doesn't." in said[0]
    assert "never becomes a test customer again" in said[1]


def test_end_dates_are_set_by_a_file_as_by_hand(conn: Connection, sales: User) -> None:
    people = {Role.ADMIN: sales, Role.SALES: sales}
    module = ledgers.product(conn, people | {Role.ADMIN: User(sales.id, "a", "A", Role.ADMIN)}, "module", price="30")
    by_hand, by_file, ended = (ledgers.customer(conn, people, name) for name in ("Ada", "Bea", "Cleo"))
    test = ledgers.customer(conn, people, "Test AG", billed=False, ends_on=date(2026, 7, 31))
    for customer_id in (by_hand, by_file, ended):
        ledgers.book(conn, people, customer_id, module, 1, ledgers.JUNE)
    customer_verbs.set_end_date(conn, ended, ends_on=date(2026, 6, 5), today=date(2026, 6, 3), user=sales)
    charges.ensure_rated(conn, ledgers.JUNE)
    customer_verbs.set_end_date(conn, by_hand, ends_on=date(2026, 6, 20), today=TODAY, user=sales)
    number = {id_: customers.customer(conn, id_).number for id_ in (by_file, ended, test)}
    content = written(
        "Number|End date|City",
        f"{number[by_file]}|20.06.2026|Kiel",
        f"{number[ended]}|2026-07-31|",
        f"{number[test]}|2026-08-31|",
    )
    before = conn.execute(text("SELECT count(*), max(version) FROM customers")).one()
    report = check(conn, "customers", content, sales)
    assert report.updated == 3 and report.effect is not None
    [month] = [one for one in report.effect.months if one.month == ledgers.JUNE]
    # Bea's 20 days instead of 30; Cleo's 5 and again from the 15th on, 16 days.
    assert (str(month.before), str(month.after)) == ("35.00", "41.00")
    assert conn.execute(text("SELECT count(*), max(version) FROM customers")).one() == before
    apply(conn, "customers", content, sales)
    assert {id_: customers.customer(conn, id_).ends_on for id_ in (by_file, ended, test)} == {
        by_file: date(2026, 6, 20), ended: date(2026, 7, 31), test: date(2026, 8, 31),
    }  # fmt: skip
    history = "SELECT effective_on, billed, active, ends_on FROM lifecycle WHERE customer_id = :id ORDER BY id"
    first, second = (conn.execute(text(history), {"id": id_}).all() for id_ in (by_hand, by_file))
    assert first == second
    kept = "SELECT sum(amount) FROM charges WHERE month = :month AND customer_id = :id"
    amounts = [conn.scalar(text(kept), {"month": ledgers.JUNE, "id": id_}) for id_ in (by_hand, by_file, ended)]
    assert [str(amount) for amount in amounts] == ["20.00", "20.00", "21.00"]
    assert logged(conn, by_file)[0].changes["ends_on"] == [None, "2026-06-20"]
    assert check(conn, "customers", content, sales).unchanged == 3


def test_an_end_date_that_can_not_be_is_refused_at_its_cell(conn: Connection, sales: User) -> None:
    known = ledgers.customer(conn, {Role.ADMIN: sales, Role.SALES: sales}, "Ada")
    number = customers.customer(conn, known).number
    content = written("Number|End date", f"{number}|2026-05-31")
    [(line, column, message)] = faults(check(conn, "customers", content, sales))
    assert (line, column, message) == (2, "End date", "The end date can't be before 01 Jun 2026.")


def test_tags_are_set_by_a_file(conn: Connection, sales: User) -> None:
    apply(conn, "customers", written("Number|Name|Tags", "K-1|Ada|Nord, Key account,Nord", "K-2|Bea|"), sales)
    assert [row(conn, number)["tags"] for number in ("K-1", "K-2")] == [["Nord", "Key account"], []]
    again = written("Number|Schlagworte", "K-1|Nord; Key account", "K-2|Süd & Ost")
    report = check(conn, "customers", again, sales)
    assert (report.updated, report.unchanged, report.effect) == (1, 1, None)
    assert report.changes[0].changes == {"tags": ([], ["Süd & Ost"])}
    apply(conn, "customers", again, sales)
    assert row(conn, "K-2")["tags"] == ["Süd & Ost"]
    assert logged(conn, row(conn, "K-2")["id"])[0].changes == {"tags": [[], ["Süd & Ost"]]}
    # An empty cell leaves them, or takes all of them away.
    silent = written("Number|Tags", "K-1|", "K-2|Süd & Ost")
    assert check(conn, "customers", silent, sales).unchanged == 2
    apply(conn, "customers", silent, sales, empties=True)
    assert row(conn, "K-1")["tags"] == []
    many = ", ".join(f"t{n}" for n in range(21))
    content = written("Number|Tags", "K-1|<b>", f"K-2|{many}", f"K-3|{'x' * 31}")
    assert [(line, column) for line, column, _ in faults(check(conn, "customers", content, sales))] == [
        (2, "Tags"), (3, "Tags"), (4, ""), (4, "Tags"),
    ]  # fmt: skip


def test_a_deleted_customer_is_left_alone(conn: Connection, sales: User) -> None:
    apply(conn, "customers", written("Number|Name", "K-1|Ada"), sales)
    conn.execute(text("UPDATE customers SET marked_for_deletion_at = now()"))
    for kind, header, cells in (
        ("customers", "Number|City", "K-1|Kiel"),
        ("contacts", "Customer|Name", "K-1|Bea"),
        ("usage", "Customer|Day|Users", "K-1|2026-06-01|3"),
    ):
        [(line, _, message)] = faults(check(conn, kind, written(header, cells), sales))
        assert (line, "Ada is marked for deletion" in message) == (2, True), kind


def test_columns_that_do_not_suffice_are_named(conn: Connection, sales: User) -> None:
    with pytest.raises(Invalid, match="No column is matched to Number or to Name"):
        check(conn, "customers", written("City", "Kiel"), sales)
    with pytest.raises(Invalid, match="No column is matched to Product and From"):
        check(conn, "bookings", written("Customer|Quantity", "K-1|1"), sales)


@pytest.mark.parametrize("role", [Role.VIEWER])
def test_who_may_not_edit_customers_imports_none(conn: Connection, set_up: SetUp, role: Role) -> None:
    users = set_up()
    content = written("Number|Name", "K-1|Ada")
    with pytest.raises(NotAllowed):
        check(conn, "customers", content, users[role])
    with pytest.raises(NotAllowed):
        uploads.queue(conn, "customers", content, users[role])
    waiting = uploads.queue(conn, "customers", content, users[Role.SALES])
    for action in (imports.discard, imports.retry):
        with pytest.raises(NotAllowed):
            action(conn, waiting, user=users[role])


def test_before_the_company_is_set_up_nothing_is_imported(conn: Connection, users: dict[Role, User]) -> None:
    with pytest.raises(Conflict, match="first booking month is not set"):
        check(conn, "customers", written("Number|Name", "K-1|Ada"), users[Role.SALES])


# ---------------------------------------------------------------------------------- contacts and users


def test_contacts_are_known_by_their_name(conn: Connection, sales: User) -> None:
    apply(conn, "customers", written("Number|Name", "K-1|Ada", "K-2|Bea"), sales)
    ada = row(conn, "K-1")["id"]
    contacts.add(conn, ada, name="Carl", email="carl@ada.example", is_billing=True, user=sales)
    content = written(
        "Kunde|Ansprechpartner|Telefon|E-Mail|Rechnungskontakt",
        "K-1|carl|+49 1||",
        "K-1|Dora||dora@ada.example|ja",
        "K-2|Emil|||",
    )
    report = apply(conn, "contacts", content, sales)
    assert (report.created, report.updated) == (2, 1)
    found = {one.name: one for one in contacts.of(conn, ada)}
    assert (found["carl"].phone, found["carl"].email, found["carl"].is_billing) == ("+49 1", "carl@ada.example", False)
    assert found["Dora"].is_billing
    add = next(entry for entry in logged(conn, ada) if entry.changes.get("billing_contact") == ["Carl", "Dora"])
    assert (add.action, add.object_type) == ("add", "contact")
    assert check(conn, "contacts", content, sales).unchanged == 3


def test_contacts_that_can_not_be_are_refused(conn: Connection, sales: User) -> None:
    apply(conn, "customers", written("Number|Name", "K-1|Ada"), sales)
    for phone in ("1", "2"):
        contacts.add(conn, row(conn, "K-1")["id"], name="Twice", phone=phone, user=sales)
    content = written(
        "Customer|Name|E-mail|Billing contact",
        "K-9|Carl||",
        "K-1|Twice||",
        "K-1|Dora||yes",
        "K-1|Emil|emil@ada.example|yes",
        "K-1|EMIL||",
        "K-1|||",
    )
    found = faults(check(conn, "contacts", content, sales))
    assert [(line, column) for line, column, _ in found] == [
        (2, "Customer"), (3, "Name"), (4, "E-mail"), (5, "Billing contact"), (6, "Name"), (7, "Name"),
    ]  # fmt: skip
    assert found[0][2] == "There is no customer K-9."


def test_users_are_added_without_an_invite(conn: Connection, sales: User) -> None:
    apply(conn, "customers", written("Number|Name", "K-1|Ada", "K-2|Bea"), sales)
    ada, bea = row(conn, "K-1")["id"], row(conn, "K-2")["id"]
    content = written(
        "Customer|E-mail|Anrede|Vorname|Nachname|Main user",
        "K-1|Carl@ada.example|Herr|Carl|Cordes|",
        "K-1|dora@ada.example|Frau|Dora|Dahl|yes",
        "K-2|emil@bea.example||Emil||",
    )
    apply(conn, "users", content, sales)
    found = {one.email: one for one in customer_users.users_of(conn, ada)}
    carl, dora = found["carl@ada.example"], found["dora@ada.example"]
    assert (carl.salutation, carl.name, carl.is_main, carl.invite) == ("mr", "Carl Cordes", False, "none")
    assert (dora.is_main, dora.invited_at) == (True, None)
    assert [one.is_main for one in customer_users.users_of(conn, bea)] == [True]  # the first one is it
    assert count(conn, "mails") == 0
    assert check(conn, "users", content, sales).unchanged == 3
    apply(conn, "users", written("Customer|E-mail|Nachname", "K-1|carl@ada.example|Conrads"), sales)
    assert customer_users.customer_user(conn, carl.id).surname == "Conrads"
    edit = next(entry for entry in logged(conn, ada) if entry.action == "edit")
    assert edit.changes == {"user": [None, "carl@ada.example"], "surname": ["Cordes", "Conrads"]}


def test_users_that_can_not_be_are_refused(conn: Connection, sales: User) -> None:
    apply(conn, "customers", written("Number|Name", "K-1|Ada", "K-2|Bea"), sales)
    apply(conn, "users", written("Customer|E-mail", "K-1|carl@ada.example", "K-1|dora@ada.example"), sales)
    content = written(
        "Customer|E-mail|Main user",
        "K-2|carl@ada.example|",
        "K-1|emil@ada.example|yes",
        "K-1|dora@ada.example|yes",
        "K-2|fred@bea.example|",
        "K-2|FRED@bea.example|",
    )
    found = faults(check(conn, "users", content, sales))
    assert [(line, column) for line, column, _ in found] == [
        (2, "E-mail"), (3, "Main user"), (4, "Main user"), (6, "E-mail"),
    ]  # fmt: skip
    assert found[0][2] == customer_users.TAKEN
    assert "K-1 has a main user already, carl@ada.example" in found[1][2]


# ---------------------------------------------------------------------------------- usage


def test_usage_is_recorded_by_day(conn: Connection, sales: User) -> None:
    apply(conn, "customers", written("Number|Name|Max users", "K-1|Ada|5"), sales)
    content = written(
        "Kundennummer|Tag|Benutzer|Speicher (GB)|Credits|Backups erfolgreich|Backups fehlgeschlagen|Status",
        "K-1|01.06.2026|7|1.234,5|0,125|6|1|ok",
        "K-1|02.06.2026||2.000,5||||",
    )
    report = apply(conn, "usage", content, sales)
    assert report.created == 2
    assert report.notes == [
        "1 customer uses more users than the licence allows. Usage is for information: nothing is refused or charged."
    ]
    stored = conn.execute(
        text("SELECT users, storage_gb::text, backups_failed, import_id FROM usage ORDER BY day")
    ).all()
    [imported], _ = imports.page(conn, kind="usage")
    assert [tuple(one) for one in stored] == [(7, "1234.500", 1, imported.id), (None, "2000.500", None, imported.id)]
    assert check(conn, "usage", content, sales).unchanged == 2
    more = written("Customer|Day|Credits", "K-1|2026-06-02|3", "K-1|2026-06-01|0.125")
    report = apply(conn, "usage", more, sales)
    assert (report.created, report.updated, report.unchanged) == (0, 1, 1)


def test_usage_that_can_not_be_is_refused(conn: Connection, sales: User) -> None:
    apply(conn, "customers", written("Number|Name", "K-1|Ada"), sales)
    content = written(
        "Customer|Day|Users|Storage",
        "K-1|2026-06-16|1|",
        "K-1|2026-06-01|-1|",
        "K-1|2026-06-02|1|1.234",
        "K-1|2026-06-03|1|1",
        "K-1|2026-06-03|1|2",
    )
    found = faults(check(conn, "usage", content, sales))
    assert [(line, column) for line, column, _ in found] == [(2, "Day"), (3, "Users"), (4, "Storage"), (6, "Day")]
    assert "can be read in two ways" in found[2][2]


# ---------------------------------------------------------------------------------- looking up


def test_an_import_is_looked_up_by_its_hash_and_keeps_no_file(conn: Connection, sales: User) -> None:
    content = written("Number|Name", "K-1|Ada", "K-2|Bea")
    apply(conn, "customers", content, sales)
    [found], total = imports.page(conn)
    assert total == 1
    assert (found.state, found.file_name, found.created_by) == ("applied", "file.csv", "Samuel")
    assert (found.rows, found.created, found.done_rows, found.label) == (2, 2, 2, "Customers")
    assert imports.import_(conn, found.id).file_sha256 == sha256(content).digest()
    assert conn.scalar(text("SELECT content FROM imports")) is None
    entries = audit.entries(conn, object_type="import")[0]
    assert [entry.action for entry in entries] == ["apply", "queue"]
    assert entries[0].changes["created"] == [None, 2]


def test_an_import_that_waits_is_taken_back(conn: Connection, sales: User) -> None:
    content = written("Number|Name", "K-1|Ada")
    import_id = uploads.queue(conn, "customers", content, sales)
    imports.discard(conn, import_id, user=sales)
    assert imports.import_(conn, import_id).state == "withdrawn"
    assert conn.scalar(text("SELECT content FROM imports")) is None
    uploads.import_applying.apply(conn, import_id, today=TODAY)
    assert count(conn, "customers") == 0
    for action in (imports.discard, imports.retry):
        with pytest.raises(Conflict, match="was taken back"):
            action(conn, import_id, user=sales)
    apply(conn, "customers", content, sales)  # the same file again: it was never imported
    assert count(conn, "customers") == 1


# ---------------------------------------------------------------------------------- whose the address is


@pytest.mark.row("G3")
def test_a_self_service_customers_address_is_refused_at_its_cell(conn: Connection, sales: User) -> None:
    header = "Number|Name|Service mode|Street|City|VAT ID|Phone"
    apply(conn, "customers", written(header, "K-1|Ada|Self-service|Ring 1|Kiel|DE136695976|1"), sales)
    for column, cells in (
        ("Street", "K-1|Ada|self_service|Ring 2|Kiel|DE136695976|2"),
        ("City", "K-1|Ada|self_service|Ring 1|Bonn||2"),
        ("VAT ID", "K-1|||||DE 811 907 980|"),
    ):
        [(line, name, message)] = faults(check(conn, "customers", written(header, cells), sales))
        assert (line, name) == (2, column)
        assert "its main user edits its address, billing address and VAT ID in the portal" in message
    # What stays as it is, however it is written, and what is ours are no fault.
    report = apply(conn, "customers", written(header, "K-1|Ada|Self-service|Ring 1|Kiel|DE 136 695 976|2"), sales)
    assert (report.updated, row(conn, "K-1")["phone"]) == (1, "2")


@pytest.mark.row("G3")
def test_a_file_changes_no_service_mode(conn: Connection, sales: User) -> None:
    apply(conn, "customers", written("Number|Name|Service mode", "K-1|Ada|self_service", "K-2|Bea|managed"), sales)
    content = written("Number|Service mode", "K-1|managed", "K-2|self_service")
    found = faults(check(conn, "customers", content, sales))
    assert [(line, column) for line, column, _ in found] == [(2, "Service mode"), (3, "Service mode")]
    assert all("The service mode isn't edited" in message for _, _, message in found)


@pytest.mark.row("G10")
def test_a_file_follows_the_rules_of_the_country(conn: Connection, sales: User) -> None:
    header = "Number|Name|Country|VAT ID|Tax number"
    apply(conn, "customers", written(header, "K-1|Ada|FR|FR40303265045|", "K-2|Bea|DE||"), sales)
    content = written("Number|Country|VAT ID", "K-1||", "K-2|US|")
    found = faults(check(conn, "customers", content, sales, empties=True))
    assert [(line, message[:20]) for line, _, message in found] == [
        (2, "A business in the EU"), (3, "Enter a VAT ID, a ta"),
    ]  # fmt: skip
    conn.execute(text("UPDATE company SET check_vies = true"))
    apply(conn, "customers", written(header, "K-1||FR|FR83404833048|", "K-3|Eva|FR|FR40303265045|"), sales)
    # VIES has not said so yet.
    assert [row(conn, number)["vat_id_valid"] for number in ("K-1", "K-3")] == [False, False]

"""The Plans and Modules tabs: which actions a card offers, what they say in euro, and that they are done."""

from collections.abc import Callable
from datetime import date

import pytest
from streamlit.testing.v1 import AppTest

from lib import db, plans, terms
from lib.auth import Role
from lib.db import Connection
from lib.term_offers import TermAction
from pages.shared import customer_terms, term_dialogs
from tests import termed
from tests.beginnings import Begin
from tests.termed import DAY, Shop, act, bought, order

OpenPage = Callable[..., AppTest]
NEXT_YEAR = date(2027, 5, 27)


@pytest.fixture(autouse=True)
def _today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANDANT_TODAY", str(DAY))


def tab(open_page: OpenPage, customer_id: int, name: str = "Plans", role: Role = Role.ADMIN) -> AppTest:
    page = open_page("customer.py", role, id=str(customer_id), tab=name)
    assert not page.exception
    return page


def menu(page: AppTest, product_id: int) -> list[str]:
    """The labels of a card's menu; empty where it has none."""
    found = [one for one in page.get("menu_button") if one.proto.id.endswith(f"term_{product_id}")]
    return [str(option) for option in found[0].proto.options] if found else []


def shown(page: AppTest) -> str:
    return " ".join(element.value for kind in (page.markdown, page.text, page.caption) for element in kind)


def labels(*actions: TermAction) -> list[str]:
    return [term_dialogs.LABELS[action] for action in actions]


BOOK = customer_terms.RECURRING[customer_terms.BOOK]


@pytest.mark.looks
@pytest.mark.row("S5", "S7")
def test_what_nobody_has_yet_can_be_activated_or_invoiced(begin: Begin, open_page: OpenPage) -> None:
    shop = begin(termed.shop)
    page = tab(open_page, shop.ada)
    every = labels(TermAction.FREE, TermAction.TRIAL, TermAction.MONTHLY, TermAction.YEARLY)
    assert menu(page, shop.basic) == menu(page, shop.plus) == [*every, BOOK]
    assert "30.00 a month · 300.00 a year" in shown(page)
    assert menu(tab(open_page, shop.ada, "Modules"), shop.module) == [*every, BOOK]


@pytest.mark.looks
def test_each_role_sees_what_it_may_do(begin: Begin, open_page: OpenPage) -> None:
    shop = begin(termed.shop)
    assert menu(tab(open_page, shop.ada, role=Role.VIEWER), shop.basic) == []
    assert menu(tab(open_page, shop.ada, role=Role.SALES), shop.basic) == [
        *labels(TermAction.FREE, TermAction.TRIAL), BOOK
    ]  # fmt: skip
    assert menu(tab(open_page, shop.tess), shop.basic) == [*labels(TermAction.FREE, TermAction.TRIAL), BOOK]


def with_plus(conn: Connection) -> Shop:
    """Ada has paid for plus, a year."""
    made = termed.shop(conn)
    bought(conn, made, made.plus)
    return made


@pytest.mark.looks
@pytest.mark.row("S6")
def test_what_is_active_can_be_edited_cancelled_and_withdrawn(begin: Begin, open_page: OpenPage) -> None:
    shop = begin(with_plus)
    page = tab(open_page, shop.ada)
    assert menu(page, shop.plus) == labels(
        TermAction.LATER_MONTHLY, TermAction.PERIOD, TermAction.CANCEL, TermAction.WITHDRAW
    )
    assert menu(page, shop.basic) == labels(TermAction.LATER_MONTHLY, TermAction.LATER_YEARLY)
    assert "Yearly, since 10 Jun 2026, until 9 Jun 2027. It is renewed then." in shown(page)
    service = tab(open_page, shop.ada, "Service")
    assert "Plus, yearly, since 10 Jun 2026, until 9 Jun 2027" in service.table[1].value.to_string()


@pytest.mark.looks
@pytest.mark.row("S5")
def test_the_history_has_what_was_paid_in_advance(begin: Begin, open_page: OpenPage) -> None:
    shop = begin(with_plus)
    page = tab(open_page, shop.ada, "History")
    found = next(frame.value for frame in page.dataframe if "cycle" in frame.value.columns)
    assert [list(row) for row in found[["from", "last", "product", "cycle", "net"]].to_numpy()] == [
        ["10 Jun 2026", "9 Jun 2027", "Plus", "Yearly", "600.00"]
    ]
    assert [list(state) for state in found["state"]] == [["In force"]]
    assert found["invoice"][0].startswith("RE-2026-")


def cancelled(conn: Connection) -> Shop:
    made = with_plus(conn)
    act(conn, made, "cancel", made.plus)
    return made


@pytest.mark.looks
def test_what_is_cancelled_can_be_taken_back(begin: Begin, open_page: OpenPage) -> None:
    shop = begin(cancelled)
    page = tab(open_page, shop.ada)
    assert menu(page, shop.plus) == labels(TermAction.PERIOD, TermAction.RESUME, TermAction.WITHDRAW)
    assert "It is not renewed." in shown(page)


def waiting(conn: Connection) -> Shop:
    """A draft for basic waits, and a module is booked at the close."""
    made = termed.shop(conn)
    order(conn, made, made.basic)
    plans_of_tess(conn, made)
    return made


def plans_of_tess(conn: Connection, shop: Shop) -> None:
    plans.choose(conn, shop.tess, shop.basic, effective_on=DAY, today=DAY, user=shop.sales)


@pytest.mark.looks
@pytest.mark.row("S4")
def test_what_waits_and_what_is_charged_monthly(begin: Begin, open_page: OpenPage) -> None:
    shop = begin(waiting)
    page = tab(open_page, shop.ada)
    assert menu(page, shop.basic) == labels(TermAction.DROP)
    assert menu(page, shop.plus) == []
    assert "It begins with the full payment of its invoice." in shown(page)
    page = tab(open_page, shop.tess)
    assert menu(page, shop.basic) == [customer_terms.RECURRING[one] for one in ("end", "withdraw")]
    assert menu(page, shop.plus) == [customer_terms.RECURRING["change"]]
    assert "Since 10 Jun 2026, charged at the month close." in shown(page)


def opened(monkeypatch: pytest.MonkeyPatch, open_page: OpenPage, shop: Shop, product_id: int, name: str) -> AppTest:
    """The page with the dialog of an action. AppTest can't open a menu: it answers with this entry."""

    def chosen(label: str, options: list[str], *, key: str, **more: object) -> str | None:
        return name if key == f"term_{product_id}" and name in options else None

    monkeypatch.setattr("streamlit.menu_button", chosen)
    return tab(open_page, shop.ada)


@pytest.mark.looks
@pytest.mark.row("S4")
def test_an_upgrade_says_the_sums_before_it_is_confirmed(
    begin: Begin, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = begin(with_basic)
    monkeypatch.setenv("MANDANT_TODAY", "2026-12-10")
    said = shown(opened(monkeypatch, open_page, shop, shop.plus, "UPGRADE_YEARLY"))
    for part in ("| Plus, a year | 600.00 |", "| 182 unused days of Basic | -149.59 |", "| Net | 450.41 |",
                 "| **To pay** | 535.99 |"):  # fmt: skip
        assert part in said


def with_basic(conn: Connection) -> Shop:
    """Ada has paid for basic, a year."""
    made = termed.shop(conn)
    bought(conn, made, made.basic)
    return made


@pytest.mark.row("S5")
def test_an_invoice_is_drafted_from_its_dialog(
    begin: Begin, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = begin(termed.shop)
    page = opened(monkeypatch, open_page, shop, shop.basic, "MONTHLY")
    assert "| **To pay** | 35.70 |" in shown(page)
    page.button(key="confirm_go").click().run()
    assert not page.exception
    with db.transaction() as conn:
        awaited = termed.card(conn, shop.ada, shop.basic).awaited
    assert awaited is not None and (awaited.cycle, awaited.invoice_state) == ("monthly", "draft")


@pytest.mark.parametrize(
    ("name", "says", "ends"),
    [
        ("WITHDRAW", "365 days of 365 are not used; they are worth **300.00 EUR** net", "void"),
        ("CANCEL", "Its renewal of 300.00 EUR net is not invoiced.", "cancelled"),
        ("LATER_MONTHLY", "Its renewal is then for **Basic, monthly: 30.00 EUR** net", "later"),
    ],
)
@pytest.mark.row("S6")
def test_what_an_end_means_is_said_in_euro_and_done(
    begin: Begin, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch, name: str, says: str, ends: str
) -> None:
    shop = begin(with_basic)
    page = opened(monkeypatch, open_page, shop, shop.basic, name)
    assert says in shown(page)
    page.button(key="confirm_go").click().run()
    assert not page.exception
    with db.transaction() as conn:
        term = terms.terms_of(conn, shop.ada)[0]
    assert {"void": term.state == "void", "cancelled": term.cancelled_at is not None,
            "later": term.next_cycle == "monthly"}[ends]  # fmt: skip


@pytest.mark.row("S6")
def test_a_period_is_edited_in_its_dialog(begin: Begin, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = begin(with_basic)
    page = opened(monkeypatch, open_page, shop, shop.basic, "PERIOD")
    assert page.date_input(key="term_period_from_day").disabled
    page.date_input(key="term_period_last_day").set_value(date(2026, 6, 9))
    page.button(key="term_period_save").click().run()
    assert "before today" in page.error[0].value
    page.date_input(key="term_period_last_day").set_value(date(2027, 7, 31))
    page.button(key="term_period_save").click().run()
    with db.transaction() as conn:
        assert termed.own(conn, shop.ada, shop.basic).until_day == date(2027, 8, 1)

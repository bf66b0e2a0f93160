"""The Service and Usage tabs of a customer, and the warnings above them: what they show, to whom."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection
from streamlit.testing.v1 import AppTest

from lib import customers, db, quotas, usage
from lib.auth import Role
from lib.usage import Usage
from pages.shared import figures
from tests import ledgers, people
from tests.beginnings import Begin
from tests.ledgers import JUNE

OpenPage = Callable[..., AppTest]
TODAY = date(2026, 6, 20)


@pytest.fixture(autouse=True)
def _today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANDANT_TODAY", str(TODAY))


def used(conn: Connection) -> str:
    """A customer with a plan, 10 users, quotas of credits (85 % used) and storage (120 %), and a licence that ends."""
    hired = people.open_company(conn)
    customer_id = ledgers.customer(conn, hired, "Ada & Söhne GmbH")
    users = ledgers.product(conn, hired, "users", price="5")
    plan = ledgers.product(conn, hired, "plan", code="basic", price="30")
    ledgers.product(conn, hired, "plan", code="plus", price="60")
    ledgers.book(conn, hired, customer_id, users, 10, JUNE)
    ledgers.book(conn, hired, customer_id, plan, 1, JUNE)
    sales = hired[Role.SALES]
    changes = {
        "account_name": "ada_*1*", "storage_region": "eu-central", "console_url": "https://www.console.example/7",
        "licence_expires_on": TODAY + timedelta(3),
    }  # fmt: skip
    customers.edit(conn, customer_id, version=1, changes=changes, today=TODAY, user=sales)
    for kind, amount in (("credits", 100), ("storage", 50)):
        quotas.add(conn, customer_id, kind=kind, amount=Decimal(amount), from_day=JUNE, until_day=None, user=sales)
    rows = [
        Usage(
            customer_id, TODAY - timedelta(days), users=8, storage_gb=Decimal(60 - days), credits=Decimal("8.5"),
            backups_ok=9, backups_failed=1, cloud_status="Degraded",
        )
        for days in range(10)
    ]  # fmt: skip
    usage.record(
        conn, [*rows, Usage(customer_id, date(2026, 5, 1), storage_gb=Decimal(20))], import_id=None, user=sales
    )
    return str(customer_id)


@pytest.fixture
def ada(begin: Begin) -> str:
    return begin(used)


def unknown(conn: Connection) -> str:
    """A test customer of which nothing is known."""
    hired = people.open_company(conn)
    return str(ledgers.customer(conn, hired, "Berta AG", billed=False, ends_on=date(2026, 7, 31)))


@pytest.fixture
def berta(begin: Begin) -> str:
    return begin(unknown)


def open_tab(open_page: OpenPage, customer_id: str, tab: str, role: Role = Role.SALES, **query: str) -> AppTest:
    app = open_page("customer.py", role, id=customer_id, tab=tab, **query)
    assert not app.exception
    return app


def facts(app: AppTest) -> dict[str, str]:
    """Labels and values of all tables of facts."""
    found: dict[str, str] = {}
    for table in app.table:
        found |= {str(label): str(value) for label, value in table.value.iloc[:, 0].items()}
    return found


def keys(app: AppTest) -> set[str]:
    return {button.key for button in app.button}


def texts(app: AppTest) -> str:
    return " ".join([one.value for one in (*app.text, *app.caption, *app.markdown)])


@pytest.mark.row("D1", "D2", "D3")
def test_the_service_tab_shows_account_service_and_quotas(ada: str, open_page: OpenPage) -> None:
    app = open_tab(open_page, ada, "Service")
    shown = facts(app)
    assert shown["Account name"] == r"ada\_\*1\*"
    assert shown["Organization"] == "Ada & Söhne GmbH" and "10115 Berlin" in shown["Address"]
    assert shown["Service plan"] == "Basic, since 1 Jun 2026"
    assert (shown["Tenant type"], shown["Storage region"]) == ("Commercial", r"Germany \(Frankfurt\)")
    assert shown["Credit quota"] == "100 credits, since 1 Jun 2026"
    assert shown["Licence expires"] == "23 Jun 2026"
    # The address itself would be a link that no log knows of.
    assert shown["Console at"] == r"console\.example"
    rows: list[dict[str, Any]] = app.dataframe[0].value.to_dict("records")
    assert [(row["kind"], row["amount"], row["used"], row["share"], row["state"]) for row in rows] == [
        ("Credits", "100 credits", "85 credits", "85 %", ["In force"]),
        ("Storage", "50 GB", "60 GB", "120 %", ["In force"]),
    ]
    assert {"account_edit", "service_edit", "plan_choose", "quota_add"} <= keys(app)
    [link] = [one for one in app.get("link_button") if one.label == "Open console"]
    assert link.url == f"/console/{ada}"


@pytest.mark.row("D2")
def test_a_viewer_reads_and_changes_nothing(ada: str, open_page: OpenPage) -> None:
    app = open_tab(open_page, ada, "Service", Role.VIEWER)
    assert facts(app)["Service plan"].startswith("Basic")
    assert not {"account_edit", "service_edit", "plan_choose", "quota_add"} & keys(app)


@pytest.mark.row("D2")
def test_nothing_entered_yet(berta: str, open_page: OpenPage) -> None:
    app = open_tab(open_page, berta, "Service")
    shown = facts(app)
    assert (shown["Account name"], shown["Tenant type"], shown["Storage region"]) == ("–", "Evaluation", "–")
    assert shown["Service plan"] == "None is booked" and shown["Credit quota"] == "None today"
    assert "No quota yet" in app.info[0].value
    assert not [one for one in app.get("link_button") if one.label == "Open console"]
    app = open_tab(open_page, berta, "Usage")
    assert "No usage yet" in app.info[0].value
    assert not app.metric and not app.get("plotly_chart") and not app.warning and not app.error


@pytest.mark.row("D3", "D5")
def test_the_usage_tab_shows_figures_gauges_and_charts(ada: str, open_page: OpenPage) -> None:
    app = open_tab(open_page, ada, "Usage", Role.VIEWER)
    assert {metric.label: (metric.value, metric.delta) for metric in app.metric} == {
        "Data protection": ("90 %", "10 failed of 100"),
        "Service utilization": ("80 %", "8 of 10 users"),
        "Storage growth": ("+40 GB", "now 60 GB"),
    }
    assert "Degraded" in texts(app)
    assert "85 of 100 credits, from 1 Jun 2026 without an end" in texts(app)
    assert len(app.get("plotly_chart")) == 6
    assert "Usage is known from 1 May 2026 to 20 Jun 2026" in texts(app)
    by_month = open_tab(open_page, ada, "Usage", Role.VIEWER, usage_span="12 months")
    assert len(by_month.get("plotly_chart")) == 6


@pytest.mark.row("D3")
@pytest.mark.parametrize("tab", ["Overview", "Service", "Usage"])
def test_warnings_stand_above_every_tab(ada: str, open_page: OpenPage, tab: str) -> None:
    [told] = [error.value for error in open_tab(open_page, ada, tab, Role.VIEWER).error]
    assert told.split("  \n") == [
        "**Storage**: 60 of 50 GB are used, 120 %.",
        "**Credits**: 85 of 100 credits are used, 85 %.",
        "**Licence**: it expires on 23 Jun 2026. That ends nothing; renew it or change the day.",
    ]


@pytest.mark.row("D3", "G13")
def test_the_list_of_customers_is_filtered_by_warnings(ada: str, open_page: OpenPage) -> None:
    with db.transaction() as conn:
        ledgers.customer(conn, people.hire(conn), "Zeta KG")
    app = open_page("customers.py", Role.VIEWER, customer_warning="100 % used")
    assert not app.exception and list(app.dataframe[0].value["name"]) == ["Ada & Söhne GmbH"]
    app = open_page("customers.py", Role.VIEWER, customer_warning="Ended")
    assert "No billed customer matches" in app.info[0].value
    app.button(key="clear").click().run()
    assert list(app.dataframe[0].value["name"]) == ["Ada & Söhne GmbH", "Zeta KG"]


@pytest.mark.parametrize(
    ("used", "colour", "shown"),
    [
        ("79.99", figures.GOOD, 79.9),
        ("80", figures.NEARLY, 80),
        ("99.99", figures.NEARLY, 99.9),
        ("100", figures.OVER, 100),
    ],
)
def test_a_gauge_is_cut_off_and_coloured_as_its_words(used: str, colour: str, shown: float) -> None:
    [gauge] = figures.gauge(Decimal(used), Decimal(100)).data
    assert (gauge.value, gauge.gauge.bar.color) == (shown, colour)

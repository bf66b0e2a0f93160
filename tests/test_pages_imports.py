"""The page Import: a file is checked and previewed, handed to the worker, and looked up."""

from collections.abc import Callable

import pytest
from sqlalchemy import text
from streamlit.testing.v1 import AppTest

from lib import db, import_applying
from lib.auth import Role, User
from tests import ledgers, people, uploads
from tests.beginnings import Begin
from tests.uploads import written

pytestmark = pytest.mark.row("B11")
OpenPage = Callable[..., AppTest]
GOOD = written("Kundennummer|Firma|Ort|Notiz", "K-1|Ada *AG*|Kiel|x", "K-2|Bea|Bremen|y")


@pytest.fixture(autouse=True)
def company(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> User:
    """June 2026, without a customer."""
    monkeypatch.setenv("MANDANT_TODAY", "2026-06-15")
    return begin(people.open_company)[Role.SALES]


def texts(app: AppTest) -> str:
    found = [*app.text, *app.caption, *app.markdown, *app.warning, *app.error, *app.info, *app.title, *app.toast]
    return "\n".join(str(element.value) for element in found)


def upload(app: AppTest, content: bytes, name: str = "kunden.csv") -> AppTest:
    app.file_uploader[0].set_value((name, content, "text/csv"))
    return app.run()


def metrics(app: AppTest) -> dict[str, str]:
    return {metric.label: str(metric.value) for metric in app.metric}


def test_a_viewer_is_told_why_not(open_page: OpenPage) -> None:
    app = open_page("imports.py", Role.VIEWER)
    assert "Your role (viewer) may not edit customers" in texts(app)
    assert not app.file_uploader


def test_a_file_is_checked_previewed_handed_over_and_looked_up(open_page: OpenPage) -> None:
    app = upload(open_page("imports.py", Role.SALES), GOOD)
    assert not app.exception
    assert "2 rows, 4 columns · Semicolon · UTF-8" in texts(app)
    assert "Not imported: Notiz" in texts(app)
    assert metrics(app) == {"Added": "2", "Changed": "0", "Unchanged": "0"}
    assert "No charge changes" in texts(app)
    preview = app.dataframe[0].value
    assert list(preview["name"]) == ["Ada *AG*", "Bea"]
    assert preview["changes"][0].startswith("Name: Ada *AG*; City: Kiel; Tenant type: evaluation; Number: K-1")
    app.button(key="import_go").click().run()
    assert not app.exception
    assert app.query_params["id"] == "1"
    assert "import_discard" in [button.key for button in app.button]
    assert import_applying.apply_one()
    app.switch_page("imported.py").run()  # where the browser is by now
    assert "Import of customers" in texts(app)
    facts = {str(row): str(value) for row, value in app.table[0].value.iloc[:, 0].items()}
    assert (facts["Rows"], facts["Added"], facts["File"]) == ("2", "2", "kunden\\.csv")
    assert len(app.code[0].value) == 64


def test_the_same_file_again_is_not_offered(company: User, open_page: OpenPage) -> None:
    with db.transaction() as conn:
        uploads.apply(conn, "customers", GOOD, company)
    app = upload(open_page("imports.py", Role.FINANCE), GOOD)
    assert metrics(app)["Unchanged"] == "2"
    assert "Samuel imported this very file on" in texts(app)
    assert "import_go" not in [button.key for button in app.button]


def test_faults_stand_in_a_table_and_nothing_can_be_imported(open_page: OpenPage) -> None:
    content = written("Number|Name|E-mail", "K-1|Ada|ada", "C-99999|Bea|")
    app = upload(open_page("imports.py", Role.SALES), content)
    assert "2 things are wrong in 2 rows of 2. Nothing can be imported" in texts(app)
    table = app.dataframe[0].value
    assert list(zip(table["line"], table["column"], strict=True)) == [("2", "E-mail"), ("3", "Number")]
    assert "import_go" not in [button.key for button in app.button]
    assert any(button.label == "Download the list (CSV)" for button in app.download_button)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "The file is empty"),
        (b"PK\x03\x04", "an Excel workbook"),
        (b"City\nKiel\n", "No column is matched to Number or to Name"),
    ],
)
def test_a_file_that_can_not_be_read_is_refused_in_words(open_page: OpenPage, content: bytes, sentence: str) -> None:
    app = upload(open_page("imports.py", Role.SALES), content)
    assert not app.exception
    assert sentence in texts(app)


def test_columns_are_matched_by_hand(open_page: OpenPage) -> None:
    content = written("Wer|Wo|Name", "K-1|Kiel|Ada")
    app = upload(open_page("imports.py", Role.SALES), content)
    boxes = {box.label: box for box in app.selectbox}
    assert (boxes["Wer"].value, boxes["Name"].value) == ("", "name")
    boxes["Wer"].select("number").run()
    assert metrics(app)["Added"] == "1"
    assert app.dataframe[0].value["number"][0] == "K-1"
    {box.label: box for box in app.selectbox}["Wo"].select("name").run()
    assert "Two columns are matched to Name" in texts(app)


def test_the_delimiter_can_be_chosen(open_page: OpenPage) -> None:
    app = upload(open_page("imports.py", Role.SALES), b"Number;Name,City\nK-1;Ada,Kiel\n")
    assert "Semicolon" in texts(app)
    {box.label: box for box in app.selectbox}["Between the cells"].select(",").run()
    assert "1 row, 2 columns · Comma · UTF-8" in texts(app)


def test_the_effect_of_bookings_on_the_charges_is_shown(company: User, open_page: OpenPage) -> None:
    with db.transaction() as conn:
        hired = people.hire(conn)
        ledgers.product(conn, hired, "users", price="5")
        uploads.apply(conn, "customers", written("Number|Name|Phase", "K-1|Ada|billed"), company)
    app = open_page("imports.py", Role.SALES, import_kind="Bookings")
    upload(app, written("Customer|Product|From|Quantity", "K-1|users|10.06.2026|30"))
    assert not app.exception
    assert metrics(app)["All customers, June 2026 (EUR)"] == "150.00"
    assert app.dataframe[0].value.iloc[0].to_dict() == {
        "name": "Ada", "number": "K-1", "before": "0.00", "after": "150.00", "change": "+150.00",
    }  # fmt: skip


def test_an_import_that_waits_says_that_no_worker_runs_and_can_be_discarded(company: User, open_page: OpenPage) -> None:
    with db.transaction() as conn:
        import_id = uploads.queue(conn, "customers", GOOD, company)
        conn.execute(text("UPDATE imports SET due_at = now() - interval '1 minute'"))
    app = open_page("imported.py", Role.SALES, id=str(import_id))
    assert "No worker has taken this up since" in texts(app)
    app.button(key="import_discard").click().run()
    assert not app.exception
    assert "Taken back" in texts(app)


def test_a_failed_import_says_why_and_is_tried_again(company: User, open_page: OpenPage) -> None:
    with db.transaction() as conn:
        import_id = uploads.queue(conn, "customers", GOOD, company)
        conn.execute(text("UPDATE imports SET state = 'failed', last_error = 'The *disk* is full.'"))
    app = open_page("imported.py", Role.SALES, id=str(import_id))
    assert [error.value for error in app.error] == ["The \\*disk\\* is full\\."]
    app.button(key="import_again").click().run()
    assert import_applying.apply_one()
    app.run()
    assert "Imported" in texts(app)


@pytest.mark.parametrize("named", ["999", "x", "1" * 30, "-1"])
def test_an_address_that_names_no_import_says_so(open_page: OpenPage, named: str) -> None:
    app = open_page("imported.py", Role.SALES, id=named)
    assert not app.exception
    assert "This import does not exist." in texts(app)


def test_the_list_shows_who_imported_what(company: User, open_page: OpenPage) -> None:
    with db.transaction() as conn:
        uploads.apply(conn, "customers", GOOD, company)
        uploads.queue(conn, "customers", written("Number|Name", "K-3|Cem"), company)
    app = open_page("imports.py", Role.SALES)
    table = app.dataframe[0].value
    assert list(table["state"]) == [["Waiting"], ["Imported"]]
    assert (table["by"][1], table["rows"][1], table["created"][1]) == ("Samuel", "2", "2")

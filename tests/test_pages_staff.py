"""The staff page and one's own account, as each role sees them."""

from collections.abc import Callable

import pytest
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from lib import db, staff, tables
from lib.auth import Role
from tests.people import PASSWORD

OpenPage = Callable[..., AppTest]


def texts(app: AppTest) -> str:
    """All that stands on the page."""
    found = [*app.text, *app.caption, *app.markdown, *app.warning, *app.error, *app.title, *app.toast]
    return "\n".join(str(element.value) for element in found)


def accounts() -> dict[str, staff.Account]:
    with db.transaction() as conn:
        return {one.username: one for one in staff.accounts(conn)}


def test_an_admin_sees_everybody(open_page: OpenPage) -> None:
    app = open_page("staff.py")
    assert not app.exception
    for name in ("Adam (you)", "Fiona", "Samuel", "Vera"):
        assert name in texts(app)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SALES, Role.FINANCE])
def test_nobody_else_does(open_page: OpenPage, role: Role) -> None:
    app = open_page("staff.py", role)
    assert not app.exception
    assert f"Your role ({role}) may not manage staff" in texts(app)
    assert "Adam" not in texts(app)


def test_enabling_is_one_click(open_page: OpenPage) -> None:
    app = open_page("staff.py")
    with db.transaction() as conn:
        conn.execute(update(tables.staff).where(tables.staff.c.username == "vera").values(disabled_at="2026-01-01"))
    app.run()
    app.button(key=f"enable_{accounts()['vera'].id}").click().run()
    assert accounts()["vera"].enabled
    assert "Vera can sign in again" in texts(app)


def test_the_last_admin_is_told_why_not(open_page: OpenPage) -> None:
    app = open_page("staff.py")
    with pytest.raises(KeyError):
        app.button(key=f"enable_{accounts()['adam'].id}")
    app.button(key=f"disable_{accounts()['adam'].id}").click().run()
    assert not app.exception
    assert accounts()["adam"].enabled


def change(app: AppTest, current: str, new: str, again: str) -> AppTest:
    app.text_input(key="own_password_current").input(current)
    app.text_input(key="own_password_new").input(new)
    app.text_input(key="own_password_again").input(again)
    next(button for button in app.button if button.label == "Change password").click()
    return app.run()


@pytest.mark.parametrize("role", list(Role))
def test_everybody_changes_their_own_password(open_page: OpenPage, role: Role) -> None:
    app = change(open_page("account.py", role), PASSWORD, "a-heron-in-june", "a-heron-in-june")
    assert not app.exception
    assert "Your password is changed" in texts(app)


def test_a_refusal_stands_at_the_field(open_page: OpenPage) -> None:
    app = change(open_page("account.py", Role.SALES), PASSWORD, "short", "short")
    assert [error.value for error in app.error] == ["A password needs at least 10 characters\\."]
    assert "at least 10 characters" in "\n".join(one.value for one in app.markdown)


def test_a_first_password_must_be_changed_before_anything_else(open_page: OpenPage) -> None:
    app = open_page("account.py", Role.FINANCE)
    with db.transaction() as conn:
        conn.execute(update(tables.staff).where(tables.staff.c.username == "fiona").values(must_change_password=True))
    app.run()
    assert [title.value for title in app.title] == ["Choose a password"]
    app = change(app, PASSWORD, "a-heron-in-june", "a-heron-in-june")
    assert [title.value for title in app.title] == ["My account"]


def test_a_disabled_persons_open_page_ends_at_the_next_click(open_page: OpenPage) -> None:
    app = open_page("account.py", Role.SALES)
    with db.transaction() as conn:
        conn.execute(update(tables.staff).where(tables.staff.c.username == "samuel").values(disabled_at="2026-01-01"))
    app = change(app, PASSWORD, "a-heron-in-june", "a-heron-in-june")
    assert "Mandant" in [title.value for title in app.title]
    assert "My account" not in texts(app)

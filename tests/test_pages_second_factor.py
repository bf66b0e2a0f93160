"""The second factor on one's own account, after the password, and where a role needs one."""

from collections.abc import Callable

import pyotp
import pytest
from streamlit.testing.v1 import AppTest

from lib import db, second_factors, settings, vault
from lib.auth import Role
from tests import people

OpenPage = Callable[..., AppTest]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vault.VARIABLE, vault.new_key())


def titles(page: AppTest) -> list[str]:
    return [title.value for title in page.title]


def press(page: AppTest, label: str) -> None:
    next(button for button in page.button if button.label == label).click().run()


def demand(role: Role) -> None:
    with db.transaction() as conn:
        settings.demand_second_factor(conn, [role], user=people.hire(conn)[Role.ADMIN])


def test_a_role_that_needs_one_sets_it_up_and_goes_on(open_page: OpenPage) -> None:
    page = open_page("customers.py", Role.FINANCE)
    demand(Role.FINANCE)
    page.run()
    assert titles(page) == ["Your second factor"]
    press(page, "Set up a second factor")
    secret = page.code[0].value
    page.text_input(key="second_factor_first").set_value("000000")
    press(page, "Confirm")
    assert any("This code is not right" in text.value for text in page.markdown)
    page.text_input(key="second_factor_first").set_value(pyotp.TOTP(secret).now())
    press(page, "Confirm")
    assert not page.exception
    assert len(page.code[0].value.split("\n")) == second_factors.RECOVERY_CODES
    press(page, "I have kept them")
    assert titles(page) == ["Customers"]


def test_after_the_password_comes_the_code(open_page: OpenPage) -> None:
    page = open_page("customers.py", Role.SALES)
    with db.transaction() as conn:
        user = people.hire(conn)[Role.SALES]
        secret = second_factors.begin(conn, user=user).secret
        codes = second_factors.confirm(conn, code=pyotp.TOTP(secret).now(), token=None, user=user)
    page = open_page("customers.py", Role.SALES)
    assert titles(page) == ["Mandant"]
    page.text_input(key="second_factor_code").set_value("123456")
    press(page, "Continue")
    assert "This code is not right" in page.error[0].value and titles(page) == ["Mandant"]
    page.text_input(key="second_factor_code").set_value(codes[3])
    press(page, "Continue")
    assert titles(page) == ["Customers"]


def test_guessing_gets_slow(open_page: OpenPage) -> None:
    open_page("customers.py", Role.SALES)
    with db.transaction() as conn:
        user = people.hire(conn)[Role.SALES]
        secret = second_factors.begin(conn, user=user).secret
        second_factors.confirm(conn, code=pyotp.TOTP(secret).now(), token=None, user=user)
    page = open_page("customers.py", Role.SALES)
    for _ in range(12):
        page.text_input(key="second_factor_code").set_value("123456")
        press(page, "Continue")
        if "Too many attempts" in page.error[0].value:
            return
    pytest.fail("twelve guesses in a row, and none had to wait")

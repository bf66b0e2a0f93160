"""The second factor: codes that work once, recovery codes, and roles that need one."""

import pyotp
import pytest
from sqlalchemy import Connection, text

from lib import audit, second_factors, sessions, settings, vault
from lib.auth import Role, User
from lib.errors import Conflict, Invalid, NotAllowed, NotFound
from tests import people

WRONG = ("000000", "", "abcdef", "12345", "1234567", "１２３４５６", "\x00", "0" * 10_000)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vault.VARIABLE, vault.new_key())


def code(secret: str, conn: Connection, *, steps: int = 0) -> str:
    """The app's code, by the database's clock."""
    now = conn.scalar(text("SELECT extract(epoch FROM now())"))
    return pyotp.TOTP(secret).at(int(now), counter_offset=steps)


def set_up(conn: Connection, user: User, token: str | None = None) -> tuple[str, list[str]]:
    """The secret and the recovery codes of a second factor; its code of one step ago is used up."""
    secret = second_factors.begin(conn, user=user).secret
    return secret, second_factors.confirm(conn, code=code(secret, conn, steps=-1), token=token, user=user)


def test_after_the_password_a_code_is_asked_for(conn: Connection, finance: User) -> None:
    here, elsewhere = people.sign_in(conn, finance), people.sign_in(conn, finance)
    secret, _ = set_up(conn, finance, here)
    assert sessions.user_of(conn, here) is not None
    assert sessions.user_of(conn, elsewhere) is None and sessions.waiting_user(conn, elsewhere) is None
    again = people.sign_in(conn, finance)
    assert sessions.user_of(conn, again) is None
    waiting = sessions.waiting_user(conn, again)
    assert waiting is not None and waiting.id == finance.id
    assert second_factors.passes(conn, finance.id, code(secret, conn))
    sessions.pass_second_factor(conn, again, staff_id=finance.id)
    assert sessions.user_of(conn, again) is not None and sessions.waiting_user(conn, again) is None


def test_a_code_works_once_and_an_older_one_never_after_it(conn: Connection, finance: User) -> None:
    secret, _ = set_up(conn, finance)
    now = code(secret, conn)
    assert second_factors.passes(conn, finance.id, f"{now[:3]} {now[3:]}")
    assert not second_factors.passes(conn, finance.id, now)
    assert not second_factors.passes(conn, finance.id, code(secret, conn, steps=-1))
    assert not second_factors.passes(conn, finance.id, code(secret, conn, steps=2))
    assert second_factors.passes(conn, finance.id, code(secret, conn, steps=1))


def test_each_recovery_code_works_once(conn: Connection, finance: User, sales: User) -> None:
    _, codes = set_up(conn, finance)
    assert len(set(codes)) == second_factors.RECOVERY_CODES
    assert not second_factors.passes(conn, sales.id, codes[0])
    assert second_factors.passes(conn, finance.id, codes[0].upper().replace("-", " "))
    assert not second_factors.passes(conn, finance.id, codes[0])
    assert second_factors.state(conn, finance).codes_left == 9
    stored = conn.scalars(text("SELECT code_hash FROM recovery_codes")).all()
    assert not any(codes[1].replace("-", "").encode() in bytes(digest) for digest in stored)


@pytest.mark.parametrize("typed", WRONG)
def test_wrong_codes(conn: Connection, finance: User, typed: str) -> None:
    set_up(conn, finance)
    assert not second_factors.passes(conn, finance.id, typed)
    with pytest.raises(Invalid) as refusal:
        second_factors.renew_codes(conn, code=typed, user=finance)
    assert refusal.value.field == "code"


def test_nothing_is_set_up_without_a_right_code(conn: Connection, finance: User) -> None:
    with pytest.raises(Conflict, match="Begin anew"):
        second_factors.confirm(conn, code="000000", token=None, user=finance)
    second_factors.begin(conn, user=finance)
    with pytest.raises(Invalid):
        second_factors.confirm(conn, code="000000", token=None, user=finance)
    assert not second_factors.state(conn, finance).confirmed
    assert sessions.user_of(conn, people.sign_in(conn, finance)) is not None


def test_set_up_twice(conn: Connection, finance: User) -> None:
    secret, _ = set_up(conn, finance)
    with pytest.raises(Conflict, match="already"):
        second_factors.begin(conn, user=finance)
    with pytest.raises(Conflict, match="already"):
        second_factors.confirm(conn, code=code(secret, conn), token=None, user=finance)


def test_new_recovery_codes_void_the_old_ones(conn: Connection, finance: User) -> None:
    secret, before = set_up(conn, finance)
    after = second_factors.renew_codes(conn, code=code(secret, conn), user=finance)
    assert not second_factors.passes(conn, finance.id, before[0])
    assert second_factors.passes(conn, finance.id, after[0])


def test_removing_needs_a_code_and_a_role_that_does_not_need_it(conn: Connection, finance: User, admin: User) -> None:
    secret, _ = set_up(conn, finance)
    settings.demand_second_factor(conn, [Role.FINANCE], user=admin)
    with pytest.raises(Conflict, match="needs a second factor"):
        second_factors.remove(conn, code=code(secret, conn), user=finance)
    settings.demand_second_factor(conn, [], user=admin)
    with pytest.raises(Invalid):
        second_factors.remove(conn, code="000000", user=finance)
    second_factors.remove(conn, code=code(secret, conn), user=finance)
    assert second_factors.state(conn, finance) == second_factors.State(False, 0, False)


def test_an_admin_resets_a_lost_device(conn: Connection, finance: User, admin: User) -> None:
    token = people.sign_in(conn, finance)
    set_up(conn, finance, token)
    with pytest.raises(NotAllowed):
        second_factors.reset(conn, finance.id, user=finance)
    second_factors.reset(conn, finance.id, user=admin)
    assert sessions.user_of(conn, token) is None
    assert sessions.user_of(conn, people.sign_in(conn, finance)) is not None
    with pytest.raises(Conflict, match="no second factor"):
        second_factors.reset(conn, finance.id, user=admin)
    with pytest.raises(NotFound):
        second_factors.reset(conn, 10**9, user=admin)


def test_a_role_that_needs_one_sets_it_up_first(conn: Connection, finance: User, sales: User, admin: User) -> None:
    tokens = {user.role: people.sign_in(conn, user) for user in (finance, sales)}
    with pytest.raises(NotAllowed):
        settings.demand_second_factor(conn, [Role.FINANCE], user=finance)
    settings.demand_second_factor(conn, [Role.FINANCE], user=admin)
    assert second_factors.demanded(conn) == [Role.FINANCE]
    found = {role: sessions.user_of(conn, token) for role, token in tokens.items()}
    assert {role: user.unready for role, user in found.items() if user} == {Role.FINANCE: True, Role.SALES: False}
    set_up(conn, finance, tokens[Role.FINANCE])
    ready = sessions.user_of(conn, tokens[Role.FINANCE])
    assert ready is not None and not ready.unready


def test_outside_the_demo_admins_and_finance_need_one() -> None:
    from lib.tables import company

    default = company.c.second_factor_roles.server_default
    assert default is not None and str(default.arg) == "{admin,finance}"  # type: ignore[attr-defined]


def test_keys_are_rotated_and_a_secret_opens_for_its_owner_only(
    conn: Connection, finance: User, sales: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, _ = set_up(conn, finance)
    old, new = vault.new_key(), vault.new_key()
    monkeypatch.setenv(vault.VARIABLE, f"{new} {old}")
    with pytest.raises(Invalid, match="which is not in"):
        second_factors.reseal(conn)
    monkeypatch.undo()
    monkeypatch.setenv(vault.VARIABLE, old)
    conn.execute(text("DELETE FROM recovery_codes"))
    conn.execute(text("DELETE FROM second_factors"))
    secret, _ = set_up(conn, finance)
    monkeypatch.setenv(vault.VARIABLE, f"{new} {old}")
    assert (second_factors.reseal(conn), second_factors.reseal(conn)) == (1, 0)
    monkeypatch.setenv(vault.VARIABLE, new)
    assert second_factors.passes(conn, finance.id, code(secret, conn))
    conn.execute(text("UPDATE second_factors SET staff_id = :id"), {"id": sales.id})
    with pytest.raises(Invalid, match="can't be opened"):
        second_factors.passes(conn, sales.id, code(secret, conn, steps=1))


def test_without_a_key_it_says_what_to_do(conn: Connection, finance: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(vault.VARIABLE)
    with pytest.raises(Invalid, match="new-key"):
        second_factors.begin(conn, user=finance)


def test_the_log_knows_what_was_done_and_no_secret(conn: Connection, finance: User) -> None:
    secret, codes = set_up(conn, finance)
    logged = str(audit.entries(conn, object_type="staff")[0])
    assert "set up second factor" in logged
    assert secret not in logged and codes[0] not in logged

"""Signing in at a provider: whom it leads to, that it counts once, and that nobody inherits an account."""

import time
from typing import Any

import pytest
from sqlalchemy import Connection, text

from lib import audit, oidc, sessions, staff
from lib.auth import Role, User
from lib.errors import NotAllowed

ISSUER = "https://id.msp.example"
PROVIDER = oidc.Provider(ISSUER, "mandant", "secret", "Example ID", "https://billing.msp.example")
EMAIL = "samuel@msp.example"


@pytest.fixture
def person(conn: Connection, users: dict[Role, User]) -> User:
    """Somebody with an address, who hasn't signed in at the provider yet."""
    staff.set_email(conn, users[Role.SALES].id, user=users[Role.ADMIN], email=EMAIL, version=1)
    return users[Role.SALES]


def claims(**other: Any) -> dict[str, Any]:
    """What the provider says of one sign-in."""
    said = {"iss": ISSUER, "sub": "u-1", "nonce": f"n{time.perf_counter_ns()}", "iat": int(time.time())}
    return said | {"email": EMAIL, "email_verified": True, "aud": "mandant"} | other


def sign_in(conn: Connection, said: dict[str, Any]) -> User | None:
    ticket = oidc.ticket(conn, PROVIDER, said, nonce="browser")
    return sessions.user_of(conn, ticket and sessions.redeem(conn, ticket, nonce="browser"))


def test_a_confirmed_address_leads_to_its_account(conn: Connection, person: User) -> None:
    assert sign_in(conn, claims(email="Samuel@MSP.example")) == person
    entries, _ = audit.entries(conn, object_type="staff", object_id=person.id)
    assert [entry.action for entry in entries] == ["signed in", "linked", "changed e-mail"]
    assert entries[1].changes == {"linked to": [None, f"u-1 at {ISSUER}"]}


def test_the_ticket_is_bound_to_the_browser_as_after_a_password(conn: Connection, person: User) -> None:
    ticket = oidc.ticket(conn, PROVIDER, claims(), nonce="browser")
    assert ticket and sessions.redeem(conn, ticket, nonce="another browser") is None
    assert oidc.ticket(conn, PROVIDER, claims(), nonce="") is None


def test_one_sign_in_counts_once(conn: Connection, person: User) -> None:
    """The browser keeps what the provider said for a month: a session that ended must not begin anew from it."""
    said = claims()
    assert sign_in(conn, said)
    assert oidc.ticket(conn, PROVIDER, said, nonce="browser") is None
    assert sign_in(conn, claims()), "a new one does"


@pytest.mark.parametrize("age", [11 * 60, 30 * 24 * 3600, -3 * 60, 2**60])
def test_an_old_sign_in_is_over(conn: Connection, person: User, age: int) -> None:
    assert sign_in(conn, claims(iat=int(time.time()) - age)) is None


@pytest.mark.parametrize(
    "other",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"sub": ""},
        {"sub": "x" * 256},
        {"sub": "u\x00"},
        {"sub": 7},
        {"nonce": None},
        {"iat": "now"},
        {"iat": float("nan")},
    ],
)
def test_what_is_not_of_the_provider_counts_for_nothing(conn: Connection, person: User, other: dict[str, Any]) -> None:
    assert sign_in(conn, claims(**other)) is None


@pytest.mark.parametrize(
    "other",
    [
        {"email_verified": False},
        {"email_verified": "false"},
        {"email_verified": None},
        {"email_verified": True, "xms_edov": False},
    ],
)
def test_an_unconfirmed_address_leads_nowhere(conn: Connection, person: User, other: dict[str, Any]) -> None:
    with pytest.raises(NotAllowed, match="not confirmed"):
        sign_in(conn, claims(**other))


def test_without_word_about_the_address_it_is_unconfirmed(conn: Connection, person: User) -> None:
    said = claims()
    del said["email_verified"]
    with pytest.raises(NotAllowed, match="not confirmed"):
        sign_in(conn, said)
    assert sign_in(conn, said | {"xms_edov": True}) == person


@pytest.mark.parametrize("email", [None, "", "no address", "a\x00@msp.example", 7])
def test_without_an_address_nobody_is_known(conn: Connection, person: User, email: Any) -> None:
    with pytest.raises(NotAllowed, match="told no e-mail address"):
        sign_in(conn, claims(email=email))


def test_nobody_is_added_by_signing_in(conn: Connection, person: User) -> None:
    with pytest.raises(NotAllowed, match=r"stranger@msp\.example has no account"):
        sign_in(conn, claims(email="stranger@msp.example"))
    assert len(staff.accounts(conn)) == 4


def test_a_disabled_person_stays_out(conn: Connection, person: User, admin: User) -> None:
    staff.disable(conn, person.id, user=admin, version=2)
    with pytest.raises(NotAllowed, match="disabled"):
        sign_in(conn, claims())
    staff.enable(conn, person.id, user=admin, version=3)
    assert sign_in(conn, claims())
    staff.disable(conn, person.id, user=admin, version=4)
    with pytest.raises(NotAllowed, match="disabled"):
        sign_in(conn, claims())


def test_disabling_ends_the_session_at_once(conn: Connection, person: User, admin: User) -> None:
    ticket = oidc.ticket(conn, PROVIDER, claims(), nonce="browser")
    token = ticket and sessions.redeem(conn, ticket, nonce="browser")
    assert sessions.user_of(conn, token)
    staff.disable(conn, person.id, user=admin, version=2)
    assert sessions.user_of(conn, token) is None


def test_who_gets_an_address_of_somebody_else_does_not_get_the_account(conn: Connection, person: User) -> None:
    assert sign_in(conn, claims())
    with pytest.raises(NotAllowed, match="belongs to somebody else"):
        sign_in(conn, claims(sub="u-2"))


def test_a_linked_person_stays_who_they_are_under_a_new_address(conn: Connection, person: User) -> None:
    assert sign_in(conn, claims())
    assert sign_in(conn, claims(email="married@msp.example")) == person
    assert sign_in(conn, claims(email="adam@msp.example", email_verified=False)) == person


def test_an_admin_unlinks_and_the_next_is_linked(conn: Connection, person: User, admin: User) -> None:
    assert sign_in(conn, claims())
    staff.unlink(conn, person.id, user=admin, version=2)
    assert not next(one for one in staff.accounts(conn) if one.id == person.id).linked
    assert sign_in(conn, claims(sub="u-2")) == person
    with pytest.raises(NotAllowed, match="belongs to somebody else"):
        sign_in(conn, claims(sub="u-1"))


def test_another_address_forgets_who_it_was(conn: Connection, person: User, admin: User) -> None:
    assert sign_in(conn, claims())
    staff.set_email(conn, person.id, user=admin, email="new@msp.example", version=2)
    with pytest.raises(NotAllowed, match="has no account"):
        sign_in(conn, claims())
    assert sign_in(conn, claims(sub="u-2", email="new@msp.example")) == person


def test_a_first_password_is_no_business_of_the_provider(conn: Connection, person: User) -> None:
    conn.execute(text("UPDATE staff SET must_change_password = true"))
    signed_in = sign_in(conn, claims())
    assert signed_in and not signed_in.must_change_password


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The settings of a provider."""
    for name, value in {
        oidc.ISSUER: "https://id.msp.example/",
        oidc.CLIENT_ID: "mandant",
        oidc.CLIENT_SECRET: "secret",
        oidc.URL: "https://billing.msp.example/",
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_the_environment_names_the_provider(environment: pytest.MonkeyPatch) -> None:
    found = oidc.provider()
    assert found is not None
    assert found.metadata_url == "https://id.msp.example/.well-known/openid-configuration"
    assert found.callback_url == "https://billing.msp.example/oauth2callback"
    assert found.name == "id.msp.example"
    environment.setenv(oidc.NAME, "Example ID")
    found = oidc.provider()
    assert found and found.name == "Example ID"


def test_without_settings_people_sign_in_by_password(environment: pytest.MonkeyPatch) -> None:
    for name in (oidc.ISSUER, oidc.CLIENT_ID, oidc.CLIENT_SECRET):
        environment.delenv(name)
    assert oidc.provider() is None


@pytest.mark.parametrize("name", oidc.NEEDED)
def test_half_a_provider_is_named(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.setenv(name, " ")
    with pytest.raises(RuntimeError, match=name):
        oidc.provider()


@pytest.mark.parametrize("address", ["http://id.msp.example", "id.msp.example", "ftp://127.0.0.1", "https://"])
@pytest.mark.parametrize("name", [oidc.ISSUER, oidc.URL])
def test_an_address_without_tls_is_refused(environment: pytest.MonkeyPatch, name: str, address: str) -> None:
    environment.setenv(name, address)
    with pytest.raises(RuntimeError, match=f"{name} must be an address"):
        oidc.provider()

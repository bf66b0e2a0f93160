"""The people who work with Mandant: their accounts, roles, passwords, and who they are at the sign-in provider."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, insert, select, text, update

from lib import audit, fields, passwords, requests, sessions
from lib.auth import Permission, Role, User, require
from lib.db import conflicts
from lib.errors import AlreadyDone, Conflict, Invalid, NotAllowed, NotFound
from lib.tables import staff

_USERNAME = re.compile(r"[a-z0-9][a-z0-9._@-]{1,63}")
DISABLED = "Your account in Mandant is disabled. Ask an admin if you need it."
LAST_ADMIN = "This is the last admin who can sign in. Make somebody else an admin first."


@dataclass(frozen=True)
class Account:
    """A person's account, with when it was last used. `linked`: has signed in at the provider, who knows them since."""

    id: int
    username: str
    name: str
    role: Role
    disabled_at: datetime | None
    must_change_password: bool
    email: str
    linked: bool
    version: int
    last_seen_at: datetime | None

    @property
    def enabled(self) -> bool:
        """Whether the person may sign in."""
        return self.disabled_at is None


def accounts(conn: Connection) -> list[Account]:
    """All accounts by name, the enabled ones first."""
    found = conn.execute(
        text("""
            SELECT s.id, s.username, s.name, s.role, s.disabled_at, s.must_change_password, s.email,
                   s.oidc_subject IS NOT NULL AS linked, s.version,
                   (SELECT max(last_seen_at) FROM sessions WHERE staff_id = s.id) AS last_seen_at
              FROM staff s ORDER BY s.disabled_at IS NOT NULL, lower(s.name), s.id""")
    )
    return [Account(**{**row._mapping, "role": Role(row.role)}) for row in found]


def user(conn: Connection, staff_id: int) -> User:
    """Who acts where a person's work is done for them later. Raises NotAllowed where they may not sign in any more."""
    row = conn.execute(
        text("SELECT id, username, name, role, must_change_password, disabled_at FROM staff WHERE id = :id"),
        {"id": staff_id},
    ).one()
    if row.disabled_at is not None:
        raise NotAllowed(f"{row.name} is disabled in Mandant, so nothing is done in their name. Do it in your own.")
    return User(row.id, row.username, row.name, Role(row.role), row.must_change_password)


def create_first_admin(conn: Connection, *, username: str, name: str, password: str, email: str = "") -> User:
    """The account that everything else starts from. Raises Conflict where an admin can already sign in."""
    conn.execute(text("LOCK TABLE staff IN SHARE ROW EXCLUSIVE MODE"))
    if _enabled_admins(conn):
        raise Conflict("There is an admin already. Sign in as one to add people or reset passwords.")
    values = _checked(username=username, name=name, role=Role.ADMIN, password=password, email=email)
    return _insert(conn, values, must_change=False, user_id=None)


def add(
    conn: Connection,
    *,
    user: User,
    username: str,
    name: str,
    role: str,
    password: str | None,
    email: str = "",
    must_change: bool = True,
    request_key: UUID | None = None,
) -> User:
    """Add a person with a first password, which they must change when they sign in first.

    `password` None: they sign in at the provider only, which knows them by `email`.
    """
    require(user, Permission.EDIT_STAFF)
    requests.once(conn, request_key)
    values = _checked(username=username, name=name, role=role, password=password, email=email)
    return _insert(conn, values, must_change=must_change and password is not None, user_id=user.id)


def disable(conn: Connection, staff_id: int, *, user: User, version: int) -> None:
    """Shut a person out at once: their next click ends. The last enabled admin can't be disabled."""
    require(user, Permission.EDIT_STAFF)
    before = _account(conn, staff_id)
    if before["disabled_at"] is not None:
        raise AlreadyDone(f"{before['name']} is disabled already.")
    _keep_an_admin(conn, staff_id)
    _save(conn, staff_id, {"disabled_at": func.now()}, version=version)
    sessions.end_all(conn, staff_id)
    audit.record(conn, "disabled", "staff", staff_id, user_id=user.id, changes={"enabled": (True, False)})


def enable(conn: Connection, staff_id: int, *, user: User, version: int) -> None:
    """Let a disabled person sign in again, with the password they had."""
    require(user, Permission.EDIT_STAFF)
    before = _account(conn, staff_id)
    if before["disabled_at"] is None:
        raise AlreadyDone(f"{before['name']} is enabled already.")
    _save(conn, staff_id, {"disabled_at": None}, version=version)
    audit.record(conn, "enabled", "staff", staff_id, user_id=user.id, changes={"enabled": (False, True)})


def change_role(conn: Connection, staff_id: int, *, user: User, role: str, version: int) -> None:
    """Give a person another role; they sign in anew. The last enabled admin stays one."""
    require(user, Permission.EDIT_STAFF)
    before = _account(conn, staff_id)
    new = _role(role)
    if new == before["role"]:
        raise AlreadyDone(f"{before['name']} has this role already.")
    if new != Role.ADMIN:
        _keep_an_admin(conn, staff_id)
    _save(conn, staff_id, {"role": str(new)}, version=version)
    sessions.end_all(conn, staff_id)
    audit.record(conn, "changed role", "staff", staff_id, user_id=user.id, changes={"role": (before["role"], str(new))})


def reset_password(
    conn: Connection, staff_id: int, *, user: User, password: str, version: int, request_key: UUID | None = None
) -> None:
    """Set a new first password for a person, who must change it at the next sign-in. Ends their sessions."""
    require(user, Permission.EDIT_STAFF)
    requests.once(conn, request_key)
    before = _account(conn, staff_id)
    passwords.require_good(password, username=before["username"], field="password")
    values = {"password_hash": passwords.hashed(password), "must_change_password": True}
    _save(conn, staff_id, values, version=version)
    sessions.end_all(conn, staff_id)
    audit.record(conn, "reset password", "staff", staff_id, user_id=user.id)


def set_email(conn: Connection, staff_id: int, *, user: User, email: str, version: int) -> None:
    """Say by which address the sign-in provider knows a person; who it was before is forgotten. They sign in anew."""
    require(user, Permission.EDIT_STAFF)
    before = _account(conn, staff_id)
    new = _email(email)
    if new == before["email"]:
        raise AlreadyDone(f"{before['name']} has this e-mail address already.")
    with conflicts({"staff_email_key": _taken(new)}):
        _save(conn, staff_id, {"email": new, "oidc_issuer": None, "oidc_subject": None}, version=version)
    sessions.end_all(conn, staff_id)
    audit.record(conn, "changed e-mail", "staff", staff_id, user_id=user.id, changes={"email": (before["email"], new)})


def unlink(conn: Connection, staff_id: int, *, user: User, version: int) -> None:
    """Forget who a person was at the provider, so that the next to sign in by their address is linked. Signs them out.

    For a person whose account at the provider was made anew.
    """
    require(user, Permission.EDIT_STAFF)
    before = _account(conn, staff_id)
    if before["oidc_subject"] is None:
        raise AlreadyDone(f"{before['name']} is not linked.")
    _save(conn, staff_id, {"oidc_issuer": None, "oidc_subject": None}, version=version)
    sessions.end_all(conn, staff_id)
    gone = {"linked to": (_identity(before["oidc_issuer"], before["oidc_subject"]), None)}
    audit.record(conn, "unlinked", "staff", staff_id, user_id=user.id, changes=gone)


def account_of(conn: Connection, *, issuer: str, subject: str) -> int | None:
    """The account that is linked to this person of a provider, or None. Raises NotAllowed where it is disabled."""
    found = conn.execute(
        select(staff.c.id, staff.c.disabled_at).where(staff.c.oidc_issuer == issuer, staff.c.oidc_subject == subject)
    ).one_or_none()
    if found is None:
        return None
    if found.disabled_at is not None:
        raise NotAllowed(DISABLED)
    return int(found.id)


def link(conn: Connection, email: str, *, issuer: str, subject: str) -> int:
    """The account with this address, linked from now on to this person of the provider and to nobody else.

    The provider has confirmed the address (`lib/oidc.py`). Raises NotAllowed where no account has it, where it is
    disabled, or was linked to somebody else: addresses are given to new people, subjects are not.
    """
    found = conn.execute(select(staff.c.id, staff.c.disabled_at).where(staff.c.email == email)).one_or_none()
    if found is None:
        raise NotAllowed(
            f"{email} has no account in Mandant. Ask an admin to add you, or sign in with another account."
        )
    if found.disabled_at is not None:
        raise NotAllowed(DISABLED)
    linked = conn.execute(
        update(staff)
        .where(staff.c.id == found.id, staff.c.oidc_subject.is_(None))
        .values(oidc_issuer=issuer, oidc_subject=subject)
    )
    if linked.rowcount == 0:
        raise NotAllowed(
            f"The account of {email} belongs to somebody else who used this address before. "
            "Ask an admin: “E-mail”, then “Unlink” under Staff gives it to you."
        )
    new = {"linked to": (None, _identity(issuer, subject))}
    audit.record(conn, "linked", "staff", found.id, user_id=found.id, changes=new)
    return int(found.id)


def change_own_password(
    conn: Connection, *, user: User, current: str, new: str, again: str, keep: str | None = None
) -> None:
    """Change one's own password. Ends one's sessions but the one with the token `keep`. Needs no permission."""
    before = _account(conn, user.id)
    if not passwords.matches(current, before["password_hash"]):
        raise Invalid("This is not your current password.", field="current")
    passwords.require_good(new, username=before["username"], field="new")
    if new != again:
        raise Invalid("The two new passwords differ. Type the same one twice.", field="again")
    if new == current:
        raise Invalid("The new password is the current one. Choose another.", field="new")
    values = {"password_hash": passwords.hashed(new), "must_change_password": False}
    _save(conn, user.id, values, version=before["version"])
    sessions.end_all(conn, user.id, keep=keep)
    audit.record(conn, "changed own password", "staff", user.id, user_id=user.id)


def _checked(*, username: str, name: str, role: str, password: str | None, email: str) -> dict[str, Any]:
    username, name = username.strip().lower(), name.strip()
    with fields.all_of() as check:
        check(_require_username, username)
        check(_require_name, name)
        address = check(_email, email, required=password is None)
        if password is not None:
            check(passwords.require_good, password, username=username, field="password")
    return {
        "username": username,
        "name": name,
        "role": str(_role(role)),
        "email": address,
        "password_hash": passwords.hashed(password) if password is not None else passwords.unknown(),
    }


def _require_username(username: str) -> None:
    if not _USERNAME.fullmatch(username):
        raise Invalid(
            "A user name has 2 to 64 characters: letters a to z, digits and . _ @ - (first a letter or digit).",
            field="username",
        )


def _require_name(name: str) -> None:
    if not name or len(name) > 200 or not name.isprintable():
        raise Invalid("Enter the person's name, up to 200 characters on one line.", field="name")


def _email(typed: str, *, required: bool = False) -> str:
    return fields.email(typed, field="email", required=required).lower()


def _taken(email: str) -> str:
    return f"Somebody else has the e-mail address {email}. Each person needs their own."


def _identity(issuer: str, subject: str) -> str:
    return f"{subject} at {issuer}"


def _insert(conn: Connection, values: dict[str, Any], *, must_change: bool, user_id: int | None) -> User:
    taken = f"The user name {values['username']} is taken. Choose another one."
    with conflicts({"staff_username_key": taken, "staff_email_key": _taken(values["email"])}):
        new_id: int = conn.execute(
            insert(staff).values(values | {"must_change_password": must_change}).returning(staff.c.id)
        ).scalar_one()
    shown = {name: (None, values[name]) for name in ("username", "name", "role", "email") if values[name]}
    audit.record(conn, "added", "staff", new_id, user_id=user_id or new_id, changes=shown)
    return User(new_id, values["username"], values["name"], Role(values["role"]), must_change)


def _account(conn: Connection, staff_id: int) -> dict[str, Any]:
    row = conn.execute(select(staff).where(staff.c.id == staff_id)).one_or_none()
    if row is None:
        raise NotFound("This person does not exist.")
    return dict(row._mapping)


def _save(conn: Connection, staff_id: int, values: dict[str, Any], *, version: int) -> None:
    saved = conn.execute(
        update(staff)
        .where(staff.c.id == staff_id, staff.c.version == version)
        .values(values | {"version": staff.c.version + 1})
    )
    if saved.rowcount == 0:
        raise Conflict("Somebody changed this account while you were looking at it. Look at it again, then decide.")


def _enabled_admins(conn: Connection) -> list[int]:
    """Locked in a fixed order: two admins who disable each other at once take turns, and the second is refused."""
    found = conn.scalars(
        select(staff.c.id)
        .where(staff.c.role == Role.ADMIN, staff.c.disabled_at.is_(None))
        .order_by(staff.c.id)
        .with_for_update()
    )
    return list(found)


def _keep_an_admin(conn: Connection, staff_id: int) -> None:
    if _enabled_admins(conn) == [staff_id]:
        raise Conflict(LAST_ADMIN)


def _role(role: str) -> Role:
    try:
        return Role(role)
    except ValueError as error:
        raise Invalid("Choose a role: viewer, sales, finance or admin.", field="role") from error

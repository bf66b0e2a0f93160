"""The second factor of staff: codes by time (TOTP, RFC 6238), and ten recovery codes that work once each.

Optional, or demanded of some roles by a setting. The secret is sealed by `lib/vault.py`, recovery
codes are stored as hashes, and a code that was used is refused, so that one read over a shoulder is
worth nothing.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

import pyotp
import zxingcpp
from sqlalchemy import Connection, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from lib import audit, sessions, vault
from lib.auth import Permission, Role, User, require
from lib.errors import Conflict, Invalid, NotFound
from lib.tables import company, recovery_codes, second_factors, staff

ISSUER = "Mandant"
RECOVERY_CODES = 10
# A code of the step before or after counts: clocks differ, and people type slowly.
STEPS_AROUND = 1
WRONG = "This code is not right, or was used before. Wait for the next one in your app, or use a recovery code."


@dataclass(frozen=True)
class Enrolment:
    """What an authenticator app needs, shown once: the address in the QR code, and the secret to type."""

    uri: str
    secret: str


@dataclass(frozen=True)
class State:
    """Whether a person has a second factor, how many recovery codes are left, and whether their role needs one."""

    confirmed: bool
    codes_left: int
    required: bool


def state(conn: Connection, user: User) -> State:
    """How one's own second factor stands."""
    row = conn.execute(
        text("""SELECT EXISTS (SELECT FROM second_factors
                                WHERE staff_id = :id AND confirmed_at IS NOT NULL) AS confirmed,
                       (SELECT count(*) FROM recovery_codes WHERE staff_id = :id AND used_at IS NULL) AS codes_left,
                       (SELECT :role = ANY(second_factor_roles) FROM company) AS required"""),
        {"id": user.id, "role": str(user.role)},
    ).one()
    return State(row.confirmed, row.codes_left, row.required)


def qr_code(uri: str) -> str:
    """The address as a QR code, an SVG picture."""
    code = zxingcpp.create_barcode(uri, zxingcpp.BarcodeFormat.QRCode, ec_level="M")
    return str(zxingcpp.write_barcode_to_svg(code, scale=4))


def reseal(conn: Connection) -> int:
    """Seal the secrets anew with the current key (`python -m lib rotate-keys`). Returns how many."""
    count = 0
    for row in conn.execute(select(second_factors.c.staff_id, second_factors.c.secret).with_for_update()).all():
        anew = vault.resealed(row.secret, about=_about(row.staff_id))
        if anew is not None:
            conn.execute(update(second_factors).where(second_factors.c.staff_id == row.staff_id).values(secret=anew))
            count += 1
    return count


def holders(conn: Connection) -> set[int]:
    """The ids of the staff who have a second factor."""
    return set(conn.scalars(select(second_factors.c.staff_id).where(second_factors.c.confirmed_at.is_not(None))))


def begin(conn: Connection, *, user: User) -> Enrolment:
    """A new secret for one's own app, which counts once `confirm` has seen a code of it.

    Raises Conflict where there is a second factor already, Invalid where no key can seal it.
    """
    secret = pyotp.random_base32()
    values = {"secret": vault.sealed(secret, about=_about(user.id)), "confirmed_at": None, "last_step": 0}
    begun = conn.scalar(
        upsert(second_factors)
        .values(staff_id=user.id, **values)
        .on_conflict_do_update(index_elements=["staff_id"], set_=values, where=second_factors.c.confirmed_at.is_(None))
        .returning(second_factors.c.staff_id)
    )
    if begun is None:
        raise Conflict("You have a second factor already. Remove it first, then set up the new one.")
    return Enrolment(pyotp.TOTP(secret).provisioning_uri(user.username, issuer_name=ISSUER), secret)


def confirm(conn: Connection, *, code: str, token: str | None, user: User) -> list[str]:
    """Take the app's first code: the second factor counts from now on. Returns the recovery codes, this once.

    The session of `token` stays; one's sessions in other browsers end.
    """
    found = conn.execute(
        select(second_factors.c.confirmed_at).where(second_factors.c.staff_id == user.id).with_for_update()
    ).one_or_none()
    if found is None:
        raise Conflict("Begin anew: there is no secret to confirm.")
    if found.confirmed_at is not None:
        raise Conflict("Your second factor is set up already.")
    if not _totp_fits(conn, user.id, code):
        raise Invalid(WRONG, field="code")
    conn.execute(update(second_factors).where(second_factors.c.staff_id == user.id).values(confirmed_at=func.now()))
    sessions.pass_second_factor(conn, token, staff_id=user.id)
    sessions.end_all(conn, user.id, keep=token)
    audit.record(conn, "set up second factor", "staff", user.id, user_id=user.id)
    return _new_codes(conn, user.id)


def renew_codes(conn: Connection, *, code: str, user: User) -> list[str]:
    """Ten new recovery codes for a code of the app; those before are void."""
    _require_code(conn, user.id, code)
    audit.record(conn, "renew recovery codes", "staff", user.id, user_id=user.id)
    return _new_codes(conn, user.id)


def remove(conn: Connection, *, code: str, user: User) -> None:
    """Give one's own second factor up, by a code of it. Refused where the role needs one."""
    if state(conn, user).required:
        raise Conflict(f"The role {user.role} needs a second factor. An admin can reset yours for a new device.")
    _require_code(conn, user.id, code)
    _forget(conn, user.id)
    audit.record(conn, "remove second factor", "staff", user.id, user_id=user.id)


def reset(conn: Connection, staff_id: int, *, user: User) -> None:
    """Take a person's second factor away, whose device and codes are lost; they are signed out everywhere."""
    require(user, Permission.EDIT_STAFF)
    if conn.scalar(select(staff.c.id).where(staff.c.id == staff_id)) is None:
        raise NotFound("This person does not exist.")
    if not _forget(conn, staff_id):
        raise Conflict("This person has no second factor.")
    sessions.end_all(conn, staff_id)
    audit.record(conn, "reset second factor", "staff", staff_id, user_id=user.id)


def demanded(conn: Connection) -> list[Role]:
    """The roles that need a second factor."""
    return [Role(role) for role in conn.scalar(select(company.c.second_factor_roles)) or ()]


def passes(conn: Connection, staff_id: int, code: str) -> bool:
    """Whether a code of the app, or a recovery code, is right; it is used up then."""
    return _totp_fits(conn, staff_id, code) or _recovery_fits(conn, staff_id, code)


def _require_code(conn: Connection, staff_id: int, code: str) -> None:
    if not passes(conn, staff_id, code):
        raise Invalid(WRONG, field="code")


def _totp_fits(conn: Connection, staff_id: int, code: str) -> bool:
    """Compare with the codes around now; the step of the one that fits is used up by a conditional update."""
    typed = "".join(code.split())
    row = conn.execute(
        select(second_factors.c.secret, func.extract("epoch", func.now()).label("now")).where(
            second_factors.c.staff_id == staff_id
        )
    ).one_or_none()
    if row is None or not (len(typed) == 6 and typed.isascii() and typed.isdigit()):
        return False
    totp = pyotp.TOTP(vault.opened(row.secret, about=_about(staff_id)))
    now = totp.timecode(datetime.fromtimestamp(float(row.now), UTC))
    for step in range(now - STEPS_AROUND, now + STEPS_AROUND + 1):
        if secrets.compare_digest(totp.generate_otp(step), typed):
            used = (
                update(second_factors)
                .where(second_factors.c.staff_id == staff_id, second_factors.c.last_step < step)
                .values(last_step=step)
            )
            return conn.execute(used).rowcount == 1
    return False


def _recovery_fits(conn: Connection, staff_id: int, code: str) -> bool:
    used = (
        update(recovery_codes)
        .where(
            recovery_codes.c.staff_id == staff_id,
            recovery_codes.c.code_hash == _hash(code),
            recovery_codes.c.used_at.is_(None),
        )
        .values(used_at=func.now())
    )
    return conn.execute(used).rowcount == 1


def _new_codes(conn: Connection, staff_id: int) -> list[str]:
    # 50 bits each: nothing that the growing waits at sign-in would let anybody guess.
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    codes = ["".join(secrets.choice(alphabet) for _ in range(10)) for _ in range(RECOVERY_CODES)]
    conn.execute(delete(recovery_codes).where(recovery_codes.c.staff_id == staff_id))
    conn.execute(insert(recovery_codes), [{"staff_id": staff_id, "code_hash": _hash(code)} for code in codes])
    return [f"{code[:5]}-{code[5:]}" for code in codes]


def _forget(conn: Connection, staff_id: int) -> bool:
    conn.execute(delete(recovery_codes).where(recovery_codes.c.staff_id == staff_id))
    return conn.execute(delete(second_factors).where(second_factors.c.staff_id == staff_id)).rowcount == 1


def _hash(code: str) -> bytes:
    typed = "".join(character for character in code.lower() if character.isalnum())
    return sha256(typed.encode()).digest()


def _about(staff_id: int) -> str:
    return f"second_factors.secret:{staff_id}"

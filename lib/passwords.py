"""Passwords: what is accepted as one, and how it is kept (bcrypt, the hash that streamlit-authenticator uses)."""

import secrets
from itertools import pairwise

import bcrypt

from lib.errors import Invalid

SHORTEST = 10
# bcrypt reads 72 bytes; what comes after would not count.
LONGEST_BYTES = 72
# 2**12 steps: about a quarter of a second for each guess.
ROUNDS = 12
# Bare or with digits and signs around them these are what gets tried first.
KNOWN_BAD = (
    "password passwort kennwort qwerty qwertz qwertyuiop qwertzuiop asdfghjkl letmein welcome willkommen "
    "administrator admin changeme geheim secret hallo schalke iloveyou sunshine football fussball dragon master "
    "monkey mandant rechnung company abc abcdefghij trustno internet computer sommer winter summer test demo"
).split()
_EDGES = "0123456789!?.,;:-_+*#$%&@=()[]/ "


def hashed(password: str) -> str:
    """The bcrypt hash to keep."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(ROUNDS)).decode()


def unknown() -> str:
    """The hash of a password that nobody knows, for a person who signs in elsewhere."""
    return hashed(secrets.token_urlsafe(32))


def _nobodys() -> str:
    """What unknown users are checked against, so that their answer takes as long as a known one's. It fits nothing."""
    return bcrypt.gensalt(ROUNDS).decode() + "." * 31


def matches(password: str, password_hash: str | None) -> bool:
    """Whether the password is the one behind the hash. Takes the same time for None (nobody) as for a hash."""
    fits = 0 < len(password.encode()) <= LONGEST_BYTES and "\x00" not in password
    right = bcrypt.checkpw((password if fits else "-").encode(), (password_hash or _nobodys()).encode())
    return right and fits and password_hash is not None


def require_good(password: str, *, username: str, field: str) -> None:
    """Refuse with Invalid, in words, a password that is short, known to everybody or the user's own name."""
    if len(password) < SHORTEST:
        raise Invalid(f"A password needs at least {SHORTEST} characters.", field=field)
    if len(password.encode()) > LONGEST_BYTES:
        raise Invalid(f"A password can be {LONGEST_BYTES} characters at most (fewer with umlauts).", field=field)
    if password != password.strip() or not password.isprintable():
        raise Invalid("A password can't begin or end with a space or hold a line break.", field=field)
    core = password.lower().strip(_EDGES)
    if core in KNOWN_BAD or len(set(password.lower())) < 5 or _is_run(password.lower()):
        raise Invalid("This password is among the first that anybody tries. Choose another one.", field=field)
    if username and username in password.lower():
        raise Invalid("A password can't contain the user name.", field=field)


def _is_run(password: str) -> bool:
    """1234567890, 0987654321, abcdefghij: each character next to the one before."""
    steps = {ord(b) - ord(a) for a, b in pairwise(password)}
    return steps <= {1, -9} or steps <= {-1, 9}

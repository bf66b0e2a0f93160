"""Secrets at rest: sealed by AES-GCM with a key from the environment, never stored in the clear.

MANDANT_KEYS holds `id:base64` pairs, parted by commas or spaces, each key 32 bytes long. The first
one seals; the others still open what was sealed before, until `python -m lib rotate-keys` has sealed
it anew. What a secret belongs to (`about`) is authenticated with it: a value copied from one column
into another does not open there.
"""

import base64
import binascii
import hmac
import os
import re
import secrets
from functools import cache
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lib.errors import Invalid

VARIABLE = "MANDANT_KEYS"
KEY_BYTES = 32
_NONCE_BYTES = 12
_ID = re.compile(r"[A-Za-z0-9-]{1,40}")
NOT_CONFIGURED = (
    "Secrets are stored encrypted, and there is no key for that yet. Run `python -m lib new-key`, put what it "
    f"prints into the environment as {VARIABLE}, and start Mandant again."
)


def configured() -> bool:
    """Whether there is a key at all, so that a page can say so before somebody types a secret."""
    return bool(os.environ.get(VARIABLE, "").strip())


def sealed(plain: str, *, about: str) -> bytes:
    """`plain` encrypted with the current key, whose id stands in front. Raises Invalid where there is no key."""
    identity, key = _current()
    nonce = secrets.token_bytes(_NONCE_BYTES)
    content = AESGCM(_derived(key, "seal")).encrypt(nonce, plain.encode(), _bound(identity, about))
    return identity.encode() + b":" + nonce + content


def opened(sealed: bytes, *, about: str) -> str:
    """What was sealed about the same thing. Raises Invalid where its key is missing or it was changed since."""
    identity, content = _parts(sealed)
    key = _keys().get(identity)
    if key is None:
        raise Invalid(f"A secret was sealed with the key “{identity}”, which is not in {VARIABLE}. Add it there again.")
    try:
        plain = AESGCM(_derived(key, "seal")).decrypt(
            content[:_NONCE_BYTES], content[_NONCE_BYTES:], _bound(identity, about)
        )
    except (InvalidTag, ValueError) as error:
        raise Invalid(f"A secret can't be opened with the key “{identity}”. Enter the secret anew.") from error
    return plain.decode()


def resealed(sealed_before: bytes, *, about: str) -> bytes | None:
    """The same secret under the current key; None where it is under that key already."""
    if _parts(sealed_before)[0] == _current()[0]:
        return None
    return sealed(opened(sealed_before, about=about), about=about)


def digest(text: str, *, about: str) -> bytes:
    """32 bytes that only holders of the current key can compute from `text` (HMAC-SHA256)."""
    return digests(text, about=about)[0]


def digests(text: str, *, about: str) -> list[bytes]:
    """`digest` by each key, the current one first: until all is rotated, a row may be found by an older one."""
    return [hmac.digest(_derived(key, f"digest:{about}"), text.encode(), "sha256") for key in _keys().values()]


def new_key() -> str:
    """A fresh key as it stands in MANDANT_KEYS, with an id of its own."""
    return f"{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"


def _current() -> tuple[str, bytes]:
    return next(iter(_keys().items()))


def _keys() -> dict[str, bytes]:
    """The keys by their ids, the current one first."""
    return _read(os.environ.get(VARIABLE, ""))


@cache
def _read(configuration: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for position, pair in enumerate(re.split(r"[,\s]+", configuration.strip(", \t\r\n")), start=1):
        if not pair:
            raise Invalid(NOT_CONFIGURED)
        identity, _, encoded = pair.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        # The message names no part of the pair: it may be the key itself, put down without its id.
        if not _ID.fullmatch(identity) or len(key) != KEY_BYTES or identity in found:
            raise Invalid(
                f"Key {position} in {VARIABLE} is not like id:key, with an id of its own and {KEY_BYTES} bytes of "
                "base64. `python -m lib new-key` prints one that is."
            )
        found[identity] = key
    return found


def _derived(key: bytes, purpose: str) -> bytes:
    """A key for one purpose: no two uses share the bytes that an attack on one of them could reveal."""
    return hmac.digest(key, f"mandant:{purpose}".encode(), sha256)


def _bound(identity: str, about: str) -> bytes:
    return f"{identity}:{about}".encode()


def _parts(sealed: bytes) -> tuple[str, bytes]:
    identity, _, content = bytes(sealed).partition(b":")
    return identity.decode("ascii", "replace"), content

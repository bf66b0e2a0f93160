"""Secrets at rest: what is sealed opens with its key and for its purpose only, also after the key has changed."""

from base64 import b64encode

import pytest

from lib import vault
from lib.errors import Invalid

SECRET = "sesam-öffne-dich"
# The same in every process of a parallel run, as they are parameters.
OLD, NEW = (f"{name}:{b64encode(name.encode() * 8).decode()}" for name in ("key1", "key2"))


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vault.VARIABLE, OLD)


def test_what_is_sealed_opens_again_and_says_nothing() -> None:
    sealed = vault.sealed(SECRET, about="mail_server.password")
    assert SECRET.encode() not in sealed
    assert vault.opened(sealed, about="mail_server.password") == SECRET
    assert vault.sealed(SECRET, about="mail_server.password") != sealed, "two seals of one secret differ"


def test_a_secret_opens_only_for_what_it_was_sealed_about() -> None:
    sealed = vault.sealed(SECRET, about="mail_server.password")
    with pytest.raises(Invalid, match="Enter the secret anew"):
        vault.opened(sealed, about="second_factors.secret")


@pytest.mark.parametrize("changed", [b"", b"x", b"no key in front", OLD.partition(":")[0].encode() + b":short"])
def test_what_was_changed_is_refused(changed: bytes) -> None:
    with pytest.raises(Invalid, match=r"anew|not in MANDANT_KEYS"):
        vault.opened(changed, about="mail_server.password")


def test_a_flipped_bit_is_refused() -> None:
    sealed = bytearray(vault.sealed(SECRET, about="a"))
    sealed[-1] ^= 1
    with pytest.raises(Invalid, match="anew"):
        vault.opened(bytes(sealed), about="a")


@pytest.mark.parametrize("parted_by", [",", " ", ",\n "])
def test_an_older_key_opens_and_the_first_one_seals(monkeypatch: pytest.MonkeyPatch, parted_by: str) -> None:
    sealed = vault.sealed(SECRET, about="a")
    monkeypatch.setenv(vault.VARIABLE, f"{NEW}{parted_by}{OLD}")
    assert vault.opened(sealed, about="a") == SECRET
    anew = vault.resealed(sealed, about="a")
    assert anew is not None and vault.resealed(anew, about="a") is None
    monkeypatch.setenv(vault.VARIABLE, NEW)
    assert vault.opened(anew, about="a") == SECRET
    with pytest.raises(Invalid, match="sealed with the key “key1”, which is not in MANDANT_KEYS"):
        vault.opened(sealed, about="a")


@pytest.mark.parametrize("keys", ["", "  ", " , "])
def test_without_a_key_nothing_is_sealed(monkeypatch: pytest.MonkeyPatch, keys: str) -> None:
    monkeypatch.setenv(vault.VARIABLE, keys)
    with pytest.raises(Invalid, match="no key for that yet"):
        vault.sealed(SECRET, about="a")
    with pytest.raises(Invalid, match="no key for that yet"):
        vault.digest("7", about="user_links")


@pytest.mark.parametrize("wrong", ["abc", "a:abc", "a:!!!", OLD.partition(":")[2], f"{OLD},{OLD}", f"a:{'A' * 24}"])
def test_a_key_that_is_none_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv(vault.VARIABLE, wrong)
    with pytest.raises(Invalid, match=r"Key \d in MANDANT_KEYS is not like id:key") as refusal:
        vault.sealed(SECRET, about="a")
    assert OLD.partition(":")[2] not in str(refusal.value)


def test_a_new_key_is_one() -> None:
    first, second = vault.new_key(), vault.new_key()
    assert first != second and vault.new_key().partition(":")[0] not in (first, second)


def test_a_digest_depends_on_text_purpose_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    first = vault.digest("7", about="user_links")
    assert len(first) == 32 and first == vault.digest("7", about="user_links")
    assert len({first, vault.digest("8", about="user_links"), vault.digest("7", about="other")}) == 3
    monkeypatch.setenv(vault.VARIABLE, NEW)
    assert vault.digest("7", about="user_links") != first

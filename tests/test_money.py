"""Amounts as people type and read them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib import money
from lib.errors import Invalid


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("1234.56", "1234.56"),
        ("1234,56", "1234.56"),
        ("1.234,56", "1234.56"),
        ("1,234.56", "1234.56"),
        ("1 234,56", "1234.56"),
        ("1'234.56", "1234.56"),
        ("1.234.567", "1234567"),
        ("0.5", "0.5"),
        (",5", "0.5"),
        (" 12,30 € ", "12.30"),
        ("+7", "7"),
    ],
)
def test_both_ways_of_writing_are_read(typed: str, expected: str) -> None:
    assert money.parse(typed) == Decimal(expected)


@pytest.mark.parametrize(
    "typed",
    ["", "  ", "abc", "1.2.3,4", "12,34,56.7", "1e5", "NaN", "1\x00", "5-", "9" * 50, "0,001", "=1+1", "1.234.56"],
)  # fmt: skip
def test_what_is_no_amount_gets_a_sentence(typed: str) -> None:
    with pytest.raises(Invalid) as refusal:
        money.parse(typed, field="price")
    assert refusal.value.field == "price" and str(refusal.value).endswith(".")


def test_a_price_that_can_be_read_in_two_ways_is_refused() -> None:
    with pytest.raises(Invalid, match=r"two ways. Write 1234 or 1\.2340\.$"):
        money.parse("1.234", decimals=4)
    for typed in ("12.345", "12,345", "-12.345"):
        with pytest.raises(Invalid, match=r"two ways. Write 12345 or no more than 2 decimals\.$"):
            money.parse(typed, negative=True)
    assert money.parse("0.125", decimals=4) == Decimal("0.125")
    assert money.parse("1.2345", decimals=4) == Decimal("1.2345")


def test_negative_amounts_only_where_they_make_sense() -> None:
    with pytest.raises(Invalid, match="negative"):
        money.parse("-1")
    assert money.parse("-1.234,50", negative=True) == Decimal("-1234.50")
    assert money.parse("−1.234,50", negative=True) == Decimal("-1234.50")


def test_too_large_is_refused() -> None:
    with pytest.raises(Invalid, match="too large"):
        money.parse("1000000000")


@pytest.mark.parametrize(
    ("exact", "cents"), [("0.125", "0.13"), ("0.135", "0.14"), ("-0.125", "-0.13"), ("2.5", "2.50")]
)
def test_rounded_half_away_from_zero(exact: str, cents: str) -> None:
    assert money.rounded(Decimal(exact)) == Decimal(cents)
    assert money.shown(Decimal(exact)) == cents


def test_shown() -> None:
    assert money.shown(None) == "–"
    assert money.shown(Decimal("1234567.895")) == "1,234,567.90"
    assert money.shown(Decimal("1234.5"), language="de") == "1.234,50"
    assert money.shown(Decimal("0.1234"), decimals=4) == "0.1234"


@given(st.decimals(0, Decimal("999999999.99"), places=2), st.sampled_from(["en", "de"]))
def test_what_is_shown_can_be_typed(amount: Decimal, language: str) -> None:
    assert money.parse(money.shown(amount, language=language)) == amount

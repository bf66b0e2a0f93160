"""Notices of new prices: prepared with the price, sent on approval."""

from lib.migrations.sql import run

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run("0010_price_notices.sql")

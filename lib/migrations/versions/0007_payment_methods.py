"""Payment methods: which are offered, mandates and debit runs, cards by Stripe."""

from lib.migrations.sql import run

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run("0007_payment_methods.sql")

"""What the demo company collects by: its creditor identifier, and a mandate of each customer but the newest one."""

from datetime import date

from schwifty import IBAN
from sqlalchemy import Connection, text

from lib import mandates, payment_methods, vault
from lib.auth import Role, User

_CREDITOR_ID = "DE98ZZZ09999999999"
# A bank of the Bundesbank's own examples; the accounts are those of the customers' ids.
_BANK = "37040044"


def enter(conn: Connection, people: dict[Role, User], *, today: date) -> None:
    """Enter what isn't there yet, before documents are issued that announce it; nothing without a key to seal by."""
    if not vault.configured():
        return
    if not payment_methods.creditor_id(conn):
        payment_methods.set_creditor_id(conn, version=1, creditor_id=_CREDITOR_ID, user=people[Role.FINANCE])
    found = conn.execute(
        text("""SELECT id, name, coalesce(billed_from, :today) AS since,
                       EXISTS (SELECT FROM mandates m WHERE m.customer_id = customers.id) AS signed FROM customers
                 WHERE payment_method = 'direct_debit' AND marked_for_deletion_at IS NULL ORDER BY id"""),
        {"today": today},
    ).all()
    for row in found[:-1]:
        if row.signed:
            continue
        iban = str(IBAN.generate("DE", bank_code=_BANK, account_code=f"{532013000 + row.id:010d}"))
        mandates.add(
            conn, row.id, holder=row.name[:70], iban=iban, signed_on=min(row.since, today), today=today,
            user=people[Role.SALES],
        )  # fmt: skip

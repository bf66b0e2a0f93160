"""The portal's own database role: what it may read and write, and of which customer (`docs/operations.md`, Portal).

Its grants name every table, where it matters every column. Rows of customers are further narrowed by row-level
security to the one that `lib/portal_scope.py` names. The owner of the schema, as whom the staff's site connects, is
bound by none of it; any other role is, unless it has BYPASSRLS.
"""

from hashlib import sha256
from hmac import new as hmac

from sqlalchemy import Connection, text

from lib import db
from lib.errors import Conflict, Invalid

# Which rows: of a customer's own tables those of the customer, of others those of what belongs to it.
_OWN = "customer_id = portal_customer()"
_OF_USER = "EXISTS (SELECT FROM customer_users u WHERE u.id = {0})"
_OF_INVOICE = "EXISTS (SELECT FROM invoices i WHERE i.id = invoice_id)"
ROWS = {
    "customers": "id = portal_customer()",
    **dict.fromkeys(
        ("customer_users", "contacts", "lifecycle", "bookings", "charges", "statements", "adjustments", "invoices"),
        _OWN,
    ),
    "terms": _OWN,
    **dict.fromkeys(("mails", "audit_log", "audit_personal", "project_keys", "stripe_requests"), _OWN),
    "user_links": _OF_USER.format("user_id"),
    "sessions": _OF_USER.format("customer_user_id"),
    "sign_in_tickets": _OF_USER.format("customer_user_id"),
    "sign_in_attempts": "site <> 'staff'",
    "invoice_lines": _OF_INVOICE,
    "documents": _OF_INVOICE,
    "payments": _OF_INVOICE,
    "debits": _OF_INVOICE,
    "prices": "customer_id IS NULL OR customer_id = portal_customer()",
    "price_tiers": "EXISTS (SELECT FROM prices p WHERE p.id = price_id)",
    "months": "true",
}
# Locked by who books, never changed: a lock asks for the right to update.
_ONLY_LOCKED = ("months", "invoices")
# Asked of the worker, which holds Stripe's keys: a page to pay an own invoice on, and nothing else.
_WRITTEN = {"stripe_requests": f"{_OWN} AND kind = 'payment' AND {_OF_INVOICE}"}
# Views look at their tables with the rights of who asks, or they would show all rows. What a unit costs us is kept
# with each charge, so who books reads it: by the view alone.
VIEWS = ("standing_bookings", "counting_spans", "booked_spans", "price_spans", "invoice_taxes")
_READ = "SELECT"
GRANTS = {
    **dict.fromkeys((*VIEWS, "purchase_spans"), (_READ,)),
    **dict.fromkeys(("alembic_version", "company", "sellers", "products", "rated_months", "mail_templates"), (_READ,)),
    **dict.fromkeys(("prices", "price_tiers", "adjustments", "contacts", "invoice_lines"), (_READ,)),
    "invoices": (_READ, "UPDATE (version)"),
    "payments": ("SELECT (invoice_id, amount)",),
    "debits": ("SELECT (invoice_id, payment_id, returned_at)",),
    "stripe_account": ("SELECT (mode)",),
    "stripe_requests": (
        "SELECT (id, kind, customer_id, invoice_id, amount, state, url, due_at, recorded_at)",
        "INSERT (kind, mode, customer_id, invoice_id, amount, currency)",
        "UPDATE (due_at)",
    ),
    # What a renewal's documents say of each other, where one was paid late.
    "terms": ("SELECT (id, customer_id, product_id, state, from_day, until_day, ordered_on, follows_id, invoice_id)",),
    "staff": ("SELECT (id, name)",),
    "mail_server": ("SELECT (sender_address)",),
    "payment_methods": ("SELECT (code, active)",),
    # What booking needs to rate the customer; neither the key itself nor what finds it.
    "project_keys": (
        "SELECT (id, ending, ips, months, purchase_price, redeem_until, recorded_at, recorded_by, customer_id,"
        " redeemed_at, redeemed_by, from_day, until_day, charging, selling_price)",
    ),
    "months": (_READ, "UPDATE (state)"),
    "documents": (_READ, "INSERT"),
    "requests": (_READ, "INSERT", "DELETE"),
    "sign_in_attempts": (_READ, "INSERT", "UPDATE", "DELETE"),
    "sign_in_tickets": (_READ, "INSERT", "UPDATE", "DELETE"),
    "sessions": (_READ, "INSERT", "UPDATE", "DELETE"),
    "audit_log": ("SELECT (id, customer_id)", "INSERT"),
    "audit_personal": ("INSERT",),
    "mails": ("SELECT (id, kind, customer_id, recipient, link_id, state, last_error, created_at)", "INSERT"),
    "customer_users": (_READ, "INSERT", "UPDATE"),
    "user_links": (_READ, "INSERT", "UPDATE"),
    "customers": (
        _READ,
        "INSERT",
        "UPDATE (name, contact_name, contact_email, phone, street, postcode, city, country, language, service_mode,"
        " separate_billing, billing_name, billing_street, billing_postcode, billing_city, billing_country,"
        " billing_email, vat_id, vat_id_valid, vat_id_checked_on, tax_number, no_tax_id_reason, version)",
    ),
    "lifecycle": (_READ, "INSERT"),
    "bookings": (_READ, "INSERT"),
    "charges": (_READ, "INSERT", "DELETE"),
    "statements": (_READ, "INSERT", "DELETE"),
}
SEQUENCES = ("customer_numbers", "customers_id_seq")
# The one adds a customer's charges to the totals of all, which the portal itself neither reads nor writes; the other
# tells whose row it may look at.
_WITH_OWNERS_RIGHTS = ("charges_counted()", "portal_customer_by(text, text)")


def grant(conn: Connection, role: str) -> None:
    """Give a role that exists exactly what the portal needs, and take whatever else it has here (idempotent).

    Raises Invalid where there is no such role, or one that no row-level security binds.
    """
    # Grants change rows of the catalogue: two at once would fail.
    conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": db.MIGRATION_LOCK})
    _require_bound(conn, role)
    name = conn.dialect.identifier_preparer.quote(role)
    for table, rows in ROWS.items():
        conn.execute(text(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"))
        conn.execute(text(f"DROP POLICY IF EXISTS of_customer ON {table}"))
        check = "false" if table in _ONLY_LOCKED else _WRITTEN.get(table, rows)
        conn.execute(text(f"CREATE POLICY of_customer ON {table} USING ({rows}) WITH CHECK ({check})"))
    _let_register(conn)
    for view in VIEWS:
        conn.execute(text(f"ALTER VIEW {view} SET (security_invoker = true)"))
    schema = conn.dialect.identifier_preparer.quote(str(conn.scalar(text("SELECT current_schema()"))))
    for function in _WITH_OWNERS_RIGHTS:
        # Temporary tables last, or one that the role makes is taken for ours; and no trigger of its own calls these.
        conn.execute(text(f"ALTER FUNCTION {function} SECURITY DEFINER SET search_path = {schema}, pg_temp"))
        conn.execute(text(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC"))
    for kind in ("TABLES", "SEQUENCES"):
        conn.execute(text(f"REVOKE ALL ON ALL {kind} IN SCHEMA {schema} FROM {name}"))
    conn.execute(text(f"GRANT USAGE ON SCHEMA {schema} TO {name}"))
    for table, rights in GRANTS.items():
        if conn.scalar(text("SELECT to_regclass(:table)"), {"table": table}) is not None:
            conn.execute(text(f"GRANT {', '.join(rights)} ON {table} TO {name}"))
    conn.execute(text(f"GRANT USAGE ON SEQUENCE {', '.join(SEQUENCES)} TO {name}"))
    conn.execute(text(f"GRANT EXECUTE ON FUNCTION portal_customer_by(text, text) TO {name}"))


def renew(conn: Connection) -> list[str]:
    """`grant` anew for each role that has it, after a migration that may have brought new tables. Returns which."""
    found = conn.scalars(
        text("""
            SELECT r.rolname FROM pg_proc p CROSS JOIN aclexplode(p.proacl) a JOIN pg_roles r ON r.oid = a.grantee
             WHERE p.oid = to_regprocedure('portal_customer_by(text, text)') AND a.grantee <> p.proowner
             ORDER BY 1""")
    )
    roles = list(found)
    for role in roles:
        grant(conn, role)
    return roles


def make(conn: Connection, role: str, *, password: str) -> None:
    """Make a role that may sign in, on a server of our own; one that exists gets this password. Needs a superuser."""
    # Roles belong to the whole server: whoever makes one in another database waits here, too.
    conn.execute(text("LOCK TABLE pg_authid IN SHARE ROW EXCLUSIVE MODE"))
    statement: str = conn.execute(
        text("""
            SELECT format(CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = :role) THEN 'ALTER' ELSE 'CREATE' END
                          || ' ROLE %I LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB PASSWORD %L',
                          CAST(:role AS text), CAST(:password AS text))"""),
        {"role": role, "password": password},
    ).scalar_one()
    conn.exec_driver_sql(statement.replace("%", "%%"))


def derived_password(secret: str) -> str:
    """The role's password on a server of our own: from that of its owner, so that all who start it agree."""
    return hmac(secret.encode(), b"portal", sha256).hexdigest()


def _require_bound(conn: Connection, role: str) -> None:
    found = conn.execute(
        text("""SELECT rolsuper OR rolbypassrls AS unbound, pg_has_role(rolname, current_user, 'MEMBER') AS owner
                  FROM pg_roles WHERE rolname = :role"""),
        {"role": role},
    ).one_or_none()
    if found is None:
        raise Invalid(f"There is no role {role}. Make it first: CREATE ROLE {role} LOGIN PASSWORD '…'.", field="role")
    if found.unbound or found.owner:
        raise Conflict(f"{role} can do everything here, whatever is granted. Give the portal a role of its own.")


def _let_register(conn: Connection) -> None:
    """Who registers is a customer that nobody is signed in for yet: a test in self-service, and nothing else."""
    conn.execute(text("DROP POLICY IF EXISTS registering ON customers"))
    conn.execute(
        text("""CREATE POLICY registering ON customers FOR INSERT WITH CHECK (
                    phase = 'test' AND service_mode = 'self_service' AND portal_customer() IS NULL)""")
    )

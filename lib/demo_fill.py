"""A database for load tests: any number of invented customers with two years of history, set-based.

Constraints, triggers and foreign keys stay on; rating is `lib.billing`, and the last closed months
go through the month close like any other.
"""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection, text

from lib import audit, billing, charges, db, demo_seed, drafts, issuing, periods, vat
from lib import months as month_close
from lib.auth import Role, User
from lib.clock import month_of, months_between, next_month

# A month is closed on this day of the next one.
_CLOSING_DAY = 5
# So many months are rated at once: the ledger is read once for them, and their charges fit on any disk.
_TOGETHER = 5

_WORDS = {
    "heads": """Ahorn Amsel Anker Bernstein Birken Blau Brücken Buchen Dachs Deich Distel Dünen Eichen Eisen Elster
        Erlen Falken Felsen Feuer Fichten Finken Föhren Forst Gold Granit Grün Hafen Hasel Heide Hirsch Hoch Horn
        Igel Kastanien Kiefern Klee Kraft Kranich Küsten Lachs Lerchen Linden Löwen Luchs Marder Meer Mohn Mond
        Möwen Mühlen Nebel Nord Nuss Ost Otter Pappel Quell Raben Reh Ried Robben Rosen Rot Schilf Schnee Silber
        Sonnen Stein Stern Storch Sturm Süd Tannen Tau Ufer Ulmen Wald Weiden Wellen West Wiesen Wolken Zedern""",
    "tails": """bach berg blick brück burg dorf eck feld furt garten grund hafen hagen hain hang heim hof höhe holz
        horn insel kamp kliff koppel licht mark moor park quell rain ried ring sand see stein tal thal tor ufer
        wald wang warte weg werder wiese winkel zeit""",
    "trades": """Agrar Anlagenbau Antriebe Apparatebau Bau Beratung Brauerei Chemie Dach Dental Druck Elektro
        Energie Fahrzeugbau Feinkost Fenster Filter Foto Getränke Gießerei Glas Großhandel Handel Haustechnik
        Hotel Immobilien Instrumente Kabel Keramik Klinik Kunststoff Labor Lager Leder Licht Logistik Maschinen
        Medien Messtechnik Metallbau Möbel Mühle Optik Papier Pflege Pharma Recycling Schiffbau Spedition
        Stahl Textil Tiefbau Transporte Verlag Verpackung Wasser Werbung Werkzeug Wohnbau Zimmerei""",
    "forms": "GmbH GmbH GmbH AG KG OHG UG eG GmbH e.K.",
    "firsts": """Ada Arne Birte Bruno Cem Dagmar Edda Emre Femke Gerd Hanna Henrik Imke Jana Jörn Kirsten Klaas
        Lale Lutz Maren Milan Nele Okke Petra Rolf Sina Sven Tamme Ulla Vera Wanja Yara""",
    "lasts": """Ahrens Behn Carstens Dierks Ebeling Feddersen Gerlach Harms Ihde Jansen Kröger Lorenzen Matthies
        Nissen Oltmann Peters Reimers Siemsen Thomsen Ude Voigt Wulf Yilmaz Zander""",
    "streets": """Ahornweg Bahnhofstraße Deichstraße Eichenallee Gartenweg Hafenstraße Industriestraße Lindenweg
        Marktplatz Mühlenweg Ringstraße Schulstraße Uferweg Werkstraße""",
    "towns": """Altenmoor Brückenfeld Dünenhagen Eichtal Fördewik Grünsand Hafenbrück Lindengrund Mühlhorn
        Nordwarder Ostermark Rabenfurt Sandwerder Seeblick Steinhain Westkliff""",
}

# A whole number below `size` that hangs on the customer and on what it is for: the same in every fill.
_PICK = """
CREATE OR REPLACE FUNCTION pg_temp.pick(customer bigint, what text, size int) RETURNS int LANGUAGE sql IMMUTABLE AS
$$ SELECT (hashtextextended(what, customer) & 2147483647)::int % size $$"""


def _word(name: str) -> str:
    return f"(CAST(:{name} AS text[]))[1 + pg_temp.pick(g, '{name}', cardinality(CAST(:{name} AS text[])))]"


_CUSTOMERS = f"""
WITH named AS (
    SELECT g, {_word("heads")} || {_word("tails")} AS place, {_word("trades")} AS trade, {_word("forms")} AS form,
           {_word("firsts")} AS first, {_word("lasts")} AS last, pg_temp.pick(g, 'country', 100) AS abroad
      FROM generate_series(1, :customers) g
), addressed AS (
    SELECT *, replace(replace(replace(lower(place || '-' || trade), 'ä', 'ae'), 'ö', 'oe'), 'ü', 'ue')
              || '-' || g || '.example' AS host,
           CASE WHEN abroad < 4 THEN 'AT' WHEN abroad < 7 THEN 'CH' ELSE 'DE' END AS country
      FROM named
)
INSERT INTO customers (number, name, phase, billed_from, ends_on, service_mode, payment_method, contact_name,
                       contact_email, street, postcode, city, country, vat_id, vat_id_valid, vat_id_checked_on,
                       purchase_order, language, max_users)
SELECT 'C-' || nextval('customer_numbers'), place || ' ' || trade || ' ' || form, 'billed', :first_month,
       CASE WHEN pg_temp.pick(g, 'ends', 100) = 0 THEN CAST(:today AS date) + pg_temp.pick(g, 'ends_on', 300) END,
       CASE WHEN pg_temp.pick(g, 'mode', 4) = 0 THEN 'self_service' ELSE 'managed' END,
       (ARRAY['bank_transfer', 'bank_transfer', 'direct_debit', 'card'])[1 + pg_temp.pick(g, 'method', 4)],
       first || ' ' || last, lower(translate(first, 'äöüÄÖÜ', 'aouAOU')) || '@' || host,
       {_word("streets")} || ' ' || 1 + pg_temp.pick(g, 'house', 120), 10000 + pg_temp.pick(g, 'postcode', 89999),
       {_word("towns")}, country, CASE WHEN country = 'AT' THEN :vat_id ELSE '' END, country = 'AT',
       CASE WHEN country = 'AT' THEN CAST(:first_month AS date) END,
       CASE WHEN pg_temp.pick(g, 'order', 10) = 0 THEN 'PO-' || 10000 + g ELSE '' END,
       CASE WHEN pg_temp.pick(g, 'language', 12) = 0 THEN 'en' ELSE 'de' END,
       CASE WHEN pg_temp.pick(g, 'licence', 5) = 0 THEN 500 END
  FROM addressed ORDER BY g"""

# One customer in a hundred was deactivated for ten days, in a month of its own.
_LIFECYCLE = """
WITH pause AS (
    SELECT id, ends_on, CAST(:first_month AS date) + 31 * pg_temp.pick(id, 'pause', :months) + 9 AS from_day
      FROM customers WHERE pg_temp.pick(id, 'pauses', 100) = 1
)
INSERT INTO lifecycle (customer_id, effective_on, billed, active, ends_on, recorded_by)
SELECT id, billed_from, true, true, ends_on, :user FROM customers
UNION ALL
SELECT id, day, true, day <> from_day, ends_on, :user
  FROM pause, unnest(ARRAY[from_day, from_day + 10]) AS day WHERE from_day + 10 <= CAST(:today AS date)"""

# Users change about every fourth month on any day, IPs every fifth: for one half of the customers up, on
# any day, for the other half up and down with the month. An option is off from the 8th to the 17th now and then.
_BOOKINGS = """
WITH month AS (
    SELECT n, (CAST(:first_month AS date) + n * interval '1 month')::date AS first_day
      FROM generate_series(0, CAST(:months AS int) - 1) n
), size AS (
    SELECT id, 3 + pg_temp.pick(id, 'users', 9) * pg_temp.pick(id, 'staff', 14) AS users,
           10 + pg_temp.pick(id, 'ips', 30) * pg_temp.pick(id, 'net', 30) AS ips
      FROM customers
), wanted AS (
    SELECT s.id, 'users' AS code, m.first_day + CASE m.n WHEN 0 THEN 0 ELSE pg_temp.pick(s.id, 'hired' || m.n, 28) END
           AS day, s.users + pg_temp.pick(s.id, 'growth' || m.n, 4 + m.n) AS quantity
      FROM size s, month m WHERE m.n = 0 OR pg_temp.pick(s.id, 'hires' || m.n, 4) = 0
    UNION ALL
    SELECT s.id, 'ips',
           m.first_day + CASE WHEN m.n = 0 OR s.id % 2 = 0 THEN 0 ELSE pg_temp.pick(s.id, 'scanned' || m.n, 28) END,
           s.ips + CASE s.id % 2 WHEN 0 THEN pg_temp.pick(s.id, 'net' || m.n, 20) ELSE 3 * m.n END
      FROM size s, month m WHERE m.n = 0 OR pg_temp.pick(s.id, 'grows' || m.n, 5) = 0
    UNION ALL
    SELECT s.id, code, CAST(:first_month AS date), 1 FROM size s, unnest(ARRAY['archive', 'mfa']) AS code
    UNION ALL
    SELECT s.id, code, m.first_day + day, CASE day WHEN 7 THEN 0 ELSE 1 END
      FROM size s, month m, unnest(ARRAY['archive', 'mfa']) AS code, unnest(ARRAY[7, 17]) AS day
     WHERE pg_temp.pick(s.id, code || m.n, 50) = 0 AND m.first_day + 17 <= CAST(:today AS date)
)
INSERT INTO bookings (customer_id, product_id, kind, effective_on, quantity, internal, external, recorded_by)
SELECT w.id, p.id, p.kind, w.day, w.quantity, CASE p.kind WHEN 'ips' THEN w.quantity * 3 / 4 END,
       CASE p.kind WHEN 'ips' THEN w.quantity - w.quantity * 3 / 4 END, :user
  FROM wanted w JOIN products p ON p.code = w.code
 WHERE w.day <= CAST(:today AS date)
 ORDER BY w.id, p.id, w.day"""


def fill(
    conn: Connection,
    *,
    customers: int,
    today: date,
    months: int = 24,
    documents: int = 2,
    progress: Callable[[str], None] = lambda step: None,
) -> None:
    """Fill an empty database with so many billed customers, each with users, IPs and two options.

    `months` booking months end with that of `today`; all but the last two are closed, as in the
    demo company. This is a load fixture: only the last `documents` closed months went through the
    month close and have a document per customer. The months before were closed by SQL, with the
    same charges and statements, and one document per customer bills them all in one line. Staff,
    company and list prices are the demo's. Raises Conflict where the database isn't empty.
    """
    demo_seed.require_empty(conn)
    first_month = next_month(month_of(today), by=1 - months)
    closed = months_between(first_month, next_month(month_of(today), by=-2))
    by_hand, by_close = closed[: max(0, len(closed) - documents)], closed[max(0, len(closed) - documents) :]
    billing.allow_memory(conn)
    people, products = demo_seed.set_up(conn, first_month=first_month)
    _list_prices(conn, people, products, first_month)
    progress(f"Customers and bookings: {customers:,}")
    _insert(conn, people[Role.SALES], customers=customers, months=months, first_month=first_month, today=today)
    finance = people[Role.FINANCE]
    for start in range(0, len(by_hand), _TOGETHER):
        some = by_hand[start : start + _TOGETHER]
        progress(f"Charges of {some[0]:%B %Y} to {some[-1]:%B %Y}")
        _close_by_sql(conn, some, finance)
    if by_hand:
        progress(f"One document per customer up to {by_hand[-1]:%B %Y}")
        _bill_together(conn, by_hand, finance)
    for month in by_close:
        progress(f"Month close of {month:%B %Y}")
        day = _closing_day(month)
        month_close.approve(conn, month, today=day, user=finance)
        issuing.issue_month(conn, month, today=day, user=finance)
        month_close.lock(conn, month, user=finance)
    progress("Charges of the open months")
    charges.ensure_rated(conn, *periods.open_months(conn, today=today))


def vacuum() -> None:
    """Clean up and gather statistics after a fill, which a transaction can't do."""
    with db.engine().connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("VACUUM ANALYZE"))


def _list_prices(conn: Connection, people: demo_seed.People, products: dict[str, int], first_month: date) -> None:
    list_prices = [row for row in demo_seed.rows("prices") if row["kind"] == "selling" and not row["customer"]]
    newest = {row["product"]: row for row in list_prices}
    for code, row in newest.items():
        demo_seed.price(conn, row, valid_from=first_month, product_id=products[code], customer_id=None, people=people)


def _insert(conn: Connection, user: User, *, customers: int, months: int, first_month: date, today: date) -> None:
    austrian = next(row["vat_id"] for row in demo_seed.rows("customers") if row["country"] == "AT")
    values: dict[str, Any] = {name: words.split() for name, words in _WORDS.items()}
    values |= {"customers": customers, "months": months, "first_month": first_month, "today": today, "user": user.id}
    values["vat_id"] = vat.checked(austrian, country="AT")[0]
    conn.execute(text(_PICK))
    conn.execute(text(_CUSTOMERS), values)
    conn.execute(text("ANALYZE customers"))
    conn.execute(text(_LIFECYCLE), values)
    conn.execute(text(_BOOKINGS), values)
    conn.execute(text("ANALYZE lifecycle, bookings, products, prices, price_tiers"))
    audit.record_all(
        conn,
        "create",
        "customer",
        query="""SELECT id AS object_id, id AS customer_id,
                        jsonb_build_object('name', jsonb_build_array(NULL, name)) AS changes FROM customers""",
        values={},
        user_id=user.id,
    )


def _closing_day(month: date) -> date:
    return next_month(month) + timedelta(days=_CLOSING_DAY - 1)


def _close_by_sql(conn: Connection, closed: list[date], user: User) -> None:
    """Rate months at once and close them without drafting documents."""
    charges.ensure_rated(conn, *closed)
    for month in closed:
        values = {"month": month, "following": next_month(month), "user": user.id}
        for change in (
            "UPDATE months SET state = 'approved', approved_at = now(), approved_by = :user WHERE month = :month",
            "INSERT INTO months (month) VALUES (:following)",
            "UPDATE months SET state = 'locked', locked_at = now(), locked_by = :user WHERE month = :month",
        ):
            conn.execute(text(change), values)
    conn.execute(text("ANALYZE charges, statements"))


def _bill_together(conn: Connection, closed: list[date], user: User) -> None:
    """One issued document per customer for all of its statements of these months."""
    last_day = next_month(closed[-1]) - timedelta(days=1)
    values = {"first": closed[0], "last": closed[-1], "last_day": last_day, "user": user.id}
    drafted = conn.scalars(
        text("""
            INSERT INTO invoices (customer_id, service_from, service_until, language, currency, purchase_order,
                                  created_by)
            SELECT c.id, :first, :last_day, c.language, o.currency, c.purchase_order, :user
              FROM customers c CROSS JOIN company o
             WHERE EXISTS (SELECT FROM statements s WHERE s.customer_id = c.id AND s.month <= :last AND s.amount <> 0)
             ORDER BY c.id RETURNING id"""),
        values,
    ).all()
    conn.execute(
        text("""
            INSERT INTO invoice_lines (invoice_id, position, from_close, name, detail, quantity, unit_price, amount)
            SELECT i.id, 1, true, CASE i.language WHEN 'de' THEN 'Leistungen' ELSE 'Services' END,
                   to_char(i.service_from, 'MM/YYYY – ') || to_char(i.service_until, 'MM/YYYY'),
                   1, sum(s.amount), sum(s.amount)
              FROM invoices i JOIN statements s ON s.customer_id = i.customer_id
             WHERE s.month <= :last GROUP BY i.id"""),
        values,
    )
    drafts.recompute(conn, drafted)
    conn.execute(
        text("""UPDATE statements s SET invoice_id = i.id FROM invoices i
                 WHERE i.customer_id = s.customer_id AND s.month <= :last AND s.amount <> 0"""),
        values,
    )
    issuing.issue(conn, drafted, today=_closing_day(closed[-1]), user=user)
    conn.execute(text("ANALYZE invoices, invoice_lines, statements"))

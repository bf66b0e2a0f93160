"""rate_one, simulate_100k: one customer's month against a round trip, a simulated month against the close's rating."""

from datetime import date
from decimal import Decimal
from functools import partial

import psycopg
from sqlalchemy import text
from sqlalchemy.dialects import postgresql

from bench.servers import TODAY, Bench, filled, in_use, log, ratio, seconds
from lib import billing, charges, db, simulations
from lib.clock import month_of, next_month
from lib.prices import Tier
from lib.simulations import NewPrice, Scenario

MONTH = next_month(month_of(TODAY), by=-1)
# A round trip takes a fraction of a millisecond: so many of either are timed in one go.
TIMES = 200


def figures(bench: Bench) -> list[tuple[str, float, float]]:
    """Both figures on the database of the close: one open month of all customers, runs alternating."""
    url = filled(bench, "close", customers=bench.customers, months=3, documents=0)
    with in_use(url):
        with db.transaction() as conn:
            charges.ensure_rated(conn, MONTH)
        one = _rate_one(url, bench.runs)
        ours, rated = [], []
        for run in range(bench.runs):
            rated.append(seconds(_rate_and_compare))
            ours.append(seconds(_simulate))
            log(f"simulate {run + 1}: ours {ours[-1]:.2f} s, re-rating {rated[-1]:.2f} s")
    return [("rate_one", one, 20.0), ("simulate_100k", ratio(ours, rated), 1.2)]


def _rate_one(url: str, runs: int) -> float:
    """All parts of one customer's month over `SELECT 1`, both prepared and planned once, on one connection."""
    rating = _prepared(billing.statement(select="SELECT * FROM part", customers=True))
    with psycopg.connect(url, autocommit=True) as conn:
        # Prepared is to mean planned once: left to itself the server plans the rating anew for each customer.
        conn.execute("SET plan_cache_mode = force_generic_plan")
        customers = [row[0] for row in conn.execute("SELECT id FROM customers ORDER BY id LIMIT %s", (TIMES,))]
        ours, trips = [], []
        for _ in range(runs + 1):
            ours.append(seconds(partial(_rate_each, conn, rating, customers)))
            trips.append(seconds(partial(_trips, conn)))
            log(f"rate_one: {ours[-1] / len(customers) * 1000:.3f} ms, SELECT 1 {trips[-1] / TIMES * 1000:.3f} ms")
        # The first round prepares both, and fills the caches.
        return ratio(ours[1:], trips[1:]) * TIMES / len(customers)


def _prepared(statement: str) -> str:
    """The statement as the driver takes it, with its own parameter marks."""
    dialect = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]
    return str(text(statement).compile(dialect=dialect))


def _rate_each(conn: psycopg.Connection, rating: str, customers: list[int]) -> None:
    months: list[date] = [MONTH]
    for customer in customers:
        conn.execute(rating, {"months": months, "customers": [customer]}, prepare=True).fetchall()


def _trips(conn: psycopg.Connection) -> None:
    for _ in range(TIMES):
        conn.execute("SELECT 1", prepare=True).fetchall()


def _rate_and_compare() -> None:
    """What the close does before it freezes a month: rate everybody, and hold it against the charges kept ready."""
    with db.transaction() as conn:
        assert not charges.differences(conn, months=[MONTH])


def _simulate() -> None:
    """The same month with another list price of the IPs, beside the one before."""
    with db.transaction() as conn:
        product_id = conn.execute(text("SELECT id FROM products WHERE kind = 'ips'")).scalar_one()
        price = NewPrice(product_id, [Tier(1, 100, Decimal("1.90")), Tier(101, None, Decimal("1.10"))])
        simulations.simulation(conn, Scenario(month=MONTH, against=next_month(MONTH, by=-1), price=price))

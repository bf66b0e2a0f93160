"""Files too large for a page's memory: streamed by a route, which asks for session and permission itself."""

from collections.abc import Callable, Iterator
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from lib import clock, customer_exports, db, overview_tables, overviews, report_files, report_filters, sessions
from lib.auth import Permission, User
from lib.db import Connection
from lib.errors import BillingError
from lib.sessions import SESSION_COOKIE

CSV, JSON = "text/csv; charset=utf-8", "application/json"
NO_SUCH = "There is no export of this kind."


def cost_overview(request: Request) -> Response:
    """/exports/cost-overview.csv or .json: the filters of the page's address, by the names of the command's options."""
    ending, asked = request.path_params["ending"], request.query_params
    with db.transaction() as conn:
        refused = _refused(conn, request)
        if refused is not None:
            return refused
        try:
            filters = report_filters.chosen(
                conn,
                today=clock.today(conn),
                month=asked.get("month", ""),
                until=asked.get("until"),
                search=asked.get("search", ""),
                customers=asked.getlist("customer"),
                products=asked.getlist("product"),
            )
        except BillingError as refusal:
            return PlainTextResponse(str(refusal), 400)
    name, german = report_files.file_name(filters, ending), asked.get("german") == "1"
    if ending == "csv":
        return _streamed(lambda conn: report_files.export_csv(conn, filters, german=german), name, CSV)
    if ending == "json":
        return _streamed(lambda conn: report_files.export_json(conn, filters), name, JSON)
    return PlainTextResponse(NO_SUCH, 404)


def customers(request: Request) -> Response:
    """/exports/customers.csv or .json: the customers that the list is narrowed to (row G13)."""
    ending, asked = request.path_params["ending"], request.query_params
    with db.transaction() as conn:
        refused = _refused(conn, request)
        if refused is not None:
            return refused
        try:
            filters = customer_exports.asked(asked.getlist)
        except BillingError as refusal:
            return PlainTextResponse(str(refusal), 400)
        today = clock.today(conn)
    name, german = customer_exports.file_name(filters, today, ending), asked.get("german") == "1"
    if ending == "csv":
        return _streamed(lambda conn: customer_exports.export_csv(conn, filters, today=today, german=german), name, CSV)
    if ending == "json":
        return _streamed(lambda conn: customer_exports.export_json(conn, filters, today=today), name, JSON)
    return PlainTextResponse(NO_SUCH, 404)


def overview(request: Request) -> Response:
    """/exports/overview.json: the first page's table, by price or in detail (row G17)."""
    asked = request.query_params
    view = asked.get("view", "")
    with db.transaction() as conn:
        refused = _refused(conn, request)
        if refused is not None:
            return refused
        user = _person(conn, request)
        shown = overviews.shown_months(conn, today=clock.today(conn)) or ()
    month = next((each for each in shown if f"{each:%Y-%m}" == asked.get("month")), None)
    if month is None or view not in overview_tables.VIEWS or user is None:
        return PlainTextResponse("Name one of the months that the Overview shows, and by price or in detail.", 400)
    name = overview_tables.file_name(month, view)
    return _streamed(lambda conn: overview_tables.export_json(conn, month, view=view, user=user), name, JSON)


def _person(conn: Connection, request: Request) -> User | None:
    return sessions.user_of(conn, request.cookies.get(SESSION_COOKIE))


def _refused(conn: Connection, request: Request) -> Response | None:
    """Why this browser may not export, or None where it may."""
    user = _person(conn, request)
    if user is None or user.unready:
        return PlainTextResponse("You are signed out. Sign in, then export again.", 401)
    if not user.may(Permission.READ):
        return PlainTextResponse("Your role may not export.", 403)
    return None


def _streamed(rows: Callable[[Connection], Iterator[bytes]], name: str, media_type: str) -> Response:
    def blocks() -> Iterator[bytes]:
        with db.transaction() as conn:
            yield from rows(conn)

    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "Cache-Control": "private, no-store",
    }
    return StreamingResponse(blocks(), media_type=media_type, headers=headers)

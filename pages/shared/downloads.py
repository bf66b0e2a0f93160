"""Files too large for a page's memory: streamed by a route, which asks for session and permission itself."""

from collections.abc import Callable, Iterator
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from lib import clock, db, report_files, report_filters, sessions
from lib.auth import Permission
from lib.db import Connection
from lib.errors import BillingError
from lib.sessions import SESSION_COOKIE


def cost_overview(request: Request) -> Response:
    """/exports/cost-overview.csv or .json: the filters of the page's address, by the names of the command's options."""
    ending, asked = request.path_params["ending"], request.query_params
    with db.transaction() as conn:
        user = sessions.user_of(conn, request.cookies.get(SESSION_COOKIE))
        if user is None or user.unready:
            return PlainTextResponse("You are signed out. Sign in, then export again.", 401)
        if not user.may(Permission.READ):
            return PlainTextResponse("Your role may not export.", 403)
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
    if ending == "csv":
        german = asked.get("german") == "1"
        return _streamed(
            lambda conn: report_files.export_csv(conn, filters, german=german),
            report_files.file_name(filters, ending),
            "text/csv; charset=utf-8",
        )
    if ending == "json":
        return _streamed(
            lambda conn: report_files.export_json(conn, filters),
            report_files.file_name(filters, ending),
            "application/json",
        )
    return PlainTextResponse("There is no export of this kind.", 404)


def _streamed(rows: Callable[[Connection], Iterator[bytes]], name: str, media_type: str) -> Response:
    def blocks() -> Iterator[bytes]:
        with db.transaction() as conn:
            yield from rows(conn)

    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "Cache-Control": "private, no-store",
    }
    return StreamingResponse(blocks(), media_type=media_type, headers=headers)

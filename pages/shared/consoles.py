"""The route to a customer's console (row D5): it asks for the session, notes the opening, and leads on."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from lib import consoles, db, sessions
from lib.errors import NotAllowed, NotFound
from lib.sessions import SESSION_COOKIE

# What the database can look up: an address may name any number.
LARGEST_ID = 2**63 - 1
# It leads to another company's site, which need not know where from.
HEADERS = {"Referrer-Policy": "no-referrer", "Cache-Control": "private, no-store"}


def address(customer_id: int) -> str:
    """The address of the route, for a link on a page."""
    return f"/console/{customer_id}"


def console(request: Request) -> Response:
    """/console/{customer_id}: on to the address that is stored for the customer, and to no other."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        # The log says who opened a console; what another site makes a browser do, nobody did.
        return PlainTextResponse("Open the console from the customer's page.", 403)
    with db.transaction() as conn:
        user = sessions.user_of(conn, request.cookies.get(SESSION_COOKIE))
        if user is None or user.unready:
            return PlainTextResponse("You are signed out. Sign in, then open the console again.", 401)
        try:
            target = consoles.opened(conn, min(request.path_params["customer_id"], LARGEST_ID), user=user)
        except NotFound as missing:
            return PlainTextResponse(str(missing), 404)
        except NotAllowed as refusal:
            return PlainTextResponse(str(refusal), 403)
    return RedirectResponse(target, 303, headers=HEADERS)

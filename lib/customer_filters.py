"""What the list of customers is narrowed to, and the condition that says so in SQL (rows G1, G13).

The list, its export and a bulk change of all that match take the same filters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from lib import customer_statuses, quota_warnings
from lib.audit import like_escaped
from lib.customer_fields import PAYMENT_METHODS, PHASES, SERVICE_MODES

LONGEST_SEARCH = 200


@dataclass(frozen=True)
class Filters:
    """What the list is narrowed to. An empty one doesn't narrow; several values of one are alternatives.

    Customers who were erased are in no list that doesn't ask for the status `erased` (row G12).
    """

    phase: str | None = None
    search: str = ""
    payment_methods: Sequence[str] = ()
    service_modes: Sequence[str] = ()
    statuses: Sequence[str] = ()
    # Of `quota_warnings.LEVELS`.
    quota_warnings: Sequence[str] = ()
    # Who ends on this day or before it, or has ended.
    ends_until: date | None = None
    # Who has one of these tags.
    tags: Sequence[str] = ()
    # Who was chosen one by one.
    ids: Sequence[int] = ()


def conditions(filters: Filters, today: date | None) -> tuple[str, dict[str, Any]]:
    """Of the table customers c, with its parameters. `today` may be None where no status is asked for."""
    clauses: list[str] = ["true"]
    values: dict[str, Any] = {"today": today}
    if filters.phase in PHASES:
        # A literal, so that the planner knows how many of them there are.
        clauses.append(f"c.phase = '{filters.phase}'")
    for position, word in enumerate(filters.search.replace("\x00", "")[:LONGEST_SEARCH].lower().split()):
        name = f"word{position}"
        values[name] = like_escaped(word) + "%"
        # The trigram index knows three letters anywhere, and fewer only where a word begins.
        anywhere = f"c.search LIKE '%' || :{name}"
        begins = f"(c.search LIKE :{name} OR c.search LIKE '% ' || :{name})"
        clauses.append(anywhere if len(word) > 2 else begins)
    for column, chosen, known in (
        ("payment_method", filters.payment_methods, PAYMENT_METHODS),
        ("service_mode", filters.service_modes, SERVICE_MODES),
    ):
        if chosen:  # what is none of them matches nothing, and may be any text of an address
            clauses.append(f"c.{column} = ANY(CAST(:{column} AS text[]))")
            values[column] = [one for one in chosen if one in known]
    if "erased" not in filters.statuses:
        clauses.append("c.erased_at IS NULL")
    if filters.statuses:
        clauses.append(f"({' OR '.join(customer_statuses.condition(status) for status in filters.statuses)})")
    if filters.quota_warnings:
        clauses.append(quota_warnings.WARNED)
        values["warning_levels"] = [one for one in filters.quota_warnings if one in quota_warnings.LEVELS]
    if filters.ends_until is not None:
        clauses.append("c.ends_on <= :ends_until")
        values["ends_until"] = filters.ends_until
    if filters.ids:
        clauses.append("c.id = ANY(CAST(:chosen AS bigint[]))")
        values["chosen"] = list(filters.ids)
    if filters.tags:
        clauses.append("c.tags && CAST(:tags AS text[])")
        values["tags"] = [tag.replace("\x00", "") for tag in filters.tags]
    return " AND ".join(clauses), values

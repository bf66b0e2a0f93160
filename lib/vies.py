"""The EU's VIES service, which knows whether a VAT ID is registered today (REST interface of the Commission).

It often doesn't answer: then nothing is known, and nothing is assumed.
"""

import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

URL = "https://ec.europa.eu/taxation_customs/vies/rest-api/check-vat-number"
SECONDS = 10
# The service's own codes, in words; others are quoted.
_REASONS = {
    "MS_UNAVAILABLE": "the country's register does not answer at the moment",
    "MS_MAX_CONCURRENT_REQ": "the country's register is too busy at the moment",
    "GLOBAL_MAX_CONCURRENT_REQ": "the service is too busy at the moment",
    "SERVICE_UNAVAILABLE": "the service is down at the moment",
    "TIMEOUT": "the country's register took too long",
    "INVALID_REQUESTER_INFO": "it does not know our own VAT ID; see Settings → Company",
    "VAT_BLOCKED": "it blocks requests from this address",
    "IP_BLOCKED": "it blocks requests from this address",
}


@dataclass(frozen=True)
class Answer:
    """Whether the ID is registered (None: not answered), under which reference, and the answer in words."""

    valid: bool | None
    reference: str
    words: str


def ask(vat_id: str, *, own_vat_id: str) -> Answer:
    """Ask whether `vat_id` is registered; ours goes along, so that the answer carries a reference as evidence.

    Never raises for what the service or the network does: not answering is an answer.
    """
    asked = {"countryCode": vat_id[:2], "vatNumber": vat_id[2:]}
    if own_vat_id:
        asked |= {"requesterMemberStateCode": own_vat_id[:2], "requesterNumber": own_vat_id[2:]}
    request = urllib.request.Request(
        os.environ.get("MANDANT_VIES_URL") or URL,
        data=json.dumps(asked).encode(),
        headers={"Content-Type": "application/json", "Accept": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as response:
            return _read(json.load(response))
    except urllib.error.HTTPError as error:
        return _refused(error)
    except OSError:
        return _unanswered("it could not be reached")
    except ValueError:
        return _unanswered("its answer could not be read")


def _read(answer: Any) -> Answer:
    if not isinstance(answer, dict):
        return _unanswered("its answer could not be read")
    for problem in answer.get("errorWrappers") or ():
        return _unanswered(_reason(problem))
    if not isinstance(answer.get("valid"), bool):
        return _unanswered("its answer could not be read")
    holder = " ".join(str(answer.get("name") or "").split())
    named = f" to {holder}" if holder.strip("-") else ""
    words = f"registered{named}" if answer["valid"] else "not registered"
    return Answer(answer["valid"], str(answer.get("requestIdentifier") or ""), words[:500])


def _refused(error: urllib.error.HTTPError) -> Answer:
    try:
        return _read(json.load(error))
    except ValueError:
        return _unanswered(f"it answered with the error {error.code}")


def _reason(problem: Any) -> str:
    code = str(problem.get("error") or "") if isinstance(problem, dict) else ""
    return _REASONS.get(code, f"it answered {code[:60] or 'with an error'}")


def _unanswered(why: str) -> Answer:
    return Answer(None, "", f"VIES did not answer: {why}. Try again later; nothing was assumed.")

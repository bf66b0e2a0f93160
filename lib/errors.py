"""What a person did that cannot be done. The message is a sentence that the page shows as it is."""

from collections.abc import Sequence


class BillingError(Exception):
    """A refusal in plain words: what is wrong and what to do."""


class Invalid(BillingError):
    """A value that can't be saved. `field` names the input that the message belongs to.

    `at` has the sentence of each input that was refused: more than one where values were checked by `fields.all_of`.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.at = {field: message} if field else {}

    @classmethod
    def joined(cls, refusals: Sequence["Invalid"]) -> "Invalid":
        """Several refusals as one; of an input that was refused twice the first sentence stands at it."""
        joined = cls(" ".join(dict.fromkeys(map(str, refusals))), field=refusals[0].field)
        joined.at = {field: message for one in reversed(refusals) for field, message in one.at.items()}
        return joined


class NotFound(BillingError):
    """The row does not exist (any more)."""


class NotAllowed(BillingError):
    """The person's role does not permit it."""


class Conflict(BillingError):
    """The row is in a state that doesn't permit it, or somebody else was faster."""


class AlreadyDone(Conflict):
    """The same form was sent before, by a double click say: what it asked for is saved."""

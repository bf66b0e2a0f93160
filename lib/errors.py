"""What a person did that cannot be done. The message is a sentence that the page shows as it is."""


class BillingError(Exception):
    """A refusal in plain words: what is wrong and what to do."""


class Invalid(BillingError):
    """A value that can't be saved. `field` names the input that the message belongs to."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class NotFound(BillingError):
    """The row does not exist (any more)."""


class NotAllowed(BillingError):
    """The person's role does not permit it."""


class Conflict(BillingError):
    """The row is in a state that doesn't permit it, or somebody else was faster."""


class AlreadyDone(Conflict):
    """The same form was sent before, by a double click say: what it asked for is saved."""

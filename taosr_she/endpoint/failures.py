"""What can become of a request besides an answer. What fails for every request is a UserError."""


class TryAgain(Exception):
    """A failure that may pass: overload, time-out, a broken connection, a damaged answer."""

    def __init__(
        self, reason: str, wait_seconds: float | None = None, lost: bool = False, unreachable: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait_seconds = wait_seconds  # what Retry-After asks for
        self.lost = lost  # the request was sent and may have been billed
        self.unreachable = unreachable  # nobody listens


class Refused(Exception):
    """The endpoint takes requests, but not this one."""

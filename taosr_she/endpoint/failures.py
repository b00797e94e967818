"""How a request can fail. A failure that affects every request is a UserError instead."""


class TryAgain(Exception):
    """A failure that may be temporary: overload, time-out, a broken connection, a damaged answer."""

    def __init__(
        self, reason: str, wait_seconds: float | None = None, lost: bool = False, unreachable: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait_seconds = wait_seconds  # the wait that Retry-After asks for
        self.lost = lost  # the request was sent and may have been billed
        self.unreachable = unreachable  # no connection could be made


class Refused(Exception):
    """The endpoint accepts requests, but not this one."""

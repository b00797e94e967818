"""The spending limit: no request is sent that could exceed it."""

from dataclasses import dataclass
from threading import Condition


@dataclass(frozen=True)
class Usage:
    """Tokens of one or more requests and their cost, in the currency of the prices."""

    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.tokens_in + other.tokens_in, self.tokens_out + other.tokens_out, self.cost + other.cost)

    def __sub__(self, other: "Usage") -> "Usage":
        return self + Usage(-other.tokens_in, -other.tokens_out, -other.cost)


class Budget:
    """Counts what was spent; shared by the threads of a run.

    A request first reserves its maximum cost. If that exceeds the limit, it waits for requests in flight, which usually
    cost less than they reserved. If none is in flight, the limit is reached.
    """

    def __init__(self, spent: Usage, spend_limit: float | None, token_limit: int | None) -> None:
        self.spent = spent
        self.spend_limit = spend_limit
        self.token_limit = token_limit
        self.stopped_by: str | None = None  # the limit that was reached
        self._reserved = Usage()
        self._in_flight = 0
        self._changed = Condition()

    def reserve(self, most: Usage) -> bool:
        """True if the request may be sent; it must then be settled. False if a limit is reached, which is final."""
        with self._changed:
            while self.stopped_by is None and (limit := self._exceeded(most)):
                if not self._in_flight:
                    self.stopped_by = limit
                    self._changed.notify_all()
                    return False
                self._changed.wait()
            if self.stopped_by:
                return False
            self._in_flight += 1
            self._reserved += most
            return True

    def settle(self, reserved: Usage, spent: Usage) -> None:
        """Replace a reservation by the actual cost of the request."""
        with self._changed:
            self._in_flight -= 1
            self._reserved = self._reserved - reserved if self._in_flight else Usage()  # rounding errors do not add up
            self.spent += spent
            self._changed.notify_all()

    def _exceeded(self, most: Usage) -> str | None:
        total = self.spent + self._reserved + most
        if self.spend_limit is not None and total.cost > self.spend_limit:
            return "spend_limit"
        if self.token_limit is not None and total.tokens_in + total.tokens_out > self.token_limit:
            return "token_limit"
        return None

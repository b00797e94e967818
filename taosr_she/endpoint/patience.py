"""When to give up on an endpoint: after too many failed questions in a row."""

from threading import Lock

SILENT_LIMIT = 5
"""Limit of questions in a row without any answer: the endpoint is down, or the settings are wrong."""
USELESS_LIMIT = 20
"""Limit of questions in a row without a usable answer, however many answers were paid for: the model is unsuitable."""


class Patience:
    """Counts questions in a row; shared by the threads of a run.

    A refusal costs nothing and may concern only its question. So it counts as no answer only as long as nothing has
    been answered. A question that was already refused in an earlier run does not count against the model.
    """

    def __init__(self) -> None:
        self.has_answered = False
        self._silent = 0
        self._useless = 0
        self._lock = Lock()

    def answered(self) -> None:
        """An answer came, usable or not."""
        with self._lock:
            self.has_answered, self._silent = True, 0

    def kept(self) -> None:
        """A question has a usable answer."""
        with self._lock:
            self._useless = 0

    def unanswered(self) -> str | None:
        """A question got no answer despite all retries. Returns the reason to give up, if there is one."""
        return self._nothing(silent=True)

    def refused(self, before: bool) -> str | None:
        """A question was refused, perhaps also in an earlier run."""
        return self._nothing(silent=not self.has_answered, useless=not before)

    def unusable(self) -> str | None:
        """None of a question's answers could be used."""
        return self._nothing(silent=False)

    def _nothing(self, silent: bool, useless: bool = True) -> str | None:
        with self._lock:
            self._silent += silent
            self._useless += useless
            if self._silent >= SILENT_LIMIT:
                return f"{SILENT_LIMIT} questions in a row without an answer"
            return (
                f"{USELESS_LIMIT} questions in a row without a usable answer"
                if self._useless >= USELESS_LIMIT
                else None
            )

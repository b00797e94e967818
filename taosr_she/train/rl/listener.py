"""What is told about every update of a training: it may change what the examiner knows, but never sees the policy."""

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from taosr_she.train.rl.batch import CreditedBatch


class Listener(Protocol):
    """Goes along with a training. Updates count from 1."""

    def resume(self, finished: int) -> None:
        """The training begins after this number of finished updates. Those after it may have been told before: a killed
        run repeats them, and everything must then happen to it as it did."""

    def before(self, update: int) -> None:
        """The update begins; nothing of it has been sampled yet."""

    def after(self, update: int, batch: "CreditedBatch") -> dict[str, Any]:
        """The update is made with this batch. Returns what its row of metrics also says."""

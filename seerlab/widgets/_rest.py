"""A worker that measures once nothing has moved for a while, and gives up when something does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from seerlab.engine.latest import LatestWins
from seerlab.measure import Interrupted

Request = TypeVar("Request")
Result = TypeVar("Result")


class AfterRest(LatestWins[Request, Result | None], Generic[Request, Result]):
    """`LatestWins` for slow measurements: a slow one must neither hold the next picture up nor run beside it.

    Parameters
    ----------
    measure : callable
        ``measure(request, moved) -> result``; calls ``moved()`` between repetitions and gives up, with any result or
        `seerlab.measure.Interrupted`, when it is true.
    deliver : callable
        ``deliver(request, result)``, for measurements that were not given up.
    on_error : callable
        ``on_error(request, exception)``, for anything but `Interrupted`.
    rest_s : float
        Seconds without a newer request after which measuring begins.
    busy : callable
        Whether something else moves, or the view is closed.
    name : str
        Name of the thread.
    """

    def __init__(
        self,
        measure: Callable[[Request, Callable[[], bool]], Result | None],
        deliver: Callable[[Request, Result], object],
        on_error: Callable[[Request, BaseException], object],
        *,
        rest_s: float,
        busy: Callable[[], bool],
        name: str,
    ) -> None:
        def moved() -> bool:
            return self.waiting or busy()

        def rested(request: Request) -> Result | None:
            return None if self.overtaken(rest_s) or moved() else measure(request, moved)

        def deliver_measured(request: Request, result: Result | None) -> None:
            if result is not None:
                deliver(request, result)

        def failed(request: Request, exception: BaseException) -> None:
            if not isinstance(exception, Interrupted):
                on_error(request, exception)

        super().__init__(rested, deliver_measured, failed, name=name)

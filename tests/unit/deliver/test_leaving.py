"""The last question before a request leaves: whether its sender is still the one that may send it."""

from tests.scripted import PATIENCE, platform

from lendsignal.deliver import NoAnswer, Wire
from lendsignal.deliver.transport import Transport
from lendsignal.destination.spec import Response


def test_a_request_that_may_not_leave_any_more_ends_before_its_first_byte() -> None:
    """On a connection of its own and on one that is kept: what may leave is asked again for each request."""
    answers = iter((False, True, False))
    asked = []

    def may_leave() -> bool:
        asked.append(played.connections)
        return next(answers)

    with platform() as played:
        transport = Transport(may_leave=may_leave)
        results = []
        for _ in range(3):
            transport.start(Wire("POST", played.url, (), b"{}"), "it", PATIENCE)
            while not (done := transport.wait(0.1)):
                pass
            results.append(done[0].result)
        transport.close()

        assert results[0] == results[2] == NoAnswer("not_ours", left=False)
        assert isinstance(results[1], Response)
        assert len(played.came) == 1
        assert len(asked) == 3

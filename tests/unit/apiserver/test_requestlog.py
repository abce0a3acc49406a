"""Which requests get a line, and that lines never cost more than is kept for them."""

import asyncio

import pytest
from structlog.testing import capture_logs

from hypernetes.apiserver.requestlog import ALL, SLOW, WRITES, Line, RequestLog


def line(path="/api/v1/pods"):
    return Line("GET", path, 200, 0.01234567, "jane", "acme", "kubectl/v1.36", "10.0.0.1")


@pytest.mark.parametrize(
    ("level", "code", "seconds", "reading", "long_running", "wanted"),
    [
        (SLOW, 200, 0.1, True, False, False),
        (SLOW, 200, 6.0, True, False, True),
        (SLOW, 200, 6.0, True, True, False),  # a watch
        (SLOW, 500, 0.1, True, False, True),
        (SLOW, 404, 0.1, True, False, False),
        (SLOW, 201, 0.1, False, False, False),
        (WRITES, 201, 0.1, False, False, True),
        (WRITES, 200, 0.1, True, False, False),
        (ALL, 200, 0.1, True, False, True),
    ],
)
def test_a_level_says_which_requests_get_a_line(level, code, seconds, reading, long_running, wanted):
    assert RequestLog(level).wants(code, seconds, reading=reading, long_running=long_running) is wanted


async def test_lines_are_written_in_order_and_too_many_are_counted():
    requests = RequestLog(ALL)
    for number in range(10_003):
        requests.add(line(f"/{number}"))
    task = asyncio.create_task(requests.run())
    await asyncio.sleep(0)
    with capture_logs() as written:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [entry["path"] for entry in written[:2]] == ["/0", "/1"]
    assert written[0]["tenant"] == "acme"
    assert written[0]["seconds"] == 0.0123
    assert len(written) == 10_001
    assert written[-1]["requests"] == 3

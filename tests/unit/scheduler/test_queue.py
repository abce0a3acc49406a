"""Who is next."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hypernetes.scheduler.queue import FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS, PARKED_SECONDS, SchedulingQueue


def queue_with(shares: dict[str, float] | None = None) -> SchedulingQueue[str]:
    known = shares if shares is not None else {}
    return SchedulingQueue(lambda tenant: known.get(tenant, 0.0))


def drain(queue: SchedulingQueue[str], now: float = 0.0) -> list[str]:
    popped = []
    while (key := queue.pop(now)) is not None:
        popped.append(key)
        queue.remove(key)
    return popped


def test_in_a_tenant_priority_comes_first_then_arrival() -> None:
    queue = queue_with()
    for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5)):
        queue.add(name, tenant="acme", priority=priority)
    assert drain(queue) == ["b", "d", "a", "c"]


def test_the_tenant_with_the_smallest_share_is_next_whatever_priorities_others_give_themselves() -> None:
    queue = queue_with({"acme": 0.4, "globex": 0.1})
    queue.add("greedy", tenant="acme", priority=1_000_000)
    queue.add("modest", tenant="globex", priority=0)
    assert drain(queue) == ["modest", "greedy"]


def test_the_providers_pods_come_before_all() -> None:
    queue = queue_with({"system": 0.9})
    queue.add("tenants", tenant="acme", priority=100)
    queue.add("providers", tenant="system", priority=0)
    assert drain(queue) == ["providers", "tenants"]


def test_tenants_take_turns_as_their_shares_grow() -> None:
    shares = {"acme": 0.0, "globex": 0.0}
    queue = queue_with(shares)
    for n in range(3):
        queue.add(f"acme-{n}", tenant="acme", priority=0)
        queue.add(f"globex-{n}", tenant="globex", priority=0)
    order = []
    while (key := queue.pop(0.0)) is not None:
        queue.remove(key)
        order.append(key)
        shares[key.partition("-")[0]] += 0.1
    assert order == ["acme-0", "globex-0", "acme-1", "globex-1", "acme-2", "globex-2"]


def test_a_share_that_shrank_counts_after_an_event() -> None:
    shares = {"acme": 0.5, "globex": 0.3}
    queue = queue_with(shares)
    queue.add("a", tenant="acme", priority=0)
    queue.add("g", tenant="globex", priority=0)
    shares["acme"] = 0.0
    queue.event(0.0)
    assert drain(queue) == ["a", "g"]


def test_a_parked_pod_waits_for_an_event_and_for_its_backoff() -> None:
    queue = queue_with()
    queue.add("a", tenant="acme", priority=0)
    assert queue.pop(0.0) == "a"
    queue.retry("a", 0.0, parked=True)
    assert queue.pop(100.0) is None
    assert queue.next_due(100.0) == PARKED_SECONDS - 100.0
    queue.event(100.0)
    assert queue.pop(100.0) == "a"
    queue.retry("a", 100.0, parked=True)
    queue.event(100.5)
    assert queue.pop(101.9) is None
    assert queue.pop(102.0) == "a"


def test_an_event_during_the_decision_is_not_missed() -> None:
    queue = queue_with()
    queue.add("a", tenant="acme", priority=0)
    assert queue.pop(0.0) == "a"
    queue.event(0.0)
    queue.retry("a", 0.0, parked=True)
    assert queue.pop(FIRST_BACKOFF_SECONDS) == "a"


def test_a_change_of_the_pod_during_the_decision_is_not_missed() -> None:
    queue = queue_with()
    queue.add("a", tenant="acme", priority=0)
    assert queue.pop(0.0) == "a"
    queue.add("a", tenant="acme", priority=0)
    assert queue.pop(0.0) is None
    queue.retry("a", 0.0, parked=True)
    assert queue.pop(FIRST_BACKOFF_SECONDS) == "a"


def test_a_parked_pod_is_tried_again_after_a_long_time_anyway() -> None:
    queue = queue_with()
    queue.add("a", tenant="acme", priority=0)
    queue.pop(0.0)
    queue.retry("a", 0.0, parked=True)
    assert queue.pop(PARKED_SECONDS) == "a"


def test_backoff_grows_to_its_limit() -> None:
    queue = queue_with()
    queue.add("a", tenant="acme", priority=0)
    now, waits = 0.0, []
    for _ in range(6):
        assert queue.pop(now) == "a"
        queue.retry("a", now, parked=False)
        due = queue.next_due(now)
        assert due is not None
        waits.append(due)
        assert queue.pop(now + due - 0.01) is None
        now += due
    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, LONGEST_BACKOFF_SECONDS]


def test_a_changed_pod_is_tried_at_once() -> None:
    queue = queue_with()
    queue.add("a", tenant="acme", priority=0)
    queue.pop(0.0)
    queue.retry("a", 0.0, parked=True)
    queue.add("a", tenant="acme", priority=0)
    assert queue.pop(0.0) == "a"


def test_a_removed_pod_is_never_handed_out_even_if_its_name_comes_again() -> None:
    queue = queue_with()
    queue.add("a", tenant="acme", priority=0)
    queue.remove("a")
    assert queue.pop(0.0) is None
    queue.add("a", tenant="acme", priority=0)
    assert drain(queue) == ["a"]
    queue.retry("a", 0.0, parked=False)
    assert queue.next_due(0.0) is None


_CALLS = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "pop", "event", "time"]), st.sampled_from("abcdef"), st.integers(0, 2)),
    max_size=60,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(calls=_CALLS)
def test_every_pod_is_handed_out_in_the_end_and_none_twice_at_a_time(calls: list[tuple[str, str, int]]) -> None:
    queue = queue_with()
    waiting: set[str] = set()
    out: list[str] = []
    now = 0.0
    for call, key, number in calls:
        if call == "add":
            queue.add(key, tenant=f"t{number}" if key not in waiting else "t0", priority=number)
            waiting.add(key)
        elif call == "remove":
            queue.remove(key)
            waiting.discard(key)
            out = [other for other in out if other != key]
        elif call == "event":
            queue.event(now)
        elif call == "time":
            now += number
        elif (popped := queue.pop(now)) is not None:
            assert popped in waiting
            assert popped not in out
            out.append(popped)
            if number:
                queue.retry(popped, now, parked=number == 1)
                out.remove(popped)
    for key in out:
        queue.retry(key, now, parked=True)
    assert sorted(drain(queue, now + PARKED_SECONDS)) == sorted(waiting)
    assert len(queue) == 0

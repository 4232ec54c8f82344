"""Labels come late, in the right order, and all of them come."""

from hypothesis import given
from hypothesis import strategies as st

from stream.schedule import DelayInEvents, DelayInTime


def test_labels_come_when_event_time_reaches_them() -> None:
    """Not before, and before the event that reaches them."""
    schedule: DelayInTime[str] = DelayInTime(100.0)
    schedule.add("a", 0.0)
    schedule.add("b", 50.0)

    assert [d.label for d in schedule.due(99.0)] == []
    assert [d.label for d in schedule.due(149.9)] == ["a"]
    assert [(d.label, d.time) for d in schedule.rest()] == [("b", 150.0)]


def test_a_late_event_does_not_turn_the_time_back() -> None:
    """The stream's time is the latest so far."""
    schedule: DelayInTime[str] = DelayInTime(0.0)
    schedule.add("a", 100.0)

    assert [d.label for d in schedule.due(40.0)] == ["a"]


def test_labels_come_after_further_events() -> None:
    """A delay of two events: before the third after its own."""
    schedule: DelayInEvents[int] = DelayInEvents(2)
    came = []
    for i in range(5):
        came.append([d.label for d in schedule.due(float(i))])
        schedule.add(i, float(i))

    assert came == [[], [], [], [0], [1]]
    assert [d.label for d in schedule.rest()] == [2, 3, 4]


@given(times=st.lists(st.floats(0, 1000), max_size=60), delay=st.floats(0, 500))
def test_no_label_is_lost_or_early(times: list[float], delay: float) -> None:
    """Each comes once, in order of its time, and never before it is due."""
    schedule: DelayInTime[int] = DelayInTime(delay)
    came = []
    now = 0.0
    for i, time in enumerate(times):
        now = max(now, time)
        for label, due in schedule.due(time):
            assert due <= now
            came.append(label)
        schedule.add(i, time)
    came += [label for label, _ in schedule.rest()]

    assert sorted(came) == list(range(len(times)))
    assert len(schedule) == 0

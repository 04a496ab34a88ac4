"""The figures put into sentences."""

from .state import Aggregated, Cleaned, Ranked, Validated


def findings(
    validated: Validated, cleaned: Cleaned, aggregated: Aggregated, ranked: Ranked
) -> list[str]:
    """What a reader should take away, most important first."""
    overall = aggregated.overall
    hours = sorted(aggregated.hours, key=lambda group: (group.arrival, group.key))
    fog, clear = aggregated.visibility[0], aggregated.visibility[-1]
    young, old = ranked.ages[0], ranked.ages[-1]
    last, first = ranked.carriers[0], ranked.carriers[-1]
    route = ranked.worst_routes[0]
    day = ranked.worst_days[0]
    dropped = sum(count.rows for count in cleaned.dropped)
    return [
        f"{overall.late:.1f} % of the {overall.flown:,} flights flown arrived 15 minutes late or "
        f"later, and {overall.cancelled:.1f} % of the {overall.scheduled:,} scheduled never left.",
        f"The later, the later: flights scheduled at {hours[-1].label} arrive "
        f"{timing(hours[-1].arrival)} on average, those at {hours[0].label} "
        f"{timing(hours[0].arrival)}.",
        f"With visibility {fog.label}, {fog.late:.0f} % are late and {fog.cancelled:.1f} % "
        f"cancelled; at {clear.label} it is {clear.late:.0f} % and {clear.cancelled:.1f} %.",
        f"Aircraft of {old.label} years arrive {timing(old.measured)} and those of {young.label} "
        f"years {timing(young.measured)}, but other airlines fly them elsewhere: like for like "
        f"it is {timing(old.adjusted)} against {timing(young.adjusted)}.",
        f"Like for like, {last.label} is the most delayed airline ({timing(last.adjusted)}) and "
        f"{first.label} the least ({timing(first.adjusted)}).",
        f"{route.origin} to {route.dest} is the worst of {ranked.routes} routes, "
        f"{timing(route.arrival)}; it stays among the ten worst in {route.stays:.0f} % of "
        f"resampled years.",
        f"The worst day was {day.date}: {timing(day.arrival)} on average and "
        f"{day.cancelled:.0f} % cancelled.",
        f"{validated.broken} of {validated.broken + validated.passed} checks found something; "
        f"{dropped:,} flights were dropped and {_blanked(cleaned):,} values blanked.",
    ]


def timing(minutes: float) -> str:
    """A delay in words, such as '3.5 min late' or '2.0 min early'."""
    return f"{abs(minutes):.1f} min {'late' if minutes >= 0 else 'early'}"


def _blanked(cleaned: Cleaned) -> int:
    return sum(count.rows for count in cleaned.blanked)

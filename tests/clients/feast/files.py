"""Writes the Parquet files that `features.py` reads, into the current folder."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pandas as pd

DRIVERS = 500
NOON = datetime(2026, 5, 2, 12, tzinfo=timezone.utc)


def main() -> None:
    rows = [(n, NOON - timedelta(hours=h)) for n in range(1, DRIVERS + 1) for h in (0, 24)]
    times = [time for _, time in rows]
    pd.DataFrame(
        {
            "driver_id": [n for n, _ in rows],
            "event_timestamp": times,
            "created": times,
            "conversion_rate": [(n % 64) / 64 + time.day for n, time in rows],
            "trips_today": [n * time.day for n, time in rows],
            "is_active": [n % 3 == 0 for n, _ in rows],
        }
    ).to_parquet("driver_stats.parquet")
    drivers = range(1, DRIVERS + 1)
    pd.DataFrame(
        {
            "driver_id": drivers,
            "event_timestamp": [NOON] * DRIVERS,
            # Some are unknown, some are not ASCII.
            "name": [None if n % 7 == 0 else f"Ünal {n}" for n in drivers],
            "embedding": [[n / 2, n / 4] for n in drivers],
        }
    ).to_parquet("driver_profile.parquet")
    pd.DataFrame(
        {
            "origin": ["Nürnberg"] * 3,
            "destination": ["Ulm", "", "\r\n"],
            "event_timestamp": [NOON] * 3,
            "minutes": [95.5, 0.0, 1.5],
        }
    ).to_parquet("route_stats.parquet")


main()

"""Pushes, reads online features and prints them as JSON; runs in a folder that `feast apply` and
`feast materialize` went over, as `online.py`.
"""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timezone

import pandas as pd
from feast import FeatureStore
from feast.data_source import PushMode

# 99 is nobody.
DRIVERS = [{"driver_id": n} for n in (1, 2, 500, 99_999)]
ROUTES = [{"origin": "Nürnberg", "destination": d} for d in ("Ulm", "", "\r\n", "nowhere")]


def main() -> None:
    store = FeatureStore(".")
    service = store.get_feature_service("scoring")
    answers = {"materialized": read(store, service, DRIVERS)}
    store.push("driver_stats_push", pushed(), to=PushMode.ONLINE)
    answers["pushed"] = read(store, service, DRIVERS)
    answers["many"] = read(store, service, [{"driver_id": n} for n in range(1, 501)])
    answers["routes"] = read(store, ["route_stats:minutes"], ROUTES)
    answers["async"] = asyncio.run(read_async(store, service))
    print(json.dumps(answers, sort_keys=True))


def read(store: FeatureStore, features, entities: list[dict]) -> dict:
    return store.get_online_features(features=features, entity_rows=entities).to_dict()


async def read_async(store: FeatureStore, service) -> dict:
    reply = await store.get_online_features_async(features=service, entity_rows=DRIVERS)
    return reply.to_dict()


def pushed() -> pd.DataFrame:
    now = datetime(2026, 5, 3, 12, tzinfo=timezone.utc)
    # Driver 2 gets an older value than it has, which must not replace it.
    then = datetime(2020, 1, 1, tzinfo=timezone.utc)
    return pd.DataFrame(
        {
            "driver_id": [1, 2],
            "event_timestamp": [now, then],
            "created": [now, then],
            "conversion_rate": [0.875, 0.0],
            "trips_today": [77, 0],
            "is_active": [False, False],
        }
    )


main()

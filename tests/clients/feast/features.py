"""A small feature repository: two views of drivers and one of routes, a push source, a service."""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, ValueType
from feast.types import Array, Bool, Float32, Int64, String

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
origin = Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING)
destination = Entity(name="destination", join_keys=["destination"], value_type=ValueType.STRING)

driver_stats_file = FileSource(
    name="driver_stats_file",
    path="driver_stats.parquet",
    timestamp_field="event_timestamp",
    created_timestamp_column="created",
)
driver_stats_push = PushSource(name="driver_stats_push", batch_source=driver_stats_file)
driver_profile_file = FileSource(
    name="driver_profile_file",
    path="driver_profile.parquet",
    timestamp_field="event_timestamp",
)
route_stats_file = FileSource(
    name="route_stats_file", path="route_stats.parquet", timestamp_field="event_timestamp"
)

driver_stats = FeatureView(
    name="driver_stats",
    entities=[driver],
    ttl=timedelta(days=3650),
    schema=[
        Field(name="conversion_rate", dtype=Float32),
        Field(name="trips_today", dtype=Int64),
        Field(name="is_active", dtype=Bool),
    ],
    source=driver_stats_push,
)
driver_profile = FeatureView(
    name="driver_profile",
    entities=[driver],
    ttl=timedelta(days=3650),
    schema=[
        Field(name="name", dtype=String),
        Field(name="embedding", dtype=Array(Float32)),
    ],
    source=driver_profile_file,
)
route_stats = FeatureView(
    name="route_stats",
    entities=[origin, destination],
    ttl=timedelta(days=3650),
    schema=[Field(name="minutes", dtype=Float32)],
    source=route_stats_file,
)
scoring = FeatureService(name="scoring", features=[driver_stats, driver_profile])

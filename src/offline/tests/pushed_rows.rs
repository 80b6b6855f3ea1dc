//! What is kept of pushed rows while they are held to a spine.

use super::fixture::{entity, request, view};
use crate::{
    feature::{CellWrite, KeyPart, KeyType, Stamp, Timestamp, Value},
    offline::{GroupedSpine, KnownBy, PushedCells, PushedWinners, Spine},
};

const FEATURES: [(&str, &str); 2] = [("n", "int64"), ("m", "int64")];

#[test]
fn of_many_rows_no_more_is_kept_than_the_spine_has_places_for() {
    let (user, view) = (entity("user", &[("user", KeyType::Int64)]), view("v", "t", "", &FEATURES));
    let keys = [1, 2].map(|key| vec![KeyPart::Int64(key)]);
    let spine = Spine::from_rows(&user, &keys, Timestamp(500)).unwrap();
    let requests = [request(&view, &user, None, "")];
    let grouped = GroupedSpine::new(&spine, &requests, None).unwrap();
    let mut winners = PushedWinners::new(&grouped, &requests, KnownBy::Event).unwrap();
    for order in 0..1000 {
        let row = PushedCells {
            key: vec![KeyPart::Int64(order as i64 % 5)],
            stamp: Stamp::new(Timestamp(order as i64), None),
            order,
            cells: vec![(10, CellWrite::Value(Value::Int64(order as i64)))],
        };
        winners.take(0, &row).unwrap();
    }
    assert_eq!(winners.rows(0), 400);
    let views = winners.into_views();
    let feature = views[0].feature(0).unwrap();
    assert_eq!(feature.values(), [496, 497].map(Value::Int64).each_ref().map(Some));
    assert!(views[0].feature(1).is_none() && !views[0].is_empty());
}

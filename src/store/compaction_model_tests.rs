//! The history against a list of what was pushed: random pushes, checkpoints, compactions, restarts
//! and power cuts.

use super::{MergePolicy, history_attack_fixture::*};
use crate::disk::{Cut, SimulatedFs};
use proptest::prelude::*;

/// What happens to a store.
#[derive(Clone, Debug)]
enum Event {
    Push { user: u8, event: i64 },
    Checkpoint,
    Compact(MergePolicy),
    Restart,
    Kill(u64),
}

fn event() -> impl Strategy<Value = Event> {
    // A file with a row or two has some 3,000 bytes.
    let file_bytes = prop_oneof![1_000..20_000_u64, Just(u64::MAX)];
    let policy = (2..4_usize, 1..3_u64, file_bytes).prop_map(|(parts_min, growth, file_bytes)| {
        let policy = MergePolicy::default();
        Event::Compact(MergePolicy { parts_min, growth, file_bytes, ..policy })
    });
    prop_oneof![
        8 => (0..4_u8, 0..50_i64).prop_map(|(user, event)| Event::Push { user, event }),
        4 => Just(Event::Checkpoint),
        2 => policy,
        1 => Just(Event::Restart),
        1 => any::<u64>().prop_map(Event::Kill),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Against a list of all that was pushed, in the order of arrival.
    #[test]
    fn history_and_reads_of_the_past_are_those_of_a_list(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut fs = SimulatedFs::new();
        let mut store = open(&fs);
        apply(&store, DEFINITIONS);
        let mut pushed: Vec<(u8, i64, String)> = Vec::new();
        for event in &events {
            match event {
                Event::Push { user, event } => {
                    let genre = format!("{}", pushed.len());
                    push(&store, &user.to_string(), *event, &genre);
                    pushed.push((*user, *event, genre));
                }
                Event::Checkpoint => drop(store.checkpoint().unwrap()),
                Event::Compact(policy) => {
                    store.compact_history(policy, &mut || true).unwrap();
                }
                Event::Restart => {
                    store.close().unwrap();
                    drop(store);
                    store = open(&fs);
                }
                Event::Kill(seed) => {
                    drop(store);
                    fs = fs.crash(*seed, Cut::Power);
                    store = open(&fs);
                }
            }
        }
        for user in 0..4_u8 {
            let mut expected: Vec<&(u8, i64, String)> =
                pushed.iter().filter(|(of, ..)| *of == user).collect();
            // What arrived later wins, and all arrived at one instant.
            expected.sort_by_key(|(_, event, _)| *event);
            let found = writes(&store, &user.to_string(), &["spending:genre"]).unwrap();
            let found: Vec<_> =
                found.iter().map(|e| (e.stamp.event.us(), format!("{:?}", e.cells))).collect();
            let told: Vec<_> = expected
                .iter()
                .map(|(_, event, genre)| (*event, format!("[(0, Value(String({genre:?})))]")))
                .collect();
            prop_assert_eq!(found, told);
            for time in [0, 10, 25, 49] {
                let last = expected.iter().rfind(|(_, event, _)| *event <= time);
                let found = at(&store, &user.to_string(), &["spending:genre"], time).unwrap();
                let found = found[0].value.as_ref().map(|value| value.to_text());
                prop_assert_eq!(found, last.map(|(_, _, genre)| genre.clone()));
            }
        }
    }
}

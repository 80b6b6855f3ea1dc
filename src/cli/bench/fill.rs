//! Writing the data before a run, and holding replies against them before and after it.

use super::{random::Random, wire::Wire, workload::Workload};
use crate::error::{Error, Result};
use nowthen_protocol::Value;

/// How many requests are on their way while nothing is timed.
const AT_ONCE: u64 = 128;
/// About so many entities are compared.
const COMPARED: u32 = 1_000;

/// Writes every feature of every entity; first what the server must know about them.
pub(super) fn fill(wire: &mut Wire, workload: &Workload) -> Result<()> {
    let data = &workload.data;
    if let Some(definitions) = data.definitions() {
        wire.command(&["FS.APPLY", &definitions])?;
    }
    let mut requests = Vec::new();
    let mut first = 0;
    while first < data.entities {
        let last = data.entities.min(first + AT_ONCE);
        requests.clear();
        (first..last).for_each(|entity| data.write_hset(entity, &mut requests));
        for reply in wire.exchange(&requests, usize::try_from(last - first).unwrap_or(0))? {
            if !matches!(reply, Value::Integer(_)) {
                let key = data.key(first);
                return Err(Error::refused(format!("HSET of {key} or the next: {reply:?}")));
            }
        }
        first = last;
    }
    Ok(())
}

/// Reads as a run does, and compares every value: of some entities, and of the first and the last.
pub(super) fn compare(wire: &mut Wire, workload: &Workload) -> Result<()> {
    let entities = workload.data.entities;
    let mut random = Random::new(0, 0);
    for round in 0..COMPARED.div_ceil(workload.batch()) {
        let mut asked: Vec<u64> = (0..workload.batch()).map(|_| random.below(entities)).collect();
        if round == 0 {
            asked.first_mut().into_iter().for_each(|entity| *entity = entities - 1);
            asked.last_mut().into_iter().for_each(|entity| *entity = 0);
        }
        let (mut request, mut next) = (Vec::new(), asked.iter());
        workload.write_read(&mut request, || next.next().copied().unwrap_or(0));
        let replies = wire.exchange(&request, workload.read_replies() as usize)?;
        if let Some(Value::Error(text)) = replies.first() {
            return Err(Error::refused(format!("the server refused a read: {text}")));
        }
        if !workload.is_right(&asked, &replies) {
            let keys: Vec<String> =
                asked.iter().take(3).map(|entity| workload.data.key(*entity)).collect();
            return Err(Error::refused(format!(
                "the server does not hold what this program writes, at one of {} ...: run it \
                 without --no-load, and let nobody else write these keys",
                keys.join(", ")
            )));
        }
    }
    Ok(())
}

//! From values to the bytes of a reply.

use crate::{Result, fixture::number};
use criterion::Criterion;
use nowthen_protocol::{ProtocolVersion, Reply};
use std::hint::black_box;

const VALUES: usize = 50;

/// Question: how much of writing 50 doubles as text goes into finding their digits? Guess: two
/// thirds, 1.2 µs of 1.8; the frames around texts that are there already take the rest.
pub(crate) fn write(criterion: &mut Criterion) -> Result<()> {
    let numbers: Vec<f64> = (0..VALUES).map(number).collect();
    let texts: Vec<String> = numbers.iter().map(f64::to_string).collect();
    let mut out = Vec::with_capacity(1 << 14);
    let mut doubles = || {
        out.clear();
        let mut reply = Reply::new(&mut out, ProtocolVersion::Resp2);
        reply.array(VALUES);
        numbers.iter().for_each(|number| reply.bulk_double(*number));
        out.len()
    };
    let mut out_of_texts = Vec::with_capacity(1 << 14);
    let mut bulks = || {
        out_of_texts.clear();
        let mut reply = Reply::new(&mut out_of_texts, ProtocolVersion::Resp2);
        reply.array(VALUES);
        texts.iter().for_each(|text| reply.bulk_text(text));
        out_of_texts.len()
    };
    if doubles() != bulks() {
        return Err("the two write different replies".into());
    }
    criterion.bench_function("reply/doubles/50", |bench| bench.iter(|| black_box(doubles())));
    criterion.bench_function("reply/texts/50", |bench| bench.iter(|| black_box(bulks())));
    Ok(())
}

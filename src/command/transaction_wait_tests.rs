//! Transactions beside what waits for locks or syncs: nothing may wait for itself.

use super::{
    behaviour_tests::{Subject, USERS},
    observation::{Outcome, note},
};
use crate::{
    log::Durability,
    store::{TransactionKeys, TransactionKind},
};
use nowthen_protocol::{RequestLimits, RequestParser};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

/// Fails if `work` does not end.
fn must_end(work: impl FnOnce() + Send + 'static) {
    let (sender, ended) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        work();
        sender.send(())
    });
    let is_stuck =
        ended.recv_timeout(Duration::from_secs(20)) == Err(mpsc::RecvTimeoutError::Timeout);
    assert!(!is_stuck, "it waits for itself");
    worker.join().unwrap().unwrap();
}

/// The log publishes what is durable before it syncs what comes next, and publishing takes the
/// locks that a transaction holds.
#[test]
fn a_transaction_does_not_wait_for_syncs() {
    must_end(|| {
        let mut subject = Subject::with(Durability::Always);
        let is_done = Arc::new(AtomicBool::new(false));
        let writers = [0, 1, 2].map(|_| {
            let (mut other, is_done) = (subject.another(), Arc::clone(&is_done));
            std::thread::spawn(move || {
                while !is_done.load(Ordering::Relaxed) {
                    other.ask("SET k v");
                }
            })
        });
        for _ in 0..300 {
            subject.check(&[("MULTI", "+OK"), ("WAIT 0 0", "+QUEUED"), ("EXEC", "*1 :0")]);
            subject.ask("MULTI");
            subject.ask("WAITAOF 1 0 0");
            subject.ask("EXEC");
        }
        is_done.store(true, Ordering::Relaxed);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    });
}

/// Whoever asks the store for the time moves to the table what waited for it.
#[test]
fn a_cell_whose_time_comes_during_a_transaction_that_is_told_of_waits_for_its_end() {
    must_end(|| {
        let mut subject = Subject::with(Durability::Never);
        subject.apply(USERS);
        subject.beside(|other| other.ask("MONITOR"));
        subject.check(&[(
            "FS.SET v EVENT 1970-01-01T00:00:01.001Z ROWS 1 FEATURES 1 f 1 7",
            "*2 :1 :0",
        )]);
        let line = b"*1\r\n$4\r\nPING\r\n";
        let mut parser = RequestParser::new(RequestLimits::DEFAULT);
        parser.parse(line).unwrap().unwrap();
        let (app, session) = (Arc::clone(&subject.app), &mut subject.session);
        let run = |_: crate::store::Keyspace<'_>, _| {
            app.store.clock().advance_to(crate::feature::Timestamp(1_002_000));
            note(&app, session, parser.arguments(line), (Some(0), Outcome::Done), u64::MAX);
        };
        app.store.transaction(|_| TransactionKeys::All, TransactionKind::Writes, run).unwrap();
        subject.check(&[("HGET user:1 f", "$1 7")]);
    });
}

#[test]
fn a_transaction_of_many_writes_to_one_large_hash_takes_no_longer_than_they_do() {
    let mut subject = Subject::with(Durability::Always);
    subject.ask("MULTI");
    (0..8_000).for_each(|i| drop(subject.ask(&format!("HSET h {i} {i}"))));
    let started = std::time::Instant::now();
    assert!(subject.ask("EXEC").starts_with("*8000 :1"));
    subject.check(&[("HLEN h", ":8000")]);
    // Copying the hash for each of them took minutes.
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}

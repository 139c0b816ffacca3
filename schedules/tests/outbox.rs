//! Whatever the order of steps: everybody is told, once, of their own record, in the order of their calls; and nothing is
//! held at the end. A thread that waits for ever is what shuttle calls a deadlock.
//!
//! `OTTLA_SCHEDULES` says how many orders are tried in each test. One that fails is printed, for `shuttle::replay`.

use ottla_schedules::engine::{Accepted, Handle, Small};
use ottla_schedules::error::Error;
use shuttle::thread;

/// Tries orders that are drawn at random, and orders with few changes between threads, which find what takes a thread
/// that is held up for long.
fn in_any_order(test: impl Fn() + Send + Sync + Clone + 'static) {
    let count = std::env::var("OTTLA_SCHEDULES").map_or(1_000, |count| count.parse().unwrap());
    shuttle::check_random(test.clone(), count);
    shuttle::check_pct(test, count, 3);
}

/// Appends so many records, waits for each, and sees it at its offset, behind the one before.
fn append_and_wait(handle: &Handle, name: &str, count: usize) {
    let mut last = -1;
    for number in 0..count {
        let value = format!("{name}-{number}");
        let accepted = handle.append(&value, true).expect("there is room").unwrap();
        last = is_told(handle, accepted, &value, last);
    }
}

fn is_told(handle: &Handle, accepted: Accepted, value: &str, last: i64) -> i64 {
    let offset = accepted.offset().unwrap();
    assert_eq!(handle.at(offset), value, "it is told of its own record");
    assert!(last < offset, "{value} is behind the one before");
    offset
}

/// Two records fill a batch.
const BATCH: usize = 90;
const BUFFER: usize = 100_000;

/// Callers that wait for each record, whoever runs the engine for whom.
#[test]
fn callers_that_wait_are_told() {
    in_any_order(|| {
        let small = Small::start(BATCH, BUFFER);
        let callers = ["a", "b"].map(|name| {
            let handle = small.handle();
            thread::spawn(move || append_and_wait(&handle, name, 2))
        });
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        assert_eq!(small.free(), (BUFFER, BUFFER), "all of it is given back");
        assert_eq!(small.close().len(), 4);
    });
}

/// Records that nobody hurries, alone and several at once: the engine is told of the first of a batch, and of
/// nothing else.
#[test]
fn what_is_enqueued_leaves_without_anybody_who_waits() {
    in_any_order(|| {
        let small = Small::start(BATCH, BUFFER);
        let one = thread::spawn({
            let handle = small.handle();
            move || {
                let values = ["a-0", "a-1", "a-2"];
                let accepted =
                    values.map(|value| handle.append(value, false).expect("there is room").unwrap());
                let told = values.into_iter().zip(accepted);
                told.fold(-1, |last, (value, accepted)| is_told(&handle, accepted, value, last));
            }
        });
        let many = thread::spawn({
            let handle = small.handle();
            move || {
                let (values, mut accepted) = (["b-0", "b-1", "b-2"], Vec::new());
                handle.append_all(&values, &mut accepted);
                assert_eq!(accepted.len(), 3);
                let told = values.into_iter().zip(accepted);
                told.fold(-1, |last, (value, accepted)| is_told(&handle, accepted, value, last));
            }
        });
        one.join().unwrap();
        many.join().unwrap();
        assert_eq!(small.free(), (BUFFER, BUFFER), "all of it is given back");
        assert_eq!(small.close().len(), 6);
    });
}

/// Whoever flushes waits for what was accepted before, though others have the partition leave the list of those to look at.
#[test]
fn what_was_accepted_before_a_flush_is_told_after_it() {
    in_any_order(|| {
        let small = Small::start(BATCH, BUFFER);
        let callers = ["a", "b"].map(|name| {
            let handle = small.handle();
            thread::spawn(move || {
                for number in 0..2 {
                    let accepted = handle.append(&format!("{name}-{number}"), false);
                    handle.flush();
                    assert!(accepted.expect("there is room").unwrap().is_told());
                }
            })
        });
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        assert_eq!(small.close().len(), 4);
    });
}

/// A producer that is closed meanwhile has written what it accepted, and nothing else.
#[test]
fn what_was_accepted_before_the_close_is_written() {
    in_any_order(|| {
        let small = Small::start(BATCH, BUFFER);
        let handle = small.handle();
        let caller = thread::spawn(move || {
            let mut written = Vec::new();
            for number in 0..3 {
                let value = format!("a-{number}");
                match handle.append(&value, false).expect("there is room") {
                    Ok(accepted) => written.push((value, accepted.offset())),
                    Err(error) => assert_eq!(error, Error::Closed),
                }
            }
            written
        });
        let log = small.close();
        let written = caller.join().unwrap();
        assert_eq!(written.len(), log.len());
        for (value, offset) in written {
            assert_eq!(log[usize::try_from(offset.unwrap()).unwrap()], value);
        }
    });
}

/// Where there is room for one record, whoever finds none tries again; and nobody tries in vain.
#[test]
fn room_is_given_back() {
    in_any_order(|| {
        let small = Small::start(BATCH, FOOTPRINT);
        let callers = ["a", "b"].map(|name| {
            let handle = small.handle();
            thread::spawn(move || {
                for number in 0..3 {
                    let value = format!("{name}-{number}");
                    let accepted = loop {
                        match handle.append(&value, number % 2 == 0) {
                            Some(accepted) => break accepted.unwrap(),
                            None => thread::yield_now(),
                        }
                    };
                    is_told(&handle, accepted, &value, -1);
                }
            })
        });
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        assert_eq!(small.free(), (FOOTPRINT, FOOTPRINT), "all of it is given back");
        assert_eq!(small.close().len(), 6);
    });
}

/// What a record of these tests takes of a buffer.
const FOOTPRINT: usize = 40;

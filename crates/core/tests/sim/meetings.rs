//! Faults that strike the same batch one after the other, or two partitions at once. Each mistake in the order of writing
//! needs such a meeting to show; drawn one by one, the faults would hardly ever meet.

use std::time::Duration;

use ottla_core::partition_queue::Acks;
use ottla_fake::Stage;
use ottla_wire::ErrorCode;

use crate::plan::{Fault, FaultKind, Plan, Strike, WriterPlan};
use crate::random::Draw;

/// Of a hundred runs, so many have one.
const SHARE: u64 = 40;

/// Adds a meeting to some of the plans, and has writers that write enough for it to come about.
pub(crate) fn add(plan: &mut Plan) {
    let mut draw = Draw::new(plan.seed, 8);
    if !draw.chance(SHARE) {
        return;
    }
    match draw.below(6) {
        0 => refused_when_it_is_there(&mut draw, plan),
        1 => lost_and_never_again(&mut draw, plan),
        2 => late_for_one_of_two(&mut draw, plan),
        _ => a_new_epoch_for_others(&mut draw, plan),
    }
}

/// A batch is written, and nobody hears of it; when it comes again it is refused.
fn refused_when_it_is_there(draw: &mut Draw, plan: &mut Plan) {
    let at = place(draw, plan);
    let refusal = draw.pick(&[
        ErrorCode::MESSAGE_TOO_LARGE,
        ErrorCode::MESSAGE_TOO_LARGE,
        ErrorCode::INVALID_RECORD,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        ErrorCode::UNKNOWN_PRODUCER_ID,
        ErrorCode::INVALID_PRODUCER_EPOCH,
    ]);
    let begin = moment(draw, plan);
    let times = draw.between(1, 3);
    strikes(
        plan,
        at,
        begin,
        &[(1, 1, Strike::Disconnect(Stage::AfterApplying)), (2, times, Strike::Error(refusal))],
    );
    for writer in writers_at(plan, at) {
        writer.acks = Acks::All;
        writer.group = draw.between(2, 6);
    }
}

/// A batch is written, nobody hears of it, and the broker takes nothing more until its time is over.
fn lost_and_never_again(draw: &mut Draw, plan: &mut Plan) {
    let at = place(draw, plan);
    let begin = moment(draw, plan);
    let lost = draw.pick(&[Strike::Disconnect(Stage::AfterApplying), Strike::Silence(Stage::AfterApplying)]);
    strikes(plan, at, begin, &[(1, 1, lost), (2, 1_000, Strike::Error(ErrorCode::NOT_ENOUGH_REPLICAS))]);
    for writer in writers_at(plan, at) {
        writer.acks = Acks::All;
        writer.delivery_timeout = draw.millis(1_500, 3_000);
    }
}

/// One partition makes all others go over to a new epoch, while those have several batches under way of which one comes to
/// nothing.
fn a_new_epoch_for_others(draw: &mut Draw, plan: &mut Plan) {
    let (one, other) = two_busy(draw, plan);
    let wrong = draw.pick(&[ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorCode::UNKNOWN_PRODUCER_ID]);
    let begin = moment(draw, plan);
    let (first, times) = (draw.between(1, 4), draw.between(1, 2));
    strikes(plan, one, begin, &[(1, 1, Strike::Error(wrong))]);
    strikes(plan, other, begin, &[(first, times, Strike::Error(ErrorCode::NOT_ENOUGH_REPLICAS))]);
}

/// An answer comes when its waiter has given up and another one still waits on the same connection.
fn late_for_one_of_two(draw: &mut Draw, plan: &mut Plan) {
    let (one, _) = two_busy(draw, plan);
    let stage = draw.pick(&[Stage::BeforeApplying, Stage::AfterApplying]);
    let begin = moment(draw, plan);
    strikes(plan, one, begin, &[(1, 1, Strike::Delay(stage, SHORT + draw.millis(10, 1_500)))]);
}

/// The request time-outs of two busy writers, so that their batches do not share requests.
const SHORT: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(12);

/// Two partitions of a topic whose writers write on and on, whatever becomes of it.
fn two_busy(draw: &mut Draw, plan: &mut Plan) -> (Place, Place) {
    let topic = draw.below(plan.topics.len() as u64) as usize;
    // Leaders go round: these two have the same one at first.
    let (one, other) = (0, plan.nodes);
    plan.topics[topic] = plan.topics[topic].max(other + 1);
    let places = [(topic, one), (topic, other)];
    while plan.writers.len() < 2 {
        plan.writers.extend(plan.writers.first().cloned());
    }
    for (writer, ((topic, partition), request_timeout)) in
        plan.writers.iter_mut().zip(places.into_iter().zip([SHORT, LONG]))
    {
        *writer = WriterPlan {
            topic,
            partition,
            request_timeout,
            is_closed_loop: false,
            pause: (1_000, 15_000),
            acks: Acks::All,
            delivery_timeout: draw.millis(5_000, 20_000),
            linger: None,
            group: 6,
            record_bytes: (10, 200),
            turns: 100,
            ..writer.clone()
        };
    }
    // Many small batches, under way for long.
    plan.client.max_batch = draw.between(600, 1_500) as usize;
    plan.latency = draw.pick(&[(200, 3_000), (2_000, 40_000)]);
    (places[0], places[1])
}

type Place = (usize, i32);

/// Where one of the writers writes.
fn place(draw: &mut Draw, plan: &Plan) -> Place {
    let writer = &plan.writers[draw.below(plan.writers.len() as u64) as usize];
    (writer.topic, writer.partition)
}

fn writers_at(plan: &mut Plan, (topic, partition): Place) -> impl Iterator<Item = &mut WriterPlan> {
    plan.writers.iter_mut().filter(move |it| (it.topic, it.partition) == (topic, partition))
}

/// When there are writers at work, as a rule.
fn moment(draw: &mut Draw, plan: &Plan) -> Duration {
    draw.micros(500_000, (plan.heal.as_micros() as u64 / 2).max(1_000_000))
}

/// What happens to requests for a partition from `begin` on: from which one, to how many, and what.
fn strikes(plan: &mut Plan, (topic, partition): Place, begin: Duration, what: &[(u64, u64, Strike)]) {
    for (first, times, strike) in what.iter().cloned() {
        let kind = FaultKind::AtPartition { topic, partition, first, times, strike };
        plan.faults.push(Fault { at: begin, until: plan.heal, kind });
    }
}

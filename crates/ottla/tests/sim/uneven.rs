//! One partition's leader is slow, or there is none, while all the others are well: records without keys go to those (KIP-794).

use std::time::Duration;

use ottla::{Client, Delivery, Record, TopicProducer};
use ottla_fake::{Reaction, Rule, RuleId, Stage};
use ottla_wire::ApiKey;
use tokio::time::{sleep, timeout};

use crate::check::{Lost, log_of, written};
use crate::plan::Plan;
use crate::promise::{GOES_ON, IN_TIME, Kept, SPARED, broken};
use crate::random::Random;
use crate::run::{Fate, GRACE, PROMPT, Sent, World, delivered, producer_of};
use crate::support::{millis, polled};

/// A topic with a partition on each node, one of which is not what it should be.
#[derive(Debug, Clone)]
pub(crate) struct Uneven {
    pub(crate) node: i32,
    /// How long that node takes for each Produce request; `None`: its partition has no leader.
    pub(crate) takes: Option<Duration>,
    /// Bytes of a partition's turn.
    pub(crate) run: usize,
    /// Bytes of a batch, where partitions have room for little more than that.
    pub(crate) little: Option<usize>,
}

/// So many records, one after the other, so far apart: within the shortest delivery time-out.
const RECORDS: u64 = 200;
const APART: Duration = millis(10);

/// Few records are under way where the leader is quick.
const LINGER: Duration = millis(2);

/// What a record counts for in a turn, at least.
const SIZE: usize = 90;

impl Uneven {
    pub(crate) fn of(random: &mut Random, nodes: i32) -> Self {
        let mut uneven = Self {
            node: 1 + i32::try_from(random.below(nodes as u64)).unwrap(),
            // A turn of the slow one is followed by a hundred records at least.
            takes: random.one_in(2).then(|| random.millis(1_000..1_900)),
            run: usize::try_from(random.within(500..1_000)).unwrap(),
            little: None,
        };
        if uneven.takes.is_some() && random.one_in(2) {
            uneven.little = Some(usize::try_from(random.within(1_100..2_000)).unwrap());
            // More than there is room for, or less than a batch.
            uneven.run *= random.pick(&[8, 1]);
        }
        uneven
    }
}

impl World {
    /// With everything else mended: of records without keys few go to the odd partition, nobody waits for room because of it,
    /// and those of the other partitions are written as if it were well.
    pub(crate) async fn spares_the_slow(&self, plan: &Plan, client: &Client) -> Kept {
        let Some(uneven) = &plan.uneven else { return Ok(()) };
        self.pipes.create("u", plan.nodes, 1);
        let mut sent = Vec::new();
        let topic = self.known_everywhere(plan, client, uneven, &mut sent).await?;
        let odd = self.pipes.control(|cluster, _| {
            let leads = |at: &i32| cluster.partition("u", *at).unwrap().leader() == uneven.node;
            (0..plan.nodes).find(leads).unwrap()
        });
        let rule = self.make_odd(uneven, odd);
        let mut under_way = Vec::new();
        // Where there is little room, records come no faster than a quick leader takes them: when all are full, anyone is waited for.
        let slowest = plan.latencies.iter().max().copied().unwrap_or_default();
        let apart = if uneven.little.is_some() { APART.max(slowest * 3 / 2) } else { APART };
        for number in 0..RECORDS {
            let value = format!("u-{number}-{:x>80}", "");
            self.called();
            let enqueued = timeout(PROMPT, topic.enqueue(Record::new(value.clone()))).await;
            let enqueued = enqueued.map_err(|_| broken(SPARED, format!("record {number} waits for room")))?;
            let delivery = enqueued.map_err(|error| broken(GOES_ON, format!("record {number}: {error}")))?;
            under_way.push((value, delivery));
            sleep(apart).await;
        }
        sleep(PROMPT).await;
        let turns = under_way.iter().map(|(_, delivery)| delivery.partition());
        let longest = longest_run(turns, odd);
        // Who has as much to do as that is not the better of two, where nobody has taken any room ahead.
        if uneven.little.is_some() && longest > uneven.run / SIZE + 1 {
            let what = format!("{longest} records in a row for {odd}, in turns of {} bytes", uneven.run);
            return Err(broken(SPARED, what));
        }
        let late = self.those_under_way(under_way, odd, &mut sent).await?;
        let met =
            rule.map_or(late.len() as u64, |rule| self.pipes.control(|cluster, _| cluster.delayed(rule)));
        self.count(if uneven.takes.is_some() { "slow leader" } else { "no leader" }, met);
        self.count("little room", uneven.little.is_some().into());
        let share = sent.iter().filter(|sent| sent.partition == odd).count() + late.len();
        self.note(|| format!("{share} of {RECORDS} records went to partition {odd}: {uneven:?}"));
        // Two thirds of what it would get if nobody cared; what comes slowly, it takes as quickly as others.
        if uneven.little.is_none() && share as u64 > RECORDS * 2 / 3 / plan.nodes as u64 {
            return Err(broken(SPARED, format!("{share} of {RECORDS} records for {odd} of {}", plan.nodes)));
        }
        self.make_even(uneven, odd, rule);
        for (value, delivery) in late {
            // Its pause is over some time after there is a leader.
            let told = timeout(plan.delivery_timeout + GRACE, delivery).await;
            let fate = delivered(told.map_err(|_| broken(IN_TIME, format!("{value} has no outcome")))?)?;
            sent.push(Sent { partition: odd, value, fate });
        }
        for partition in 0..plan.nodes {
            written(partition, &log_of(&self.pipes, "u", partition), &sent, &Lost::default())?;
        }
        Ok(())
    }

    /// A producer's handle of the topic, with a record written to each partition.
    async fn known_everywhere(
        &self,
        plan: &Plan,
        client: &Client,
        uneven: &Uneven,
        sent: &mut Vec<Sent>,
    ) -> Kept<TopicProducer> {
        let failed = |error: ottla::Error| broken(GOES_ON, format!("a new topic cannot be written: {error}"));
        let mut producer = producer_of(plan, client).linger(LINGER).sticky_run(uneven.run);
        if let Some(batch) = uneven.little {
            // A partition may hold a batch and its bookkeeping then.
            producer = producer.batch_size(batch).buffer_memory(4 * batch);
        }
        let topic = producer.build().await.map_err(failed)?.topic("u").await.map_err(failed)?;
        for partition in 0..plan.nodes {
            let value = format!("first-{partition}");
            self.called();
            let fate = delivered(topic.send_to(partition, Record::new(value.clone())).await)?;
            sent.push(Sent { partition, value, fate });
        }
        Ok(topic)
    }

    fn make_odd(&self, uneven: &Uneven, odd: i32) -> Option<RuleId> {
        let Some(takes) = uneven.takes else {
            self.pipes.control(|cluster, now| cluster.remove_leader(now, "u", odd)).unwrap();
            return None;
        };
        let slow = Rule::new(Reaction::Delay(Stage::AfterApplying, takes));
        Some(self.pipes.rule(slow.api(ApiKey::PRODUCE).node(uneven.node)))
    }

    fn make_even(&self, uneven: &Uneven, odd: i32, rule: Option<RuleId>) {
        self.pipes.control(|cluster, now| match rule {
            Some(rule) => cluster.remove_rule(now, rule),
            None => cluster.move_leader(now, "u", odd, uneven.node).unwrap(),
        });
    }

    /// Those for the odd partition that have no outcome yet; all others must have been written.
    async fn those_under_way(
        &self,
        under_way: Vec<(String, Delivery)>,
        odd: i32,
        sent: &mut Vec<Sent>,
    ) -> Kept<Vec<(String, Delivery)>> {
        let mut late = Vec::new();
        for (value, mut delivery) in under_way {
            let partition = delivery.partition();
            match polled(1, &mut delivery).await {
                Some(result) => {
                    let fate = delivered(result)?;
                    if partition != odd && !matches!(fate, Fate::Written(_)) {
                        return Err(broken(SPARED, format!("{value} for {partition} came to {fate:?}")));
                    }
                    sent.push(Sent { partition, value, fate });
                }
                None if partition == odd => late.push((value, delivery)),
                None => return Err(broken(SPARED, format!("{value} for {partition} is not written yet"))),
            }
        }
        Ok(late)
    }
}

/// How often in a row that one comes, at most.
fn longest_run(partitions: impl Iterator<Item = i32>, one: i32) -> usize {
    let runs = partitions.scan(0, |run, partition| {
        *run = if partition == one { *run + 1 } else { 0 };
        Some(*run)
    });
    runs.max().unwrap_or_default()
}

//! Many seeds of brokers that apply, err, go silent, lose connections and move leaders as they like, with a log that
//! checks sequences as a broker does.

use std::collections::HashMap;

use super::*;

/// Trap P1, Trap P2, Trap P3: whatever happens, every delivery is resolved once, what was acknowledged is in the log once, what
/// was reported as not written is not, and the log is in the order of the appends.
#[test]
fn what_is_said_of_deliveries_is_true() {
    for seed in 0..1_000 {
        Storm::new(seed).rage();
    }
}

struct Storm {
    seed: u64,
    random: Random,
    world: World,
    ids: Vec<PartitionId>,
    leaders: Vec<Leader>,
    logs: Vec<Log>,
    /// What brokers have not read yet, in order.
    inbound: [VecDeque<SendRequest>; 3],
    /// Requests whose connection is gone for the client, while the broker may still read them.
    ghosts: Vec<SendRequest>,
}

/// Batches of a producer that a broker remembers.
const REMEMBERED: usize = 5;

/// The log of a partition, the same at each of its leaders.
#[derive(Default)]
struct Log {
    batches: Vec<u32>,
    producers: HashMap<i64, ProducerState>,
}

#[derive(Default)]
struct ProducerState {
    epoch: i16,
    next_sequence: i32,
    /// Base sequence and offset of what was written in this epoch.
    known: Vec<(i32, i64)>,
}

impl Log {
    fn append(&mut self, sent: &Sent) -> (ErrorCode, i64) {
        let offset = self.batches.len() as i64 * 100;
        let is_new = !self.producers.contains_key(&sent.id);
        let state = self.producers.entry(sent.id).or_default();
        if is_new {
            (state.epoch, state.next_sequence) = (sent.epoch, sent.sequence);
        } else if sent.epoch > state.epoch {
            *state = ProducerState { epoch: sent.epoch, ..ProducerState::default() };
        }
        if sent.epoch < state.epoch {
            return (ErrorCode::INVALID_PRODUCER_EPOCH, -1);
        }
        if let Some((_, offset)) = state.known.iter().find(|(sequence, _)| *sequence == sent.sequence) {
            return (ErrorCode::NONE, *offset);
        }
        if sent.sequence != state.next_sequence {
            return (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
        }
        state.next_sequence += sent.records;
        state.known.push((sent.sequence, offset));
        if state.known.len() > REMEMBERED {
            state.known.remove(0);
        }
        self.batches.push(sent.delivery);
        (ErrorCode::NONE, offset)
    }
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut world = World::new();
        world.settings.delivery_timeout = 10 * SECOND;
        let ids: Vec<_> = (0..4).map(|index| world.open(index, index % 2)).collect();
        let leaders = (0..4).map(|index| Leader { broker_id: index % 2, epoch: 1 }).collect();
        let logs = (0..4).map(|_| Log::default()).collect();
        let random = Random::new(seed);
        Self { seed, random, world, ids, leaders, logs, inbound: Default::default(), ghosts: Vec::new() }
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.random.next_u64() % limit as u64) as usize
    }

    fn rage(mut self) {
        for _ in 0..400 {
            self.step();
            self.collect();
        }
        self.world.pass(11 * SECOND);
        self.collect();
        while self.inbound.iter().any(|inbound| !inbound.is_empty()) {
            self.lose_oldest();
            self.collect();
        }
        while !self.ghosts.is_empty() {
            self.haunt();
        }
        self.check();
    }

    fn collect(&mut self) {
        for request in self.world.sent.drain(..) {
            self.inbound[request.broker_id as usize].push_back(request);
        }
    }

    fn step(&mut self) {
        let partition = self.below(4);
        match self.below(12) {
            0..=3 => {
                // Eight records fill a batch.
                for _ in 0..=self.below(20) {
                    self.world.produce_quietly(self.ids[partition]);
                }
                self.world.run();
            }
            4..=6 => self.answer_oldest(),
            7 => self.lose_oldest(),
            8 => self.haunt(),
            9 => {
                let epoch = self.leaders[partition].epoch + 1;
                self.leaders[partition] = Leader { broker_id: self.below(3) as i32, epoch };
            }
            10 => {
                let leader = self.leaders[partition];
                let known = (self.below(8) > 0).then_some(leader);
                self.world.producer.handle_leader(self.world.now, self.ids[partition], known);
                self.world.run();
            }
            _ => {
                let time = self.below(3_000) as u64;
                self.world.pass(Duration::from_millis(time));
            }
        }
    }

    /// A broker reads a request: appends what it leads, and what it says of that may still be an error.
    fn apply(&mut self, request: &SendRequest) -> Vec<PartitionProduceResponse> {
        let mut answers = Vec::new();
        for sent in carried(&request.request) {
            let index = sent.partition as usize;
            if self.leaders[index].broker_id != request.broker_id {
                answers.push(answer(sent.partition, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1));
                continue;
            }
            answers.push(match self.below(8) {
                0 => answer(sent.partition, ErrorCode::NOT_ENOUGH_REPLICAS, -1),
                1 => answer(sent.partition, ErrorCode::MESSAGE_TOO_LARGE, -1),
                2 => answer(sent.partition, ErrorCode::REQUEST_TIMED_OUT, -1),
                quiet => {
                    let (code, offset) = self.logs[index].append(&sent);
                    let code = match quiet {
                        3 if code.is_none() => ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
                        4 if code.is_none() => ErrorCode::UNKNOWN_SERVER_ERROR,
                        _ => code,
                    };
                    answer(sent.partition, code, if code.is_none() { offset } else { -1 })
                }
            });
        }
        answers
    }

    fn answer_oldest(&mut self) {
        let broker = self.below(3);
        if let Some(request) = self.inbound[broker].pop_front() {
            let answers = self.apply(&request);
            self.world.answer_with(&request, answers);
        }
    }

    /// The connection ends, before or after the broker read the request, or before it will.
    fn lose_oldest(&mut self) {
        let broker = self.below(3);
        let Some(request) = self.inbound[broker].pop_front() else { return };
        match self.below(4) {
            0 => return self.world.lose(&request, Outcome::NotSent),
            1 => {
                self.apply(&request);
            }
            _ => {}
        }
        self.world.lose(&request, Outcome::Unknown);
        self.ghosts.push(request);
    }

    /// A broker gets round to a request whose client has given up.
    fn haunt(&mut self) {
        if !self.ghosts.is_empty() {
            let at = self.below(self.ghosts.len());
            let ghost = self.ghosts.swap_remove(at);
            self.apply(&ghost);
        }
    }

    fn check(&self) {
        let Self { seed, world, logs, .. } = self;
        assert_eq!(world.resolved.len(), world.deliveries as usize, "seed {seed}");
        assert!(world.producer.is_idle(), "seed {seed}");
        assert!(world.queues.values().all(|queue| queue.memory() == 0), "seed {seed}");
        for (delivery, result) in &world.resolved {
            let copies = logs.iter().flat_map(|log| &log.batches).filter(|batch| *batch == delivery).count();
            match result {
                Ok(_) => assert_eq!(copies, 1, "seed {seed}: {delivery} is acknowledged"),
                Err(error) if error.outcome == DeliveryOutcome::NotWritten => {
                    assert_eq!(copies, 0, "seed {seed}: {delivery}: {error}");
                }
                Err(error) => assert!(copies <= 1, "seed {seed}: {delivery}: {error}"),
            }
        }
        for log in logs {
            assert!(log.batches.is_sorted(), "seed {seed}: {:?}", log.batches);
        }
    }
}

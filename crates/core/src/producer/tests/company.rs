//! For whom a request waits.

use super::*;

impl World {
    /// A caller who waits for the acknowledgement appends.
    fn call(&mut self, id: PartitionId) {
        let (_, changed) = self.append(id);
        if changed {
            self.producer.handle_appended(self.now, id, self.queues[&id].ready());
        }
        self.run();
    }

    /// The partitions of the only request sent since the last look.
    fn shared(&mut self) -> (SendRequest, Vec<i32>) {
        let request = self.one();
        let partitions = carried(&request.request).iter().map(|sent| sent.partition).collect();
        (request, partitions)
    }
}

fn three() -> (World, [PartitionId; 3]) {
    let mut world = World::new();
    let ids = [0, 1, 2].map(|index| world.open(index, 1));
    (world, ids)
}

#[test]
fn a_request_waits_for_those_who_were_told_just_now() {
    let (mut world, ids) = three();
    ids.iter().for_each(|id| world.call(*id));
    assert!(world.producer.is_held());
    world.producer.go_without();
    world.run();
    let (request, partitions) = world.shared();
    assert_eq!(partitions, [0, 1, 2]);

    world.answer(&request, ErrorCode::NONE, 0);
    ids.iter().for_each(|id| world.producer.expect_back(*id, 1));
    assert!(!world.producer.is_held(), "there is nothing to hold");
    for id in &ids[..2] {
        world.call(*id);
        world.nothing_sent();
        assert!(world.producer.is_held());
    }
    world.call(ids[2]);
    assert!(!world.producer.is_held());
    assert_eq!(world.shared().1, [0, 1, 2], "with the last of them it leaves");
}

#[test]
fn one_who_appends_alone_is_not_kept_waiting() {
    let (mut world, [id, ..]) = three();
    world.call(id);
    world.producer.go_without();
    world.run();
    for _ in 0..3 {
        let (request, _) = world.shared();
        world.answer(&request, ErrorCode::NONE, 0);
        world.producer.expect_back(id, 1);
        world.call(id);
    }
}

#[test]
fn who_does_not_come_back_is_not_waited_for_again() {
    let (mut world, ids) = three();
    ids.iter().for_each(|id| world.call(*id));
    world.producer.go_without();
    world.run();
    let (request, _) = world.shared();
    world.answer(&request, ErrorCode::NONE, 0);
    ids.iter().for_each(|id| world.producer.expect_back(*id, 1));
    world.call(ids[0]);
    world.call(ids[1]);
    assert!(world.producer.is_held());
    world.producer.go_without();
    world.run();
    let (request, partitions) = world.shared();
    assert_eq!(partitions, [0, 1]);
    world.answer(&request, ErrorCode::NONE, 0);
    ids[..2].iter().for_each(|id| world.producer.expect_back(*id, 1));
    ids[..2].iter().for_each(|id| world.call(*id));
    assert_eq!(world.shared().1, [0, 1]);
}

#[test]
fn full_batches_and_other_brokers_do_not_wait() {
    let (mut world, ids) = three();
    let elsewhere = world.open(3, 2);
    ids.iter().for_each(|id| world.call(*id));
    world.producer.go_without();
    world.run();
    let (request, _) = world.shared();
    world.answer(&request, ErrorCode::NONE, 0);
    ids.iter().for_each(|id| world.producer.expect_back(*id, 1));

    world.produce(elsewhere);
    assert_eq!(world.shared().1, [3]);

    // A batch of this world holds 1,000 bytes.
    for _ in 0..9 {
        world.append(ids[0]);
    }
    world.producer.handle_ready(world.now, ids[0], world.queues[&ids[0]].ready());
    world.run();
    assert_eq!(world.shared().1, [0]);
}

#[test]
fn callers_of_one_partition_are_waited_for_each() {
    let (mut world, [id, ..]) = three();
    world.call(id);
    world.producer.go_without();
    world.run();
    let (request, _) = world.shared();
    world.answer(&request, ErrorCode::NONE, 0);
    world.producer.expect_back(id, 2);
    world.call(id);
    world.nothing_sent();
    // The second joins the batch of the first: its queue has nothing new to say.
    world.append(id);
    world.producer.handle_appended(world.now, id, world.queues[&id].ready());
    world.run();
    assert_eq!(carried(&world.shared().0.request)[0].records, 2);
}

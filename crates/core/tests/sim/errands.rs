//! Errands: what is asked of the controller, of a broker by its number and of coordinators, and what goes wrong with that. A third
//! of the runs have some. They are drawn from a stream of their own, so that the other runs are as they were without them.

use std::time::Duration;

use ottla_fake::Stage;
use ottla_wire::{ApiKey, ErrorCode};

use crate::plan::{Fault, FaultKind, Plan, ThenMillis};
use crate::random::Draw;

/// Somebody who has errands of one kind, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct ErrandPlan {
    pub(crate) charge: Charge,
    pub(crate) begin: Duration,
    /// Between two errands, in microseconds.
    pub(crate) pause: (u64, u64),
    pub(crate) turns: u64,
    /// How long a broker may rightly take.
    pub(crate) own_wait: Duration,
    /// What a call has beside that.
    pub(crate) timeout: Duration,
}

/// What somebody looks after.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Charge {
    /// Topics of its own, which the controller creates, lets grow and deletes.
    Topics,
    /// The settings of one broker, which that one tells.
    Broker(i32),
    /// A group, which its coordinator describes.
    Group,
    /// A transactional id, whose epoch its coordinator raises.
    TransactionalId,
}

/// Of a hundred runs, so many have errands.
const SHARE: u64 = 35;

/// The stream of errands: one by which the seeds in `FOUND` have none, so that each goes on finding what it found.
const STREAM: u64 = 38;

/// Adds errands to some of the plans, and what happens to them.
pub(crate) fn add(plan: &mut Plan) {
    let mut draw = Draw::new(plan.seed, STREAM);
    if !draw.chance(SHARE) {
        return;
    }
    plan.client.admin_lanes = draw.between(1, 4);
    plan.errands = (0..draw.between(1, 3)).map(|_| errand(&mut draw, plan)).collect();
    let count = draw.pick(&[0, 1, 2, 3, 5]);
    let faults: Vec<Fault> = (0..count).map(|_| fault(&mut draw, plan)).collect();
    plan.faults.extend(faults);
}

fn errand(draw: &mut Draw, plan: &Plan) -> ErrandPlan {
    let node = draw.between(1, plan.nodes as u64) as i32;
    ErrandPlan {
        charge: draw.pick(&[
            Charge::Topics,
            Charge::Topics,
            Charge::Topics,
            Charge::Broker(node),
            Charge::Group,
            Charge::Group,
            Charge::TransactionalId,
        ]),
        begin: draw.millis(0, 1_000),
        pause: draw.pick(&[(1_000, 40_000), (50_000, 300_000), (200_000, 900_000)]),
        turns: draw.pick(&[5, 20, 60]),
        own_wait: draw.pick(&[10, 500, 2_000]).then_millis(),
        timeout: draw.millis(2_000, 10_000),
    }
}

/// What the controller is asked to do.
const CHANGES: [ApiKey; 3] = [ApiKey::CREATE_TOPICS, ApiKey::DELETE_TOPICS, ApiKey::CREATE_PARTITIONS];

const APIS: [ApiKey; 8] = [
    ApiKey::CREATE_TOPICS,
    ApiKey::CREATE_TOPICS,
    ApiKey::DELETE_TOPICS,
    ApiKey::CREATE_PARTITIONS,
    ApiKey::DESCRIBE_CONFIGS,
    ApiKey::DESCRIBE_GROUPS,
    ApiKey::FIND_COORDINATOR,
    ApiKey::INIT_PRODUCER_ID,
];

fn fault(draw: &mut Draw, plan: &Plan) -> Fault {
    let at = draw.micros(0, plan.heal.as_micros() as u64 * 9 / 10);
    let span = draw.millis(200, 6_000);
    let (api, change) = (draw.pick(&APIS), draw.pick(&CHANGES));
    let stage = draw.pick(&[Stage::BeforeApplying, Stage::AfterApplying]);
    let times = draw.pick(&[1, 1, 2, 5, 20]);
    let time = draw.millis(5, 4_000);
    // The controller is the first of those that live.
    let any = draw.between(1, plan.nodes as u64) as i32;
    let node = draw.pick(&[1, any]);
    // Long enough for others to stand in for it.
    let long = draw.millis(3_000, 8_000);
    let kind = match draw.below(22) {
        0 | 1 => FaultKind::Error { api: change, code: draw.pick(&OF_CONTROLLER), times },
        2 | 3 => FaultKind::Denied { api: change, code: draw.pick(&LEAVES_OPEN), times },
        4 | 5 => FaultKind::Error { api: ApiKey::DESCRIBE_GROUPS, code: draw.pick(&OF_COORDINATOR), times },
        6 | 20 => FaultKind::Error {
            api: ApiKey::FIND_COORDINATOR,
            code: ErrorCode::COORDINATOR_NOT_AVAILABLE,
            times: 5 * times,
        },
        21 => FaultKind::Error {
            api: ApiKey::FIND_COORDINATOR,
            code: ErrorCode::GROUP_AUTHORIZATION_FAILED,
            times,
        },
        7 => FaultKind::Disconnect { api, stage, times },
        8 => FaultKind::Disconnect { api: change, stage: Stage::AfterApplying, times },
        9 | 10 => FaultKind::Delay { api, stage, time, times },
        11 => FaultKind::Silence { api, stage },
        12 => FaultKind::Throttle { api, time, times },
        13 => FaultKind::Kill { node },
        14 => FaultKind::MetadataFreeze { node },
        _ => FaultKind::Pause { node },
    };
    let span = if matches!(kind, FaultKind::Pause { .. }) { long } else { span };
    Fault { at, until: (at + span).min(plan.heal), kind }
}

/// What a broker says that speaks for the controller no more, or cannot now, or may not.
const OF_CONTROLLER: [ErrorCode; 5] = [
    ErrorCode::NOT_CONTROLLER,
    ErrorCode::NOT_CONTROLLER,
    ErrorCode::REQUEST_TIMED_OUT,
    ErrorCode::THROTTLING_QUOTA_EXCEEDED,
    ErrorCode::POLICY_VIOLATION,
];

/// What a broker says that does not know what will become of it.
const LEAVES_OPEN: [ErrorCode; 2] = [ErrorCode::REQUEST_TIMED_OUT, ErrorCode::UNKNOWN_SERVER_ERROR];

/// What a broker says that is no coordinator, or not yet.
const OF_COORDINATOR: [ErrorCode; 3] = [
    ErrorCode::NOT_COORDINATOR,
    ErrorCode::COORDINATOR_NOT_AVAILABLE,
    ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
];

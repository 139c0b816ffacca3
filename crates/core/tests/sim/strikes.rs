//! How often each fault of a plan really struck.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_fake::{Answer, FakeCluster, Reaction, RuleId};

/// How often a rule that changes answers found something to change.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changed(Arc<AtomicU64>);

impl Changed {
    /// The reaction that changes answers up to so many times. Whether there was something to change is what `change` says.
    pub(crate) fn by(
        times: u64,
        change: impl Fn(&mut Answer) -> bool + Send + Sync + 'static,
    ) -> (Reaction, Self) {
        let changed = Self::default();
        let count = changed.0.clone();
        let change = move |answer: &mut Answer| {
            if count.load(Ordering::Relaxed) < times && change(answer) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        (Reaction::alter(change), changed)
    }

    pub(crate) fn times(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is known of each fault that has begun.
#[derive(Debug, Default)]
pub(crate) struct Strikes {
    rules: BTreeMap<usize, RuleId>,
    /// Of rules that change answers: how often there was something to change.
    changed: BTreeMap<usize, Changed>,
    /// Of faults without a rule: in how many ways something went otherwise than without them.
    counted: BTreeMap<usize, u64>,
}

impl Strikes {
    /// The fault is this rule.
    pub(crate) fn follow(&mut self, fault: usize, rule: RuleId, changed: Option<Changed>) {
        self.rules.insert(fault, rule);
        self.changed.extend(changed.map(|changed| (fault, changed)));
    }

    pub(crate) fn rule(&self, fault: usize) -> Option<RuleId> {
        self.rules.get(&fault).copied()
    }

    /// A fault without a rule struck.
    pub(crate) fn add(&mut self, fault: usize, times: u64) {
        *self.counted.entry(fault).or_default() += times;
    }

    /// How often all rules met what they are for.
    pub(crate) fn by_rules(&self, cluster: &FakeCluster) -> u64 {
        self.rules.values().map(|rule| cluster.struck(*rule)).sum()
    }

    pub(crate) fn of(&self, fault: usize, cluster: &FakeCluster) -> u64 {
        let changed = self.changed.get(&fault).map(Changed::times);
        let by_rule = || self.rule(fault).map(|rule| cluster.struck(rule));
        changed.or_else(by_rule).or_else(|| self.counted.get(&fault).copied()).unwrap_or_default()
    }
}

//! The wires: links between the client's channels and the nodes, with latency, order, and what a network does to them.
//!
//! Bytes of one direction of a link arrive in order, cut anywhere. A node in a hole gets nothing and reaches nobody,
//! and what was under way arrives when the hole is gone, as with TCP.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ottla_core::HostPort;
use ottla_fake::{ConnId, NodeState, Output};

use crate::plan::Plan;
use crate::random::Draw;
use crate::world::{Event, World};

/// How soon after it goes on a node notices that a connection is closed.
const NOTICED: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Net {
    links: BTreeMap<u64, Link>,
    by_conn: BTreeMap<ConnId, u64>,
    next_link: u64,
    seed: u64,
    latency: (u64, u64),
    /// Nodes that nothing reaches, and until when.
    pub(crate) holes: BTreeMap<i32, Instant>,
    pub(crate) slow: BTreeMap<i32, Duration>,
    /// How many packets of each node met one of these.
    pub(crate) held_up: BTreeMap<i32, u64>,
    pub(crate) slowed: BTreeMap<i32, u64>,
}

/// One socket, from the client's dial to both ends being closed.
#[derive(Debug)]
struct Link {
    channel: u64,
    address: HostPort,
    node: Option<i32>,
    conn: Option<ConnId>,
    draw: Draw,
    /// When the last packet of each direction arrives.
    up: Instant,
    down: Instant,
    /// The client's end is open.
    is_open: bool,
}

impl Net {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            links: BTreeMap::new(),
            by_conn: BTreeMap::new(),
            next_link: 0,
            seed: plan.seed,
            latency: plan.latency,
            holes: BTreeMap::new(),
            slow: BTreeMap::new(),
            held_up: BTreeMap::new(),
            slowed: BTreeMap::new(),
        }
    }

    /// The links to a node whose ends are both open.
    pub(crate) fn links_to(&self, node: i32) -> Vec<u64> {
        let to = |link: &&u64| self.links[*link].node == Some(node) && self.links[*link].is_open;
        self.links.keys().filter(to).copied().collect()
    }

    fn arrival(&mut self, now: Instant, link: u64, is_up: bool) -> Instant {
        let Some(it) = self.links.get_mut(&link) else { return now };
        let (low, high) = self.latency;
        let slow = it.node.and_then(|node| Some((node, *self.slow.get(&node)?)));
        if let Some((node, _)) = slow {
            *self.slowed.entry(node).or_default() += 1;
        }
        let slow = slow.map_or(Duration::ZERO, |(_, slow)| slow);
        let earliest = now + it.draw.micros(low, high) + slow;
        let last = if is_up { &mut it.up } else { &mut it.down };
        *last = (*last).max(earliest);
        *last
    }
}

impl World {
    /// The client opens a socket.
    pub(crate) fn open_link(&mut self, channel: u64, address: &HostPort) -> u64 {
        self.net.next_link += 1;
        let number = self.net.next_link;
        let node = self.node_at(address);
        let link = Link {
            channel,
            address: address.clone(),
            node,
            conn: None,
            draw: Draw::new(self.net.seed, 1_000 + number),
            up: self.now,
            down: self.now,
            is_open: true,
        };
        self.net.links.insert(number, link);
        let at = self.net.arrival(self.now, number, true);
        self.at(at, Event::Knock { link: number });
        number
    }

    fn node_at(&self, address: &HostPort) -> Option<i32> {
        if let Some(number) = address.host().strip_prefix("boot-") {
            return number.parse().ok();
        }
        let at = |node: &i32| {
            self.cluster
                .address(*node)
                .is_some_and(|(host, port)| host == address.host() && port == address.port())
        };
        self.cluster.node_ids().into_iter().find(at)
    }

    /// The client writes.
    pub(crate) fn write(&mut self, link: u64, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(it) = self.net.links.get_mut(&link) else { return };
            let len =
                if it.draw.chance(70) { rest.len() } else { it.draw.between(1, rest.len() as u64) as usize };
            let (piece, behind) = rest.split_at(len);
            let at = self.net.arrival(self.now, link, true);
            self.at(at, Event::Up { link, bytes: piece.to_vec() });
            rest = behind;
        }
    }

    /// The client closes its end; what it has written still arrives.
    pub(crate) fn close_link(&mut self, link: u64) {
        let Some(it) = self.net.links.get_mut(&link) else { return };
        if std::mem::replace(&mut it.is_open, false) {
            // A broker may notice late, and serve until then what it has received.
            let late = if it.draw.chance(40) { it.draw.millis(0, 3_000) } else { Duration::ZERO };
            let at = self.net.arrival(self.now, link, true) + late;
            self.at(at, Event::UpClose { link });
        }
    }

    /// Both ends hear that the link is gone, and what was under way is lost.
    pub(crate) fn break_link(&mut self, link: u64) {
        let Some(it) = self.net.links.remove(&link) else { return };
        if let Some(conn) = it.conn {
            self.net.by_conn.remove(&conn);
            self.cluster.handle_disconnect(self.now, conn);
        }
        if it.is_open {
            self.link_closed(it.channel, link);
        }
    }

    /// What the cluster has to send goes on its way.
    pub(crate) fn carry_outputs(&mut self) -> bool {
        let mut moved = false;
        while let Some((conn, output)) = self.cluster.poll_output() {
            moved = true;
            let Some(link) = self.net.by_conn.get(&conn).copied() else { continue };
            match output {
                Output::Bytes(mut bytes) => {
                    while !bytes.is_empty() {
                        let Some(it) = self.net.links.get_mut(&link) else { break };
                        let whole = it.draw.chance(70);
                        let len =
                            if whole { bytes.len() } else { it.draw.between(1, bytes.len() as u64) as usize };
                        let piece = bytes.split_to(len);
                        let at = self.net.arrival(self.now, link, false);
                        self.at(at, Event::Down { link, bytes: piece });
                    }
                }
                Output::Close => {
                    self.net.by_conn.remove(&conn);
                    if let Some(it) = self.net.links.get_mut(&link) {
                        it.conn = None;
                    }
                    let at = self.net.arrival(self.now, link, false);
                    self.at(at, Event::DownClose { link });
                }
            }
        }
        moved
    }

    /// A packet arrives, if nothing is in its way.
    pub(crate) fn deliver(&mut self, order: u64, event: Event) {
        let (Event::Knock { link }
        | Event::Connected { link }
        | Event::Refused { link }
        | Event::Up { link, .. }
        | Event::UpClose { link }
        | Event::Down { link, .. }
        | Event::DownClose { link }) = &event
        else {
            return;
        };
        let link = *link;
        let Some(it) = self.net.links.get(&link) else { return };
        let hole = it.node.and_then(|node| Some((node, *self.net.holes.get(&node)?)));
        if let Some((node, until)) = hole.filter(|(_, until)| *until > self.now) {
            *self.net.held_up.entry(node).or_default() += 1;
            return self.postpone(until, order, event);
        }
        let is_paused = it.node.is_some_and(|node| self.cluster.node_state(node) == Some(NodeState::Paused));
        if is_paused && matches!(event, Event::UpClose { .. }) {
            // It finds what it was sent before when it goes on.
            return self.postpone(self.now + NOTICED, order, event);
        }
        let channel = it.channel;
        let is_open = it.is_open;
        match event {
            Event::Knock { .. } => self.knock(link),
            Event::Connected { .. } if is_open => self.link_connected(channel, link),
            Event::Refused { .. } => {
                self.net.links.remove(&link);
                if is_open {
                    self.link_refused(channel, link);
                }
            }
            Event::Up { bytes, .. } => {
                if let Some(conn) = it.conn {
                    self.cluster.handle(self.now, conn, &bytes);
                }
            }
            Event::UpClose { .. } => {
                if let Some(conn) = self.net.links.remove(&link).and_then(|it| it.conn) {
                    self.net.by_conn.remove(&conn);
                    self.cluster.handle_disconnect(self.now, conn);
                }
            }
            Event::Down { bytes, .. } if is_open => self.link_bytes(channel, link, &bytes),
            Event::DownClose { .. } => {
                self.net.links.remove(&link);
                if is_open {
                    self.link_closed(channel, link);
                }
            }
            _ => {}
        }
    }

    /// Whoever listens at the address answers; nobody may be there any more.
    fn knock(&mut self, link: u64) {
        let Some(address) = self.net.links.get(&link).map(|it| it.address.clone()) else { return };
        let node = self.node_at(&address);
        let conn = node.and_then(|node| self.cluster.connect(self.now, node));
        if let Some(it) = self.net.links.get_mut(&link) {
            it.conn = conn;
        }
        self.net.by_conn.extend(conn.map(|conn| (conn, link)));
        let at = self.net.arrival(self.now, link, false);
        let event = if conn.is_some() { Event::Connected { link } } else { Event::Refused { link } };
        self.at(at, event);
    }
}

//! The connection machine against a peer made of bytes.

use super::*;
use crate::HostPort;
use ottla_wire::messages::api_versions::ApiVersion;
use ottla_wire::messages::metadata::{MetadataRequest, MetadataResponse};
use ottla_wire::messages::produce::ProduceRequest;
use ottla_wire::{RequestHeader, encode_response};

const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(3600);

/// A connection and the peer's end of it.
struct Rig {
    now: Instant,
    connection: Connection<u32, &'static str>,
}

impl Rig {
    fn dialling() -> Self {
        let now = Instant::now();
        let peer = Arc::new(Peer { broker_id: Some(1), address: HostPort::new("broker", 9092) });
        Self { now, connection: Connection::new(now, peer, Arc::default(), now + CONNECT) }
    }

    fn connected() -> Self {
        let mut rig = Self::dialling();
        rig.connection.handle_connected(rig.now);
        rig
    }

    fn ready() -> Self {
        let mut rig = Self::connected();
        let [asked] = &rig.sent()[..] else { panic!("one ApiVersions request") };
        rig.answer::<ApiVersionsRequest>(asked, asked.version, &offer(0..=13));
        assert!(rig.connection.versions().is_some());
        rig
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.connection.handle_timeout(self.now);
    }

    fn send(&mut self, token: u32, timeout: Duration) {
        self.send_request(token, timeout, Duration::ZERO, MetadataRequest::default());
    }

    fn send_request(
        &mut self,
        token: u32,
        timeout: Duration,
        own_wait: Duration,
        request: impl AnyRequest + 'static,
    ) {
        let outgoing = Outgoing {
            request: Box::new(request),
            deadline: self.now + timeout,
            own_wait,
            expects_answer: true,
        };
        self.connection.send(self.now, outgoing, token, None);
    }

    /// With something that is held until the broker is done.
    fn send_holding(&mut self, token: u32, timeout: Duration, held: &'static str) {
        let outgoing = Outgoing {
            request: Box::new(MetadataRequest::default()),
            deadline: self.now + timeout,
            own_wait: Duration::ZERO,
            expects_answer: true,
        };
        self.connection.send(self.now, outgoing, token, Some(held));
    }

    fn send_silent(&mut self, token: u32) {
        self.send_silent_for(token, LONG);
    }

    fn send_silent_for(&mut self, token: u32, timeout: Duration) {
        let request = Box::new(ProduceRequest { acks: 0, ..Default::default() });
        let outgoing = Outgoing {
            request,
            deadline: self.now + timeout,
            own_wait: Duration::ZERO,
            expects_answer: false,
        };
        self.connection.send(self.now, outgoing, token, None);
    }

    /// What reached the peer since it was last looked at.
    fn sent(&mut self) -> Vec<RequestHeader> {
        let bytes = self.connection.poll_transmit(self.now).collect::<Vec<_>>().concat();
        self.connection.handle_transmitted(self.now);
        headers(&bytes)
    }

    fn answer<R: Request>(&mut self, to: &RequestHeader, version: i16, response: &R::Response) {
        let frame = encode_response::<R>(response, version, to.correlation_id).unwrap().into_bytes();
        self.connection.handle_bytes(self.now, &mut BytesMut::from(&frame[..]));
    }

    fn answer_metadata(&mut self, to: &RequestHeader) {
        self.answer::<MetadataRequest>(to, to.version, &MetadataResponse::default());
    }

    /// Events since they were last looked at, in short: `+1` answered, `>1` written, `-1 reason` failed,
    /// `done lane`, `late`.
    fn events(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(event) = self.connection.poll_event() {
            events.push(match event {
                Event::Answer { token, .. } => format!("+{token}"),
                Event::Sent { token } => format!(">{token}"),
                Event::Failed { token, error } => {
                    let outcome = if error.outcome == Outcome::NotSent { "not sent" } else { "unknown" };
                    format!("-{token} {outcome}")
                }
                Event::Done { held } => format!("done {held}"),
                Event::Overdue => "late".to_owned(),
            });
        }
        events
    }
}

fn headers(bytes: &[u8]) -> Vec<RequestHeader> {
    let mut buffer = BytesMut::from(bytes);
    let mut headers = Vec::new();
    while let Some(frame) = next_frame(&mut buffer, usize::MAX >> 1).unwrap() {
        headers.push(ottla_wire::decode_request_header(&frame).unwrap().0);
    }
    headers
}

/// A broker that knows Produce, Metadata and ApiVersions in these versions.
fn offer(versions: std::ops::RangeInclusive<i16>) -> ApiVersionsResponse {
    let api = |api_key| ApiVersion {
        api_key,
        min_version: *versions.start(),
        max_version: *versions.end(),
        ..Default::default()
    };
    ApiVersionsResponse { api_keys: vec![api(0), api(3), api(18), api(22)], ..Default::default() }
}

/// A version that Kafka calls unstable is spoken by those who ask for it, and only if the broker offers it.
#[test]
fn an_unstable_version_is_negotiated_only_when_asked_for() {
    use ottla_wire::messages::init_producer_id::InitProducerIdRequest;
    for (unstable_versions, offered, spoken) in [(false, 6, 5), (true, 6, 6), (true, 5, 5), (true, 13, 6)] {
        let mut rig = Rig::dialling();
        let settings = ConnectionSettings { unstable_versions, ..Default::default() };
        let peer = rig.connection.peer().clone();
        rig.connection = Connection::new(rig.now, peer, settings.into(), rig.now + CONNECT);
        rig.connection.handle_connected(rig.now);
        let [asked] = &rig.sent()[..] else { panic!("one ApiVersions request") };
        rig.answer::<ApiVersionsRequest>(asked, 4, &offer(0..=offered));
        rig.send_request(1, TIMEOUT, Duration::ZERO, InitProducerIdRequest::default());
        let [asked] = &rig.sent()[..] else { panic!("the request") };
        assert_eq!(asked.version, spoken, "{unstable_versions}, offered up to {offered}");
    }
}

#[test]
fn requests_sent_while_dialling_leave_once_the_versions_are_known() {
    let mut rig = Rig::dialling();
    rig.send(1, TIMEOUT);
    assert!(rig.sent().is_empty());
    rig.connection.handle_connected(rig.now);
    let [asked] = &rig.sent()[..] else { panic!("only ApiVersions goes out") };
    assert_eq!((asked.key, asked.version), (ApiKey::API_VERSIONS, 4));
    rig.answer::<ApiVersionsRequest>(asked, 4, &offer(0..=9));
    let [asked] = &rig.sent()[..] else { panic!("now the request") };
    assert_eq!((asked.key, asked.version), (ApiKey::METADATA, 9));
    rig.answer_metadata(asked);
    assert_eq!(rig.events(), ["+1"]);
}

/// Trap W9: a broker that does not know the version answers in version 0 with UNSUPPORTED_VERSION, listing perhaps
/// only ApiVersions.
#[test]
fn an_older_broker_is_asked_again_in_its_own_version() {
    let mut rig = Rig::connected();
    let first = rig.sent().remove(0);
    let only = ApiVersion { api_key: 18, min_version: 0, max_version: 3, ..Default::default() };
    let refusal = ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        api_keys: vec![only],
        ..Default::default()
    };
    rig.answer::<ApiVersionsRequest>(&first, 0, &refusal);
    let second = rig.sent().remove(0);
    assert_eq!(second.version, 3);
    rig.answer::<ApiVersionsRequest>(&second, 3, &offer(0..=5));
    assert!(rig.connection.versions().is_some());
}

/// C2, Trap W9: librdkafka's mock cluster refuses in a form that no version has; it is asked again in version 0.
#[test]
fn a_refusal_that_cannot_be_read_is_still_one() {
    let mut rig = Rig::connected();
    let first = rig.sent().remove(0);
    let mut refusal = first.correlation_id.to_be_bytes().to_vec();
    refusal.extend(ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes());
    refusal.extend([1, 0, 18, 0, 0, 0, 2, 0, 0, 0, 0]);
    let mut frame = BytesMut::from(&(refusal.len() as u32).to_be_bytes()[..]);
    frame.extend_from_slice(&refusal);
    rig.connection.handle_bytes(rig.now, &mut frame);
    let second = rig.sent().remove(0);
    assert_eq!(second.version, 0);
    rig.answer::<ApiVersionsRequest>(&second, 0, &offer(0..=2));
    assert!(rig.connection.versions().is_some());
}

/// C2: librdkafka's mock cluster ends Metadata with a byte too many. What comes before it counts.
#[test]
fn bytes_behind_an_answer_are_passed_over() {
    let cluster_id = Some("mock".into());
    let response = MetadataResponse { cluster_id, ..Default::default() };
    let encoded = encode_response::<MetadataRequest>(&response, 9, 1).unwrap().into_bytes();
    let payload: Bytes = [&encoded[4..], &[0]].concat().into();
    let (peer, memory) = (Rig::dialling().connection.peer().clone(), payload.len());
    let answer = Answer { peer, version: 9, payload, memory };
    assert_eq!(answer.decode::<MetadataRequest>(), Ok(response));
}

/// Trap W9: the tries go strictly down and end.
#[test]
fn negotiation_that_is_always_refused_ends() {
    let mut rig = Rig::connected();
    rig.send(1, TIMEOUT);
    let refusal = ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION, ..Default::default() };
    let first = rig.sent().remove(0);
    rig.answer::<ApiVersionsRequest>(&first, 0, &refusal);
    let second = rig.sent().remove(0);
    assert_eq!(second.version, 0, "nothing is offered, so the lowest is tried");
    rig.answer::<ApiVersionsRequest>(&second, 0, &refusal);
    assert_eq!(rig.events(), ["-1 not sent"]);
    assert!(matches!(rig.connection.closed(), Some(CloseReason::Protocol(_))));
}

/// Trap W9: some brokers cut the connection instead of answering.
#[test]
fn a_connection_cut_during_negotiation_is_dialled_again_for_a_lower_version() {
    let mut rig = Rig::connected();
    rig.send(1, TIMEOUT);
    let mut versions = Vec::new();
    loop {
        versions.push(rig.sent()[0].version);
        if !rig.connection.handle_closed(CloseReason::ByPeer) {
            break;
        }
        rig.connection.handle_connected(rig.now);
    }
    assert_eq!(versions, NEGOTIATION_LADDER);
    assert_eq!(rig.events(), ["-1 not sent"]);
}

/// Trap N1, D7: answers belong to requests in order, and the correlation id is checked.
#[test]
fn an_answer_out_of_order_ends_the_connection() {
    let mut rig = Rig::ready();
    rig.send(1, TIMEOUT);
    rig.send(2, TIMEOUT);
    let asked = rig.sent();
    assert_eq!(asked.len(), 2, "both are under way at once");
    rig.answer_metadata(&asked[1]);
    assert_eq!(rig.events(), ["-1 unknown", "-2 unknown"]);
    assert!(rig.connection.closed().unwrap().to_string().contains("correlation id"));
}

/// D6: Kafka has no server push.
#[test]
fn an_answer_nobody_asked_for_ends_the_connection() {
    let mut rig = Rig::ready();
    rig.connection.handle_bytes(rig.now, &mut BytesMut::from(&[0, 0, 0, 4, 0, 0, 0, 77][..]));
    assert!(rig.connection.closed().unwrap().to_string().contains("nobody made"));
}

/// Trap N1: an answer that is too long to be read is that of the first request that is owed one. The others can be asked again.
#[test]
fn an_answer_that_is_too_long_is_told_to_the_request_it_is_for() {
    for is_first_gone in [false, true] {
        let mut rig = Rig::ready();
        rig.send(1, if is_first_gone { Duration::from_secs(1) } else { TIMEOUT });
        rig.send(2, TIMEOUT);
        rig.sent();
        rig.send(3, TIMEOUT);
        if is_first_gone {
            rig.wait(Duration::from_secs(1));
            assert_eq!(rig.events(), ["-1 unknown"]);
        }
        rig.connection.handle_bytes(rig.now, &mut BytesMut::from(&i32::MAX.to_be_bytes()[..]));
        let mut told = Vec::new();
        while let Some(event) = rig.connection.poll_event() {
            let Event::Failed { token, error } = event else { panic!("{event:?}") };
            let is_its_own = matches!(error.reason, Failure::Closed(CloseReason::TooLong { .. }));
            assert_eq!(error.reason.is_retriable(), !is_its_own, "{token}: {error}");
            told.push((token, error.outcome, is_its_own));
        }
        let of_others = [(2, Outcome::Unknown, false), (3, Outcome::NotSent, false)];
        assert_eq!(told[usize::from(!is_first_gone)..], of_others);
        assert_eq!(told[0] == (1, Outcome::Unknown, true), !is_first_gone);
        assert!(matches!(rig.connection.closed(), Some(CloseReason::TooLong { .. })));
    }
}

/// Trap N2: a waiter whose time is over is told; the connection and its neighbours are untouched, and the late
/// answer is read and dropped.
#[test]
fn a_waiter_that_times_out_leaves_its_neighbours_alone() {
    let mut rig = Rig::ready();
    rig.send(1, Duration::from_secs(1));
    rig.send(2, TIMEOUT);
    let asked = rig.sent();
    rig.wait(Duration::from_secs(1));
    assert_eq!(rig.events(), ["-1 unknown"]);
    rig.answer_metadata(&asked[0]);
    rig.answer_metadata(&asked[1]);
    assert_eq!(rig.events(), ["+2"]);
    assert!(rig.connection.closed().is_none());
}

/// Trap N4: a broker is busy with a request until it has answered, however long ago its waiter was told.
#[test]
fn what_is_held_for_a_request_comes_back_when_the_broker_is_done() {
    let mut rig = Rig::ready();
    rig.send_holding(1, Duration::from_secs(1), "lane");
    let asked = rig.sent();
    rig.wait(Duration::from_secs(1));
    assert_eq!(rig.events(), ["-1 unknown"]);
    rig.answer_metadata(&asked[0]);
    assert_eq!(rig.events(), ["done lane"]);
    rig.send_holding(2, TIMEOUT, "lane");
    let asked = rig.sent();
    rig.answer_metadata(&asked[0]);
    assert_eq!(rig.events(), ["done lane", "+2"]);
}

/// Trap N4: also when there will be no answer.
#[test]
fn what_is_held_for_a_request_comes_back_without_an_answer() {
    let mut rig = Rig::ready();
    rig.connection.throttle(rig.now, Duration::from_secs(2));
    rig.send_holding(1, Duration::from_secs(1), "lane");
    rig.wait(Duration::from_secs(1));
    assert_eq!(rig.events(), ["done lane", "-1 not sent"]);
    rig.wait(Duration::from_secs(1));
    rig.send_holding(2, Duration::from_secs(1), "lane");
    rig.sent();
    rig.wait(Duration::from_secs(1));
    rig.send_holding(3, TIMEOUT, "other");
    assert_eq!(rig.events(), ["-2 unknown"]);
    rig.connection.handle_closed(CloseReason::ByPeer);
    assert_eq!(rig.events(), ["done lane", "done other", "-3 not sent"]);
    rig.send_holding(4, TIMEOUT, "lane");
    assert_eq!(rig.events(), ["done lane", "-4 not sent"]);
}

/// Trap N3: the time-out runs from the start, also while the connection is not open yet.
#[test]
fn a_request_times_out_while_dialling() {
    let mut rig = Rig::dialling();
    rig.send(1, Duration::from_secs(2));
    assert_eq!(rig.connection.poll_timeout(), Some(rig.now + Duration::from_secs(2)));
    rig.wait(Duration::from_secs(2));
    assert_eq!(rig.events(), ["-1 not sent"]);
}

/// Trap N3: the connect time-out covers the negotiation.
#[test]
fn a_peer_that_never_negotiates_is_given_up() {
    let mut rig = Rig::connected();
    rig.send(1, TIMEOUT);
    rig.wait(CONNECT);
    assert_eq!(rig.events(), ["-1 not sent"]);
    assert!(rig.connection.closed().is_some());
}

/// Trap N5: a throttle time holds back what comes next, on the whole connection, and nothing else.
#[test]
fn a_throttled_connection_holds_the_next_request_back() {
    let mut rig = Rig::ready();
    rig.connection.throttle(rig.now, Duration::from_secs(3));
    rig.send(1, TIMEOUT);
    assert!(rig.sent().is_empty());
    assert_eq!(rig.connection.poll_timeout(), Some(rig.now + Duration::from_secs(3)));
    rig.wait(Duration::from_secs(3));
    assert_eq!(rig.sent().len(), 1);
}

/// Traps N5 and N13: a broker owes nothing while it holds the connection back, also what it had been asked before: neither
/// overdue nor dead when the pause is over.
#[test]
fn a_pause_is_no_silence() {
    for pause in [3, 40].map(Duration::from_secs) {
        let mut rig = Rig::ready();
        rig.send(1, LONG);
        rig.sent();
        rig.connection.throttle(rig.now, pause);
        rig.wait(pause);
        assert_eq!((rig.events(), rig.connection.closed()), (vec![], None));
        rig.wait(OVERDUE_AFTER);
        assert_eq!(rig.events(), ["late"]);
    }
}

/// What has not left is taken back when nobody wants it any more, and gives back what it held.
#[test]
fn a_request_that_nobody_wants_any_more_does_not_leave() {
    let mut rig = Rig::ready();
    rig.connection.throttle(rig.now, Duration::from_secs(1));
    rig.send(1, TIMEOUT);
    rig.send_holding(2, TIMEOUT, "lane");
    rig.send(3, TIMEOUT);
    rig.connection.withdraw(|token| *token != 2);
    assert_eq!(rig.events(), ["done lane"]);
    rig.wait(Duration::from_secs(1));
    assert_eq!(rig.sent().len(), 2);
}

/// Trap N9: what had not been written when the broker closed is known not to have been sent.
#[test]
fn a_request_that_had_not_left_is_known_not_to_be_sent() {
    let mut rig = Rig::ready();
    rig.send(1, TIMEOUT);
    rig.sent();
    rig.send(2, TIMEOUT);
    rig.connection.handle_closed(CloseReason::ByPeer);
    assert_eq!(rig.events(), ["-1 unknown", "-2 not sent"]);
    rig.send(3, TIMEOUT);
    assert_eq!(rig.events(), ["-3 not sent"]);
}

/// Trap N9: an unused connection ends before the broker closes it.
#[test]
fn an_unused_connection_ends() {
    let mut rig = Rig::ready();
    let idle = ConnectionSettings::default().idle_timeout;
    assert_eq!(rig.connection.poll_timeout(), Some(rig.now + idle));
    rig.wait(idle);
    assert_eq!(rig.connection.closed(), Some(&CloseReason::Idle));
}

/// Trap N10: a broker that answers a request with acks=0 does not confuse the queue.
#[test]
fn an_answer_to_a_silent_request_is_passed_over() {
    let mut rig = Rig::ready();
    for answered in [false, true] {
        rig.send_silent(1);
        rig.send(2, TIMEOUT);
        let asked = rig.sent();
        assert_eq!(rig.events(), [">1"]);
        if answered {
            rig.answer::<ProduceRequest>(&asked[0], asked[0].version, &Default::default());
        }
        rig.answer_metadata(&asked[1]);
        assert_eq!(rig.events(), ["+2"]);
    }
}

/// Trap N10: also when the answer comes before the socket has said that all was written.
#[test]
fn a_silent_request_that_is_answered_before_it_was_flushed_was_sent() {
    for answered in [0, 1] {
        let mut rig = Rig::ready();
        rig.send_silent(1);
        rig.send(2, TIMEOUT);
        let asked = headers(&rig.connection.poll_transmit(rig.now).collect::<Vec<_>>().concat());
        rig.answer_metadata(&asked[answered]);
        let told: &[&str] = if answered == 0 { &[">1"] } else { &[">1", "+2"] };
        assert_eq!(rig.events(), told);
    }
}

/// Trap N10: a peer that does not read takes in no request, and is given up.
#[test]
fn a_silent_request_that_does_not_leave_ends_in_time() {
    let mut rig = Rig::ready();
    rig.send_silent(1);
    rig.connection.poll_transmit(rig.now);
    rig.wait(OVERDUE_AFTER);
    assert_eq!(rig.events(), ["late"]);
    rig.wait(TIMEOUT - OVERDUE_AFTER);
    assert_eq!(rig.events(), ["-1 unknown"]);
    assert!(matches!(rig.connection.closed(), Some(CloseReason::Silent(_))));
    let mut rig = Rig::ready();
    rig.send_silent_for(2, Duration::from_secs(1));
    rig.connection.poll_transmit(rig.now);
    rig.wait(Duration::from_secs(1));
    assert_eq!(rig.events(), ["-2 unknown"], "its own time-out covers the writing too");
    rig.wait(TIMEOUT);
    assert!(matches!(rig.connection.closed(), Some(CloseReason::Silent(_))));
}

/// Trap N10: what is remembered of unanswered requests is bounded.
#[test]
fn silent_requests_do_not_pile_up() {
    let mut rig = Rig::ready();
    for token in 0..1_000 {
        rig.send_silent(token);
        rig.sent();
    }
    assert!(rig.connection.load() <= SILENT_REMEMBERED);
    rig.wait(LONG);
    assert_eq!(rig.connection.closed(), Some(&CloseReason::Idle), "nobody owes an answer");
}

/// Trap N13: a silent peer is noticed by the age of the oldest request, long before the request time-out, and is
/// given up at the request time-out.
#[test]
fn a_silent_peer_is_reported_and_then_given_up() {
    let mut rig = Rig::ready();
    rig.send(1, LONG);
    rig.sent();
    rig.wait(OVERDUE_AFTER - Duration::from_millis(1));
    assert!(rig.events().is_empty());
    rig.wait(Duration::from_millis(1));
    assert_eq!(rig.events(), ["late"]);
    rig.wait(OVERDUE_AGAIN - Duration::from_millis(1));
    assert!(rig.events().is_empty());
    rig.wait(Duration::from_millis(1));
    assert_eq!(rig.events(), ["late"], "it is said again while the silence lasts");
    rig.wait(TIMEOUT);
    assert_eq!(rig.events(), ["-1 unknown"]);
    assert!(matches!(rig.connection.closed(), Some(CloseReason::Silent(_))));
}

/// Trap N13: a request's own wait is not silence.
#[test]
fn a_long_poll_is_not_overdue_while_it_may_wait() {
    let mut rig = Rig::ready();
    rig.send_request(1, LONG, Duration::from_secs(60), MetadataRequest::default());
    rig.sent();
    rig.wait(Duration::from_secs(61));
    assert!(rig.events().is_empty());
    rig.wait(Duration::from_secs(1));
    assert_eq!(rig.events(), ["late"]);
}

/// Trap N13: a paused broker lets nobody in either. Who waits for that is told just as early.
#[test]
fn a_peer_that_does_not_let_in_is_reported() {
    for connected in [false, true] {
        let mut rig = if connected { Rig::connected() } else { Rig::dialling() };
        rig.sent();
        rig.wait(Duration::from_secs(1));
        assert!(rig.events().is_empty());
        rig.send_request(1, LONG, Duration::from_secs(60), MetadataRequest::default());
        rig.wait(OVERDUE_AFTER - Duration::from_millis(1));
        assert!(rig.events().is_empty());
        assert_eq!(rig.connection.poll_timeout(), Some(rig.now + Duration::from_millis(1)));
        rig.wait(Duration::from_millis(1));
        assert_eq!(rig.events(), ["late"]);
    }
}

/// A pipelined request is served when the one before it has been answered: its age counts from then.
#[test]
fn a_request_behind_a_slow_one_is_not_overdue_at_once() {
    let mut rig = Rig::ready();
    rig.send_request(1, LONG, Duration::from_secs(60), MetadataRequest::default());
    rig.send(2, LONG);
    let asked = rig.sent();
    rig.wait(Duration::from_secs(50));
    rig.answer_metadata(&asked[0]);
    rig.wait(Duration::from_secs(1));
    assert_eq!(rig.events(), ["+1"]);
}

#[test]
fn a_released_connection_reads_out_what_it_is_owed() {
    let mut rig = Rig::ready();
    rig.send(1, TIMEOUT);
    let asked = rig.sent();
    rig.connection.release(rig.now);
    assert!(rig.sent().is_empty() && rig.connection.closed().is_none());
    rig.answer_metadata(&asked[0]);
    rig.sent();
    assert_eq!(rig.events(), ["+1"]);
    assert_eq!(rig.connection.closed(), Some(&CloseReason::Released));
}

#[test]
fn a_released_connection_does_not_wait_for_ever() {
    let mut rig = Rig::ready();
    rig.send(1, LONG);
    rig.sent();
    rig.connection.release(rig.now);
    rig.wait(READ_OUT);
    assert_eq!(rig.connection.closed(), Some(&CloseReason::Released));
    assert_eq!(rig.events().last().unwrap(), "-1 unknown");
}

/// D8: no common version is an error of the request, not of the connection.
#[test]
fn a_request_without_a_common_version_fails_alone() {
    let mut rig = Rig::connected();
    let asked = rig.sent().remove(0);
    rig.answer::<ApiVersionsRequest>(&asked, asked.version, &offer(40..=41));
    rig.send(1, TIMEOUT);
    rig.sent();
    assert_eq!(rig.events(), ["-1 not sent"]);
    assert!(rig.connection.closed().is_none());
}

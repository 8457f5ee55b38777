use proptest::prelude::*;

use super::*;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

fn frames(policy: Option<PingPolicy>) -> (Frames, Arc<Activity>) {
    let activity = Activity::new();
    let rules = Rules {
        header_block_max: 1000,
        pings: policy,
    };
    let mut frames = Frames::new(rules, Arc::clone(&activity));
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    frames.received(preface, Instant::now()).unwrap();
    (frames, activity)
}

fn policy(permit_without_stream: bool) -> PingPolicy {
    PingPolicy {
        min_time: Duration::from_secs(10),
        permit_without_stream,
    }
}

/// Sends pings this many seconds apart; how many were taken before the connection ends.
fn pings(frames: &mut Frames, apart: &[u64]) -> Result<(), usize> {
    let mut now = Instant::now();
    for (index, seconds) in apart.iter().enumerate() {
        now += Duration::from_secs(*seconds);
        let ping = frame(PING, 0, 0, &[0; 8]);
        if frames.received(&ping, now).is_err() {
            return Err(index);
        }
    }
    Ok(())
}

// Scenario: pings in and out of turn, with and without a request.
// Guarantees: the third one out of turn ends the connection, as with every gRPC server.
#[test]
fn the_third_ping_out_of_turn_is_too_many() {
    let (mut quiet, _) = frames(Some(policy(true)));
    assert_eq!(pings(&mut quiet, &[0, 10, 10, 10, 11, 30, 10]), Ok(()));
    let (mut eager, _) = frames(Some(policy(true)));
    assert_eq!(pings(&mut eager, &[0, 9, 10, 9, 9]), Err(4));
    let (mut idle, _) = frames(Some(policy(false)));
    assert_eq!(pings(&mut idle, &[0, 60, 7199, 7200, 60]), Err(4));
    let (mut busy, activity) = frames(Some(policy(false)));
    let request = activity.begin_request();
    assert_eq!(pings(&mut busy, &[0, 10, 10, 10, 10, 10]), Ok(()));
    drop(request);
    assert_eq!(pings(&mut busy, &[10, 10, 10]), Err(2));
    let (mut unlimited, _) = frames(None);
    assert_eq!(pings(&mut unlimited, &[0; 1000]), Ok(()));
}

// Scenario: pings by the dozen between requests that are answered, as a client sends them that
// measures the bandwidth.
// Guarantees: an answer in between forgives what was before it.
#[test]
fn an_answer_forgives_earlier_pings() {
    let (mut frames, activity) = frames(Some(policy(false)));
    for _ in 0..20 {
        assert_eq!(pings(&mut frames, &[0, 0]), Ok(()));
        activity.answered();
    }
    assert_eq!(pings(&mut frames, &[0, 0, 0, 0, 0]), Err(3));
}

// Scenario: a request arrives in the same read as a ping, before anybody has seen it.
// Guarantees: the connection does not count as idle.
#[test]
fn a_request_that_just_began_counts() {
    let (mut frames, _) = frames(Some(policy(false)));
    let mut now = Instant::now();
    for stream in [1, 3, 5, 7, 9] {
        now += Duration::from_secs(11);
        let mut bytes = frame(HEADERS, 4, stream, &[0x82]);
        bytes.extend_from_slice(&frame(PING, 0, 0, &[0; 8]));
        frames.received(&bytes, now).unwrap();
    }
    assert_eq!(frames.goaway(Abuse::TooManyPings)[9..13], [0, 0, 0, 9]);
}

// Scenario: answers to our own pings, pings within the payload of DATA.
// Guarantees: neither counts.
#[test]
fn only_the_pings_of_the_client_count() {
    let (mut frames, _) = frames(Some(policy(false)));
    let ping = frame(PING, 0, 0, &[0; 8]);
    for _ in 0..10 {
        let acknowledged = frame(PING, ACK, 0, &[0; 8]);
        frames.received(&acknowledged, Instant::now()).unwrap();
        let data = frame(0, 0, 1, &ping.repeat(20));
        frames.received(&data, Instant::now()).unwrap();
    }
}

// Scenario: a header block in one frame, and in many.
// Guarantees: its length is added up, and begins anew with the next one.
#[test]
fn header_blocks_are_added_up() {
    let (mut frames, _) = frames(None);
    let now = Instant::now();
    for stream in [1, 3, 5] {
        let headers = frame(HEADERS, 0, stream, &[0; 600]);
        frames.received(&headers, now).unwrap();
        let more = frame(CONTINUATION, 4, stream, &[0; 400]);
        frames.received(&more, now).unwrap();
    }
    let more = frame(CONTINUATION, 4, 5, &[0]);
    assert_eq!(frames.received(&more, now), Err(Abuse::HeadersTooLarge));
}

proptest! {
    // Scenario: any frames, cut into any reads.
    // Guarantees: every head is found, whatever the reads, and the end of the frame being sent
    // is known at every byte.
    #[test]
    fn frames_are_followed_across_reads(
        lengths in proptest::collection::vec(0_usize..300, 1..20),
        step in 1_usize..50,
    ) {
        let mut bytes = Vec::new();
        for (kind, length) in (0..).zip(&lengths) {
            bytes.extend_from_slice(&frame(kind, kind, u32::from(kind), &vec![6; *length]));
        }
        let mut cursor = Cursor::after(0);
        let mut found = Vec::new();
        for mut piece in bytes.chunks(step) {
            while let Some(head) = cursor.next_head(&mut piece) {
                found.push((head.kind, head.length));
            }
        }
        let expected: Vec<_> = (0..).zip(lengths).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(cursor.left(), 0);
        let mut cursor = Cursor::after(0);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let count = cursor.left().max(1).min(rest.len());
            let (mut piece, more) = rest.split_at(count);
            while cursor.next_head(&mut piece).is_some() {}
            rest = more;
        }
        prop_assert_eq!(cursor.left(), 0);
    }
}

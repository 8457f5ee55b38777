use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

fn block_on<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(future)
}

/// What comes out of a guard when `bytes` arrive in reads of at most `step`.
fn guarded(bytes: &[u8], step: usize, first: usize) -> Vec<u8> {
    block_on(async {
        let (mut client, server) = tokio::io::duplex(step);
        let (first, rest) = bytes.split_at(first.min(bytes.len()));
        let activity = Activity::new();
        let protocol = Protocol::Http1 { head_max: 4096 };
        let mut guard = Guard::new(server, BytesMut::from(first), activity, protocol);
        let mut out = Vec::new();
        let send = async {
            client.write_all(rest).await.unwrap();
            drop(client);
        };
        let (_, read) = tokio::join!(send, guard.read_to_end(&mut out));
        read.unwrap();
        out
    })
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let plain = proptest::collection::vec(any::<u8>(), 0..200).prop_map(|body| {
        let head = format!("POST /a HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), &body].concat()
    });
    let chunked = proptest::collection::vec(1_usize..50, 0..4).prop_map(|sizes| {
        let mut request = b"POST /b HTTP/1.1\nTransfer-Encoding: chunked\n\n".to_vec();
        for size in sizes {
            request.extend_from_slice(format!("{size:x}\r\n").as_bytes());
            request.extend(std::iter::repeat_n(b'\n', size));
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\nx: y\r\n\r\n");
        request
    });
    let bare = Just(b"\r\nGET / HTTP/1.0\r\n\r\n".to_vec());
    prop_oneof![plain, chunked, bare]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // Scenario: any sequence of sound requests, cut into any reads.
    // Guarantees: every byte passes unchanged.
    #[test]
    fn sound_requests_pass_unchanged(
        requests in proptest::collection::vec(request(), 0..6),
        step in 1_usize..400,
        first in 0_usize..30,
    ) {
        let bytes = requests.concat();
        prop_assert_eq!(guarded(&bytes, step, first), bytes);
    }

    // Scenario: a head that is refused behind sound requests, cut into any reads.
    // Guarantees: what stands in for it names the reason and the type, whatever the reads.
    #[test]
    fn a_refused_head_is_replaced_whatever_the_reads(
        requests in proptest::collection::vec(request(), 0..3),
        step in 1_usize..400,
        first in 0_usize..30,
    ) {
        let sound = requests.concat();
        let bad = b"POST / HTTP/1.1\r\nContent-Type: application/x-protobuf\r\na b: c\r\n\r\n";
        let out = block_on(async {
            let bytes = [&sound[..], bad].concat();
            let (mut client, server) = tokio::io::duplex(step);
            let (first, rest) = bytes.split_at(first.min(bytes.len()));
            let protocol = Protocol::Http1 { head_max: 4096 };
            let mut guard =
                Guard::new(server, BytesMut::from(first), Activity::new(), protocol);
            let mut out = Vec::new();
            let receive = async {
                while !out.ends_with(b"content-length: 0\r\n\r\n") {
                    assert!(guard.read_buf(&mut out).await.unwrap() > 0);
                }
            };
            let (sent, ()) = tokio::join!(client.write_all(rest), receive);
            sent.unwrap();
            out
        });
        let stand_in = "POST / HTTP/1.1\r\n\
            pulse-refused-head: not a valid HTTP/1.1 request: invalid header name\r\n\
            content-type: application/x-protobuf\r\n\
            connection: close\r\ncontent-length: 0\r\n\r\n";
        prop_assert_eq!(out, [&sound[..], stand_in.as_bytes()].concat());
    }
}

/// Bytes of frames with these payload lengths, of a kind that nobody looks for.
fn frames(lengths: &[usize]) -> Vec<u8> {
    let frames = lengths.iter().map(|length| {
        let [.., a, b, c] = length.to_be_bytes();
        let mut frame = vec![a, b, c, 0, 0, 0, 0, 0, 1];
        frame.resize(9 + length, 7);
        frame
    });
    frames.collect::<Vec<_>>().concat()
}

// Scenario: a client breaks the rules while we are within a frame that it is slow to take.
// Guarantees: it gets the whole frame, then GOAWAY with the reason, then the end; nothing that was
// to be sent after it; and the connection fails for who reads from it.
#[test]
fn a_connection_is_ended_between_two_frames() {
    block_on(async {
        let (mut client, server) = tokio::io::duplex(64);
        let rules = Rules {
            header_block_max: 10,
            pings: None,
        };
        let protocol = Protocol::Http2(rules);
        let mut guard = Guard::new(server, BytesMut::new(), Activity::new(), protocol);
        let ours = frames(&[100, 0]);
        let (begun, rest) = ours.split_at(64);
        guard.write_all(begun).await.unwrap();
        let mut abuse = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        abuse.extend_from_slice(&[0, 0, 11, 1, 0, 0, 0, 0, 9]);
        client.write_all(&abuse).await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(guard);
        let mut answer = Vec::new();
        let mut scratch = [0; 100];
        let last_frame = rest.len() - 9;
        let write = async {
            // As h2 does: what is left of one frame, and the next, in one go.
            writer.write_all(rest).await.unwrap();
        };
        let (ended, (), read) = tokio::join!(reader.read(&mut scratch), write, async {
            let read = client.read_to_end(&mut answer).await;
            drop(client);
            read
        });
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        read.unwrap();
        let expected = ours.split_at(begun.len() + last_frame).0;
        let (frames, goaway) = answer.split_at(expected.len());
        assert_eq!(frames, expected);
        let (head, text) = goaway.split_at(17);
        assert_eq!(head, [0, 0, 29, 7, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 11]);
        assert_eq!(text, b"header list too large");
    });
}

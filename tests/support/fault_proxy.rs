//! A TCP proxy that does to connections what networks do: refuses, freezes, delays and cuts them.

#![allow(
    dead_code,
    reason = "shared by several test binaries, each of which needs a part of it"
)]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a quiet connection looks whether something was ordered meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long a port that was just given up may take to be had again.
const LISTEN_WITHIN: Duration = Duration::from_secs(10);

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

/// A proxy in front of one address. Everything ordered holds for the connections that are open and
/// for those to come, but for the cuts, which happen once.
#[derive(Debug)]
pub(crate) struct FaultProxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    ended: bool,
    refusing: bool,
    listening: bool,
    frozen: bool,
    delay: Duration,
    /// Bytes that still may pass before everything is cut.
    allowance: Option<(Direction, u64)>,
    /// A text of the client after whose delivery the server's answer is thrown away with the
    /// connection.
    swallow_answer_to: Option<Vec<u8>>,
    /// A text of the client that is thrown away with the connection.
    cut_before: Option<Vec<u8>>,
    connections: Vec<Arc<Pair>>,
    accepted: u64,
}

/// A connection of the client's and the one to the server that stands for it.
#[derive(Debug)]
struct Pair {
    client: TcpStream,
    server: TcpStream,
    /// Set when the next bytes of the server are to be thrown away.
    swallowing: Mutex<bool>,
}

impl Pair {
    /// Ends both as a lost network does: with a reset, not with an orderly end.
    fn cut(&self) {
        for stream in [&self.client, &self.server] {
            socket2::SockRef::from(stream)
                .set_linger(Some(Duration::ZERO))
                .ok();
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

impl FaultProxy {
    /// Forwards to an address until told otherwise.
    pub(crate) fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State {
            listening: true,
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || accept(listener, address, target, &shared));
        Self { address, state }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.state().accepted
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.state().connections.len()
    }

    /// Refuses new connections, as a host without a listener does. Open ones are not touched.
    pub(crate) fn refuse(&self) {
        self.state().refusing = true;
        self.await_listening(false);
    }

    fn await_listening(&self, wanted: bool) {
        let deadline = Instant::now() + LISTEN_WITHIN;
        while self.state().listening != wanted {
            assert!(Instant::now() < deadline, "the proxy has lost its port");
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Stops reading from both sides: connections stay open and nothing gets through.
    pub(crate) fn freeze(&self) {
        self.state().frozen = true;
    }

    /// Lets every part of an answer and of a question wait this long.
    pub(crate) fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// Cuts all connections that are open.
    pub(crate) fn cut(&self) {
        for pair in self.state().connections.drain(..) {
            pair.cut();
        }
    }

    /// Lets this many more bytes pass, on all connections together, and cuts them all then.
    pub(crate) fn cut_after(&self, direction: Direction, bytes: u64) {
        self.state().allowance = Some((direction, bytes));
    }

    /// Delivers the next message of a client that holds this text, waits for the server's answer,
    /// and cuts the connection in place of answering. The client can't know what happened.
    pub(crate) fn swallow_answer_to(&self, text: &str) {
        self.state().swallow_answer_to = Some(text.as_bytes().to_vec());
    }

    /// Cuts the connection of the next message of a client that holds this text, in place of
    /// delivering it.
    pub(crate) fn cut_before(&self, text: &str) {
        self.state().cut_before = Some(text.as_bytes().to_vec());
    }

    /// Whether the message before which to cut has come.
    pub(crate) fn has_cut(&self) -> bool {
        self.state().cut_before.is_none()
    }

    /// Whether the answer that was to be swallowed has been asked for.
    pub(crate) fn has_swallowed(&self) -> bool {
        self.state().swallow_answer_to.is_none()
    }

    /// Forwards again.
    pub(crate) fn heal(&self) {
        let mut state = self.state();
        state.refusing = false;
        state.frozen = false;
        state.delay = Duration::ZERO;
        state.allowance = None;
        state.swallow_answer_to = None;
        state.cut_before = None;
        drop(state);
        self.await_listening(true);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        let mut state = self.state();
        state.ended = true;
        state.frozen = false;
        for pair in state.connections.drain(..) {
            pair.cut();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(
    listener: TcpListener,
    address: SocketAddr,
    target: SocketAddr,
    shared: &Arc<Mutex<State>>,
) {
    let mut listener = Some(listener);
    loop {
        let (ended, refusing) = {
            let state = lock(shared);
            (state.ended, state.refusing)
        };
        if ended {
            return;
        }
        if refusing {
            listener = None;
        } else if listener.is_none() {
            // Somebody else may hold the port for a moment.
            listener = TcpListener::bind(address).ok();
        }
        lock(shared).listening = listener.is_some();
        let accepted = listener.as_ref().and_then(|listener| {
            listener.set_nonblocking(true).ok()?;
            listener.accept().ok()
        });
        match accepted {
            Some((client, _)) => forward(client, target, shared),
            None => std::thread::sleep(LOOK_EVERY),
        }
    }
}

fn forward(client: TcpStream, target: SocketAddr, shared: &Arc<Mutex<State>>) {
    let Ok(server) = TcpStream::connect_timeout(&target, Duration::from_secs(5)) else {
        // Dropped: the client sees its connection end.
        return;
    };
    for stream in [&client, &server] {
        stream.set_nonblocking(false).ok();
        stream.set_nodelay(true).ok();
        stream.set_read_timeout(Some(LOOK_EVERY)).ok();
    }
    let pair = Arc::new(Pair {
        client,
        server,
        swallowing: Mutex::new(false),
    });
    {
        let mut state = lock(shared);
        state.accepted += 1;
        state.connections.push(Arc::clone(&pair));
    }
    for direction in [Direction::ToServer, Direction::ToClient] {
        let (pair, shared) = (Arc::clone(&pair), Arc::clone(shared));
        std::thread::spawn(move || {
            pump(&pair, direction, &shared);
            // The end of one way is the end of both: databases know no half-open connections.
            pair.client.shutdown(Shutdown::Both).ok();
            pair.server.shutdown(Shutdown::Both).ok();
            let mut state = lock(&shared);
            state.connections.retain(|open| !Arc::ptr_eq(open, &pair));
        });
    }
}

/// Carries bytes one way until the connection ends.
fn pump(pair: &Pair, direction: Direction, shared: &Mutex<State>) {
    let (mut from, mut to) = match direction {
        Direction::ToServer => (&pair.client, &pair.server),
        Direction::ToClient => (&pair.server, &pair.client),
    };
    let mut buffer = vec![0; 64 * 1024];
    loop {
        while lock(shared).frozen {
            std::thread::sleep(LOOK_EVERY);
        }
        let read = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            Err(_) => return,
        };
        let delay = lock(shared).delay;
        std::thread::sleep(delay);
        // What was read just before a freeze does not get through either.
        while lock(shared).frozen {
            std::thread::sleep(LOOK_EVERY);
        }
        let bytes = &buffer[..read];
        let allowed = judge(pair, direction, bytes, shared);
        if to.write_all(&bytes[..allowed]).is_err() {
            return;
        }
        if allowed < read {
            pair.cut();
            return;
        }
    }
}

/// How many of the bytes may pass. When fewer than all, the connection is cut after them.
fn judge(pair: &Pair, direction: Direction, bytes: &[u8], shared: &Mutex<State>) -> usize {
    let mut state = lock(shared);
    let mut swallowing = pair
        .swallowing
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if direction == Direction::ToClient && *swallowing {
        return 0;
    }
    let holds = |text: &Option<Vec<u8>>| {
        direction == Direction::ToServer
            && text
                .as_ref()
                .is_some_and(|text| bytes.windows(text.len()).any(|window| window == text))
    };
    if holds(&state.cut_before) {
        state.cut_before = None;
        return 0;
    }
    if holds(&state.swallow_answer_to) {
        state.swallow_answer_to = None;
        *swallowing = true;
    }
    match &mut state.allowance {
        Some((counted, left)) if *counted == direction => {
            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            let allowed = length.min(*left);
            *left -= allowed;
            if allowed < length {
                state.allowance = None;
                for other in &state.connections {
                    if !std::ptr::eq(Arc::as_ptr(other), pair) {
                        other.cut();
                    }
                }
            }
            usize::try_from(allowed).unwrap_or(usize::MAX)
        }
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every byte with the same byte.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut buffer = [0; 1024];
                    while let Ok(read @ 1..) = stream.read(&mut buffer) {
                        if stream.write_all(&buffer[..read]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    fn connect(proxy: &FaultProxy) -> TcpStream {
        let stream = TcpStream::connect(proxy.address()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream
    }

    fn ask(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
        stream.write_all(text)?;
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn bytes_pass_until_a_fault_is_ordered_and_after_it_is_healed() {
        let proxy = FaultProxy::start(echo());
        let mut stream = connect(&proxy);
        assert_eq!(ask(&mut stream, b"one").unwrap(), b"one");
        proxy.cut();
        assert!(ask(&mut stream, b"two").is_err());
        proxy.refuse();
        assert!(TcpStream::connect(proxy.address()).is_err());
        proxy.heal();
        assert_eq!(ask(&mut connect(&proxy), b"three").unwrap(), b"three");
        assert_eq!(proxy.accepted(), 2);
    }

    #[test]
    fn a_frozen_connection_stays_open_and_goes_on_later() {
        let proxy = FaultProxy::start(echo());
        let mut stream = connect(&proxy);
        assert_eq!(ask(&mut stream, b"one").unwrap(), b"one");
        proxy.freeze();
        stream.write_all(b"two").unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let error = stream.read(&mut [0; 3]).unwrap_err();
        assert!(matches!(
            error.kind(),
            ErrorKind::WouldBlock | ErrorKind::TimedOut
        ));
        proxy.heal();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut answer = [0; 3];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"two");
    }

    #[test]
    fn a_cut_comes_after_as_many_bytes_as_ordered() {
        let proxy = FaultProxy::start(echo());
        let mut stream = connect(&proxy);
        proxy.cut_after(Direction::ToClient, 4);
        assert_eq!(ask(&mut stream, b"one").unwrap(), b"one");
        assert!(ask(&mut stream, b"two").is_err());
        assert_eq!(ask(&mut connect(&proxy), b"three").unwrap(), b"three");
    }

    #[test]
    fn an_answer_is_swallowed_or_the_question_is_not_delivered() {
        let proxy = FaultProxy::start(echo());
        let mut stream = connect(&proxy);
        proxy.swallow_answer_to("COMMIT");
        assert_eq!(ask(&mut stream, b"BEGIN").unwrap(), b"BEGIN");
        assert!(!proxy.has_swallowed());
        assert!(ask(&mut stream, b"COMMIT").is_err());
        assert!(proxy.has_swallowed());
        let mut stream = connect(&proxy);
        proxy.cut_before("COMMIT");
        assert_eq!(ask(&mut stream, b"BEGIN").unwrap(), b"BEGIN");
        assert!(!proxy.has_cut());
        assert!(ask(&mut stream, b"COMMIT").is_err());
        assert!(proxy.has_cut());
    }
}

//! Sessions of Socket.IO clients, as their transports see them: what waits to be sent, and how.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::super::super::super::Shared;
use super::super::super::super::pieces::Text;
use super::super::super::super::shares::{Share, Shares, of_one_person};
use super::packet;
use super::talk::{Talk, Who};
use crate::auth::random;

/// How often a client is asked for a sign, and how long it may take.
pub(super) const PING_EVERY: Duration = Duration::from_secs(25);
pub(super) const PONG_WITHIN: Duration = Duration::from_secs(20);
/// Sessions of clients that have not shown a token yet.
const GUESTS_MAX: usize = 64;
/// Messages of a client that wait.
const INBOX_MAX: usize = 64;
/// Bytes that wait for a client; beyond them what is new waits in the feed, and may go by.
const OUT_BYTES_MAX: usize = 1 << 20;
/// Characters of a session's id.
const ID_CHARS: usize = 20;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the packets of a session travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Polling,
    /// By polling, while a WebSocket is tried out.
    Upgrading,
    WebSocket,
}

/// All sessions.
pub(in crate::gateway) struct Sessions {
    by_id: Mutex<HashMap<String, Arc<Session>>>,
    guests: Arc<Semaphore>,
    members: Arc<Semaphore>,
    /// Of those of members, by person.
    shares: Shares<String>,
}

/// A place among the sessions.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    _share: Option<Share<String>>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl Sessions {
    /// None yet, and never more than this of those who have shown who they are.
    pub(in crate::gateway) fn new(members_max: u32) -> Self {
        let members = usize::try_from(members_max).unwrap_or(usize::MAX);
        Self {
            by_id: Mutex::new(HashMap::new()),
            guests: Arc::new(Semaphore::new(GUESTS_MAX)),
            members: Arc::new(Semaphore::new(members.min(Semaphore::MAX_PERMITS))),
            shares: Shares::new(of_one_person(members)),
        }
    }

    /// A place for somebody, who may have shown who they are.
    pub(super) fn place(&self, who: &Who) -> Option<Place> {
        let (places, share) = match who {
            Who::User(held) => {
                let share = self.shares.take(held.user.id.clone())?;
                (&self.members, Some(share))
            }
            Who::Nobody(_) => (&self.guests, None),
        };
        Some(Place {
            _permit: Arc::clone(places).try_acquire_owned().ok()?,
            _share: share,
        })
    }

    /// Forgets a session that is over.
    pub(super) fn remove(&self, id: &str) {
        lock(&self.by_id).remove(id);
    }

    /// The session with an id, unless it is over.
    pub(super) fn get(&self, id: &str) -> Option<Arc<Session>> {
        let found = lock(&self.by_id).get(id).cloned();
        found.filter(|session| !session.closed.is_cancelled())
    }
}

/// What waits to be sent.
#[derive(Debug, Default)]
struct Out {
    packets: VecDeque<Text>,
    bytes: usize,
}

/// A session, as its transports see it.
pub(super) struct Session {
    out: Mutex<Out>,
    /// Something waits to be sent.
    fresh: Notify,
    /// Something was sent.
    room: Notify,
    inbox: mpsc::Sender<String>,
    closed: CancellationToken,
    transport: Mutex<Transport>,
    /// Held by the one request that waits for packets.
    pub(super) poll: tokio::sync::Mutex<()>,
}

impl Session {
    /// Begins a session of whoever sent a request; `None` when there are as many as may be.
    pub(super) async fn begin(
        shared: &Arc<Shared>,
        headers: &HeaderMap,
        transport: Transport,
    ) -> Option<Arc<Self>> {
        let sessions = &shared.live;
        let who = Who::of(shared, headers).await;
        let place = sessions.place(&who)?;
        let id = random::text(ID_CHARS).ok()?;
        let (inbox, received) = mpsc::channel(INBOX_MAX);
        let session = Arc::new(Self {
            out: Mutex::default(),
            fresh: Notify::new(),
            room: Notify::new(),
            inbox,
            closed: shared.tail.tasks().shutdown_token().child_token(),
            transport: Mutex::new(transport),
            poll: tokio::sync::Mutex::new(()),
        });
        let upgrades: &[&str] = match transport {
            Transport::Polling => &["websocket"],
            _ => &[],
        };
        let times = (PING_EVERY, PONG_WITHIN);
        session.add(packet::open(&id, upgrades, times, super::engine::BODY_MAX));
        lock(&sessions.by_id).insert(id.clone(), Arc::clone(&session));
        let talk = Talk::new(shared, &session, id, (who, place));
        shared
            .tail
            .tasks()
            .spawn("live session", talk.run(received));
        Some(session)
    }

    /// Adds a packet to what is sent.
    pub(super) fn add(&self, packet: impl Into<Text>) {
        let packet = packet.into();
        let mut out = lock(&self.out);
        out.bytes = out.bytes.saturating_add(packet.len());
        out.packets.push_back(packet);
        drop(out);
        self.fresh.notify_one();
    }

    /// Takes packets to send, some bytes of them and one more at most.
    pub(super) fn take(&self, bytes_max: usize) -> Vec<Text> {
        let mut out = lock(&self.out);
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_max
            && let Some(packet) = out.packets.pop_front()
        {
            bytes += packet.len();
            out.bytes = out.bytes.saturating_sub(packet.len());
            taken.push(packet);
        }
        drop(out);
        self.room.notify_one();
        taken
    }

    /// Whether so much waits that nothing more should be added.
    pub(super) fn is_full(&self) -> bool {
        lock(&self.out).bytes >= OUT_BYTES_MAX
    }

    /// Waits until something is to be sent, or the session is over; answers whether it goes on.
    pub(super) async fn ready(&self) -> bool {
        loop {
            let fresh = self.fresh.notified();
            if !lock(&self.out).packets.is_empty() {
                return true;
            }
            tokio::select! {
                () = fresh => {}
                () = self.closed.cancelled() => return false,
            }
        }
    }

    /// Passes on what a client sends. Who sends more than can wait is done with.
    pub(super) fn receive(&self, packet: &str) {
        if self.inbox.try_send(packet.to_owned()).is_err() {
            self.close();
        }
    }

    pub(super) fn transport(&self) -> Transport {
        *lock(&self.transport)
    }

    /// Changes the transport, if it is the one that is expected.
    pub(super) fn change(&self, from: Transport, to: Transport) -> bool {
        let mut transport = lock(&self.transport);
        let is_expected = *transport == from;
        if is_expected {
            *transport = to;
        }
        is_expected
    }

    /// Ends the session.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    /// Something was sent, while so much waited.
    pub(super) async fn room(&self) {
        self.room.notified().await;
    }

    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

//! Clients that send while the daemon is killed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::daemon::Daemon;
use crate::random::Random;

/// Lets clients send without a pause, each until it is told to stop, while the daemon is killed and
/// started again at random moments; answers how many requests each got acknowledged, once all of them
/// are stored.
pub(crate) fn send_over_kills(
    daemon: &mut Daemon,
    random: &mut Random,
    clients: u64,
    send: impl Fn(u64, SocketAddr, &AtomicBool) -> u64 + Sync,
) -> Vec<u64> {
    let (address, stop) = (daemon.addresses().grpc, AtomicBool::new(false));
    let acknowledged: Vec<u64> = std::thread::scope(|scope| {
        let (send, stop) = (&send, &stop);
        let clients = (0..clients).map(|client| scope.spawn(move || send(client, address, stop)));
        let clients: Vec<_> = clients.collect();
        for _ in 0..8 {
            std::thread::sleep(Duration::from_millis(20 + random.below(300)));
            daemon.process.kill9();
            daemon.restart();
        }
        stop.store(true, Ordering::Relaxed);
        let clients = clients.into_iter();
        clients.map(|client| client.join().unwrap()).collect()
    });
    assert!(
        acknowledged.iter().all(|requests| *requests > 3),
        "{acknowledged:?}"
    );
    daemon.await_stored();
    acknowledged
}

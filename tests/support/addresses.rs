//! Where daemons under test listen.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Where a daemon listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) gateway: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

impl Addresses {
    /// Four addresses that nobody listens on now. They lie below the ports that the system hands
    /// out for outgoing connections, so that they stay free while a daemon restarts.
    pub(crate) fn free() -> Self {
        let [grpc, http, gateway, metrics] = std::array::from_fn(|_| free_address());
        Self {
            grpc,
            http,
            gateway,
            metrics,
        }
    }
}

fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    let start = u16::try_from(std::process::id() * 97 % u32::from(COUNT)).expect("less than COUNT");
    for _ in 0..COUNT {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (start + offset % COUNT) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port");
}

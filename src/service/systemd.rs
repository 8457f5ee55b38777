//! Tells the service manager how the daemon is: ready, alive, stopping. systemd listens to a unit
//! of `Type=notify`, see sd_notify(3); where nobody listens, nothing is sent.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::tasks::Tasks;

/// Longest time a message may wait for room: a manager that hangs must not hang the daemon.
const PATIENCE: Duration = Duration::from_millis(100);

/// Says that the daemon takes requests, and from here on that it is alive, where `WatchdogSec` asks
/// for that. Must be called within a Tokio runtime: a runtime that hangs is what a watchdog is for.
pub(super) fn ready() {
    send("READY=1\nSTATUS=taking requests\n");
    let variable = |name: &str| std::env::var(name).ok();
    let Some(pause) = watchdog_pause(variable, std::process::id()) else {
        return;
    };
    // Not among the tasks that end with the drain: a daemon that drains is alive.
    let (tasks, _panics) = Tasks::new();
    tasks.spawn("watchdog", async move {
        let mut timer = interval(pause);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            send("WATCHDOG=1\n");
        }
    });
}

/// Says that the daemon drains, whether it was asked to or a part failed.
pub(super) fn stopping() {
    send("STOPPING=1\nSTATUS=draining\n");
}

/// How often to say that we are alive: twice within the limit, as sd_watchdog_enabled(3)
/// recommends. `None` when nobody waits for it, or for another process.
fn watchdog_pause(variable: impl Fn(&str) -> Option<String>, own_pid: u32) -> Option<Duration> {
    let limit: u64 = variable("WATCHDOG_USEC")?.parse().ok()?;
    if let Some(pid) = variable("WATCHDOG_PID")
        && pid.parse() != Ok(own_pid)
    {
        return None;
    }
    (limit >= 2).then(|| Duration::from_micros(limit / 2))
}

fn send(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|it| !it.is_empty()) else {
        return;
    };
    if let Err(error) = send_to(&socket, state) {
        tracing::warn!(%error, "can't notify the service manager");
    }
}

/// Sends to a socket in the file system, or to an abstract one, whose name begins with `@`.
fn send_to(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    sender.set_write_timeout(Some(PATIENCE))?;
    sender.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_twice_within_its_limit() {
        let pause = |limit: Option<&str>, pid: Option<&str>| {
            let value = |name: &str| match name {
                "WATCHDOG_USEC" => limit.map(str::to_owned),
                _ => pid.map(str::to_owned),
            };
            watchdog_pause(value, 42)
        };
        let half = Some(Duration::from_secs(15));
        assert_eq!(pause(Some("30000000"), None), half);
        assert_eq!(pause(Some("30000000"), Some("42")), half);
        assert_eq!(pause(Some("30000000"), Some("43")), None);
        assert_eq!(pause(Some("30000000"), Some("")), None);
        assert_eq!(pause(None, None), None);
        for nonsense in ["", "0", "1", "-1", "soon"] {
            assert_eq!(pause(Some(nonsense), None), None, "{nonsense}");
        }
    }

    #[test]
    fn an_abstract_socket_is_reached() {
        let name = format!("pulse-collector-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        send_to(OsStr::new(&format!("@{name}")), "READY=1\n").unwrap();
        let mut buffer = [0; 16];
        let length = listener.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1\n");
    }

    // Scenario: a manager that reads nothing is told again and again.
    // Guarantees: telling it fails after a moment instead of waiting for ever.
    #[test]
    fn a_manager_that_hangs_holds_up_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let _listener = UnixDatagram::bind(&path).unwrap();
        let failure = (0..10_000).find_map(|_| send_to(path.as_os_str(), "WATCHDOG=1\n").err());
        assert_eq!(failure.unwrap().kind(), io::ErrorKind::WouldBlock);
    }
}

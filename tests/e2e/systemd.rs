//! systemd hears when the daemon is ready, that it is alive, and that it stops.

use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use crate::addresses::Addresses;
use crate::daemon::{Daemon, Setup, eventually};
use crate::http;
use crate::otlp::PROTOBUF;

/// Far more than it takes, for loaded machines.
const HEARD_WITHIN: Duration = Duration::from_secs(20);

/// What systemd listens with.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn new(directory: &Path) -> (Self, Setup) {
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(HEARD_WITHIN)).unwrap();
        let variable = format!("NOTIFY_SOCKET={}", path.display());
        let setup = Setup::new(&directory.join("data")).wrapped(&[
            "env",
            &variable,
            "WATCHDOG_USEC=200000",
        ]);
        (Self { socket }, setup)
    }

    /// The next message.
    fn hear(&self) -> String {
        let mut buffer = [0; 1024];
        let length = self.socket.recv(&mut buffer).expect("a message in time");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// Waits for a message that has this line.
    fn await_line(&self, line: &str) {
        while !self.hear().lines().any(|heard| heard == line) {}
    }
}

fn answers(addresses: Addresses) -> bool {
    let Addresses {
        grpc,
        http,
        gateway,
        metrics,
    } = addresses;
    [grpc, http, gateway]
        .iter()
        .all(|address| http::connect(*address).is_ok())
        && http::get(metrics, "/readyz").is_ok_and(|answer| answer.status == 200)
}

// Scenario: a daemon is started as systemd starts a unit of Type=notify with WatchdogSec.
// Guarantees: the first thing it says is that it is ready, every listener answers by then, and it
// goes on saying that it is alive.
#[test]
fn ready_is_said_when_everything_listens() {
    let directory = tempfile::tempdir().unwrap();
    let (manager, setup) = Manager::new(directory.path());
    let _process = setup.launch();
    let first = manager.hear();
    assert!(first.lines().any(|line| line == "READY=1"), "{first}");
    assert!(answers(setup.addresses));
    manager.await_line("WATCHDOG=1");
    manager.await_line("WATCHDOG=1");
}

// Scenario: SIGTERM while a request is half sent, so that the drain lasts until its deadline; then
// systemd does not listen any more.
// Guarantees: the daemon says that it stops, and while it drains that it is alive. It ends by its
// deadline though nobody hears the rest.
#[test]
fn a_daemon_that_drains_is_alive() {
    let directory = tempfile::tempdir().unwrap();
    let (manager, setup) = Manager::new(directory.path());
    let mut daemon = Daemon::spawn_with(setup.set("service.drain_timeout", "3s"));
    let address = daemon.addresses().http;
    let mut stream = http::connect(address).unwrap();
    let head = http::post_head(address, "/v1/traces", &[PROTOBUF], 100);
    stream.write_all(&head).unwrap();
    stream.write_all(&[0x0a]).unwrap();
    eventually("the request in flight", HEARD_WITHIN, || {
        (daemon.metric("pulse_receiver_in_flight_requests") >= 1.0).then_some(())
    });
    daemon.process.sigterm();
    manager.await_line("STOPPING=1");
    manager.await_line("WATCHDOG=1");
    assert_eq!(daemon.metric("pulse_ready"), 0.0);
    daemon.process.wait_exit(HEARD_WITHIN);
}

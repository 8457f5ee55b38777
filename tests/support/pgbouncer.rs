//! A PgBouncer in transaction mode in front of a test's database, ended with the test process.

#![allow(
    dead_code,
    reason = "shared by several test binaries, each of which needs a part of it"
)]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to listen on a loaded machine.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Runs it until the input ends. It refuses to run as root.
const SCRIPT: &str = r#"
directory=$1
owner=
if [ "$(id -u)" -eq 0 ]; then
  for owner in postgres nobody; do id -u "$owner" >/dev/null 2>&1 && break; done
  chown -R "$owner" "$directory"
fi
pgbouncer ${owner:+-u "$owner"} "$directory/pgbouncer.ini" >"$directory/log" 2>&1 </dev/null &
cat >/dev/null
kill $!
wait $!
"#;

/// A running PgBouncer.
#[derive(Debug)]
pub(crate) struct Bouncer {
    address: SocketAddr,
    supervisor: Child,
    input: Option<ChildStdin>,
    directory: tempfile::TempDir,
}

impl Bouncer {
    /// One in front of a server, with at most this many connections to it.
    pub(crate) fn start(server: SocketAddr, connections: u32) -> Self {
        let directory = tempfile::tempdir().expect("make a directory");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port");
        let settings = format!(
            "[databases]\n* = host={} port={} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = {connections}\n\
             logfile = {}\n",
            server.ip(),
            server.port(),
            address.port(),
            directory.path().join("pgbouncer.log").display(),
        );
        let path = directory.path().join("pgbouncer.ini");
        std::fs::write(path, settings).expect("write the settings");
        let mut supervisor = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(directory.path())
            .stdin(Stdio::piped())
            .spawn()
            .expect("run /bin/sh");
        let bouncer = Self {
            address,
            input: supervisor.stdin.take(),
            supervisor,
            directory,
        };
        bouncer.await_listening();
        bouncer
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn await_listening(&self) {
        let deadline = Instant::now() + READY_WITHIN;
        while TcpStream::connect(self.address).is_err() {
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(self.directory.path().join("log"));
                panic!("is pgbouncer installed? {}", log.unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        self.input = None;
        self.supervisor.wait().ok();
    }
}

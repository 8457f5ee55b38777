//! What tests need of the machine for a PostgreSQL server: its programs, a port, room that earlier
//! ones left taken.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use super::{DIRECTORY_PREFIX, URL_VARIABLE};

/// What runs a program so that it may mount file systems for itself, if that is permitted here.
pub(crate) fn namespace() -> Option<&'static [&'static str]> {
    let of_root: &[&str] = &["unshare", "-m"];
    let of_others: &[&str] = &["unshare", "-U", "--map-current-user", "--keep-caps", "-m"];
    [of_root, of_others].into_iter().find(|wrapper| {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]);
        command.args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
        let tried = command.stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    })
}

/// The directory of the newest installed server's programs.
pub(crate) fn binaries() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let newest = installed
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let binaries = entry.path().join("bin");
            binaries
                .join("initdb")
                .exists()
                .then_some((version, binaries))
        })
        .max();
    if let Some((_, binaries)) = newest {
        return binaries;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .find(|directory| directory.join("initdb").exists())
        .unwrap_or_else(|| {
            panic!("no PostgreSQL server is installed; install it, or set {URL_VARIABLE}")
        })
}

/// A port that nobody listens on now, below those the system hands out for outgoing connections,
/// so that it stays free while a server restarts.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 6_000;
    const COUNT: u16 = 5_000;
    let start = u16::try_from(std::process::id() * 31 % u32::from(COUNT)).expect("below COUNT");
    for _ in 0..COUNT {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (start + offset % COUNT) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

/// Removes what is left of servers whose supervisor was killed or lost its power.
pub(crate) fn sweep_directories() {
    let entries = std::fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten();
    let ours = entries.filter_map(Result::ok).filter(|entry| {
        let name = entry.file_name();
        name.to_str()
            .is_some_and(|name| name.starts_with(DIRECTORY_PREFIX))
    });
    for directory in ours.map(|entry| entry.path()) {
        // A directory without this file is just being made.
        let Ok(pid) = std::fs::read_to_string(directory.join("supervisor.pid")) else {
            continue;
        };
        if Path::new("/proc").join(pid.trim()).exists() {
            continue;
        }
        if let Ok(pid) = std::fs::read_to_string(directory.join("data/postmaster.pid"))
            && let Some(pid) = pid.lines().next()
            && std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name.trim() == "postgres")
        {
            Command::new("kill").args(["-QUIT", pid]).status().ok();
        }
        std::fs::remove_dir_all(&directory).ok();
    }
}

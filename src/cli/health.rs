//! `health`: asks the daemon's probe endpoint, so that a container without a shell or curl can be
//! probed. One line, exit code 0 or 1, never longer than the deadline.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::{ConfigArgs, say};
use crate::config::CheckFiles;

/// Longest time for the whole question.
const DEADLINE: Duration = Duration::from_secs(5);
/// Most of an answer that is read.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// host:port to ask; default: service.telemetry.metrics.endpoint.
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: Option<String>,
    /// Ask whether the daemon is alive rather than ready.
    #[arg(long)]
    live: bool,
}

pub(super) fn run(outer: ConfigArgs, args: Args) -> anyhow::Result<ExitCode> {
    let endpoint = match args.endpoint {
        Some(endpoint) => endpoint,
        None => {
            let config = outer.then(args.config).load(CheckFiles::No)?;
            config.service.telemetry.metrics.endpoint
        }
    };
    if endpoint.is_empty() {
        bail!("service.telemetry.metrics.endpoint is switched off; name one with --endpoint");
    }
    let (path, state) = if args.live {
        ("/livez", "alive")
    } else {
        ("/readyz", "ready")
    };
    let answer = ask(&endpoint, path).with_context(|| format!("ask {endpoint}{path}"))?;
    if answer.status != 200 {
        bail!("not {state}: {endpoint}{path} answered {answer}");
    }
    say(state)?;
    Ok(ExitCode::SUCCESS)
}

/// What the endpoint said.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    /// First line of the body.
    reason: String,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.status)?;
        if !self.reason.is_empty() {
            write!(formatter, ": {}", self.reason)?;
        }
        Ok(())
    }
}

fn ask(endpoint: &str, path: &str) -> anyhow::Result<Answer> {
    let deadline = Instant::now() + DEADLINE;
    let mut stream = connect(endpoint, deadline)?;
    stream.set_write_timeout(Some(remaining(deadline)?))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {endpoint}\r\nconnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .context("send the request")?;

    let mut answer = Vec::new();
    let mut chunk = [0_u8; 1024];
    while answer.len() < ANSWER_BYTES_MAX {
        stream.set_read_timeout(Some(remaining(deadline)?))?;
        let count = match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("read the answer"),
        };
        answer.extend(chunk.iter().take(count));
    }
    parse(&answer).context("the answer is not HTTP")
}

fn connect(endpoint: &str, deadline: Instant) -> anyhow::Result<TcpStream> {
    let addresses = endpoint.to_socket_addrs().context("resolve the address")?;
    let mut last_error = None;
    for address in addresses {
        match TcpStream::connect_timeout(&reachable(address), remaining(deadline)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last_error = Some(error),
        }
    }
    match last_error {
        Some(error) => Err(error).context("connect"),
        None => bail!("the name has no address"),
    }
}

/// Where a listener on this machine is reached: one on every interface is on loopback too.
pub(super) fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn remaining(deadline: Instant) -> anyhow::Result<Duration> {
    let remaining = deadline.saturating_duration_since(Instant::now());
    if remaining.is_zero() {
        bail!("no answer within {} s", DEADLINE.as_secs());
    }
    Ok(remaining)
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut words = head.lines().next()?.split(' ');
    if !words.next()?.starts_with("HTTP/1.") {
        return None;
    }
    let reason = body.lines().next().unwrap_or_default();
    Some(Answer {
        status: words.next()?.parse().ok()?,
        reason: reason
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_and_the_first_line_of_the_body_are_read() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\n\r\ndraining\nmore";
        let expected = Answer {
            status: 503,
            reason: "draining".to_owned(),
        };
        assert_eq!(parse(answer), Some(expected));
        assert_eq!(parse(b"SSH-2.0-OpenSSH_9.6\r\n"), None);
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"HTTP/1.1"), None);
    }

    #[test]
    fn a_listener_on_every_interface_is_asked_on_loopback() {
        let any: SocketAddr = "0.0.0.0:9464".parse().unwrap();
        assert_eq!(reachable(any), "127.0.0.1:9464".parse().unwrap());
        let any: SocketAddr = "[::]:9464".parse().unwrap();
        assert_eq!(reachable(any), "[::1]:9464".parse().unwrap());
    }
}

//! `tail`: follows what a running daemon stores, a line a span or event.

mod event_line;
mod events;
mod line;

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;

use super::health::reachable;
use super::{ConfigArgs, serve};
use crate::config::CheckFiles;
use crate::net::dial::Dialer;
use events::{Event, Reader};
use line::Painter;

/// Pauses between two tries to connect again.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// The daemon says something every 15 seconds.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long the head of an answer, or the body of an error, may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of an error that are read.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// Flags of `tail`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  pulse-collector tail operation=chat status=error\n  \
    pulse-collector tail service=support min_duration=2s attr.tier=gold\n  \
    pulse-collector tail --json model=gpt-4o | jq .genai.cost\n  \
    pulse-collector tail kind=event min_severity=warn\n\n\
    FILTER is a filter of /api/v1/spans or, with kind=event, of /api/v1/events; kind=span,event follows both.\n\
    A broken connection is made again, and goes on where it was."
)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Filters that must all hold, as NAME=VALUE.
    #[arg(value_name = "FILTER", value_parser = filter)]
    filters: Vec<(String, String)>,
    /// URL of the daemon's gateway. Default: as this configuration says.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// A key that may read.
    #[arg(
        long,
        value_name = "KEY",
        env = "PULSE_API_KEY",
        hide_env_values = true
    )]
    api_key: Option<String>,
    /// PEM file with the authorities that the daemon's certificate must chain to. Default: the
    /// system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Spans and events a second at most; what matches beyond that is counted.
    #[arg(long, value_name = "COUNT")]
    rate: Option<u32>,
    /// Print each span or event as the API says it, one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Whether lines are coloured.
    #[arg(long, value_enum, default_value_t = Colour::Auto)]
    color: Colour,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    Always,
    Never,
}

fn filter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE, as in status=error".to_owned()),
    }
}

pub(super) fn run(outer: ConfigArgs, args: Args) -> anyhow::Result<ExitCode> {
    let endpoint = match args.endpoint {
        Some(endpoint) => endpoint,
        None => {
            let config = outer.then(args.config).load(CheckFiles::No)?;
            let address = config.gateway.endpoint;
            let scheme = if config.gateway.tls.is_some() {
                "https"
            } else {
                "http"
            };
            format!("{scheme}://{}", local(&address))
        }
    };
    let mut query = args.filters;
    query.extend(args.rate.map(|rate| ("rate".to_owned(), rate.to_string())));
    let key = args.api_key.map(|key| {
        let value = HeaderValue::from_str(&format!("Bearer {key}"));
        let mut value = value.context("the API key holds characters that no key has")?;
        value.set_sensitive(true);
        Ok::<_, anyhow::Error>(value)
    });
    let mut tail = Tail {
        dialer: Dialer::new(&endpoint, args.ca_file.as_deref())?,
        path: format!("/api/v1/tail{}", encode(&query)),
        key: key.transpose()?,
        reader: Reader::default(),
        printer: Printer {
            json: args.json,
            painter: Painter {
                is_coloured: is_coloured(args.color),
            },
        },
    };
    serve::runtime()?.block_on(tail.follow())?;
    Ok(ExitCode::SUCCESS)
}

/// A configured address as it is reached from this machine.
fn local(address: &str) -> String {
    match address.parse() {
        Ok(address) => reachable(address).to_string(),
        Err(_) => address.to_owned(),
    }
}

fn is_coloured(colour: Colour) -> bool {
    match colour {
        Colour::Auto => {
            let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
            std::io::stdout().is_terminal() && !is_unwanted
        }
        Colour::Always => true,
        Colour::Never => false,
    }
}

/// A query string (RFC 3986 §2.3, everything else escaped).
fn encode(pairs: &[(String, String)]) -> String {
    let mut query = String::new();
    for (name, value) in pairs {
        query.push(if query.is_empty() { '?' } else { '&' });
        for (text, end) in [(name, "="), (value, "")] {
            for byte in text.bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        query.push(char::from(byte));
                    }
                    _ => {
                        query.push('%');
                        for digit in [byte >> 4, byte & 0xf] {
                            let digit = char::from_digit(digit.into(), 16).unwrap_or('0');
                            query.push(digit.to_ascii_uppercase());
                        }
                    }
                }
            }
            query.push_str(end);
        }
    }
    query
}

/// Whether to go on.
enum Next {
    Again,
    /// Nobody reads what is printed.
    Stop,
}

/// What went wrong, and whether another try may help.
enum Failure {
    /// The daemon can't be reached, or the connection broke off.
    Lost(anyhow::Error),
    /// It will not answer otherwise.
    Final(anyhow::Error),
}

struct Tail {
    dialer: Dialer,
    path: String,
    key: Option<HeaderValue>,
    reader: Reader,
    printer: Printer,
}

impl Tail {
    async fn follow(&mut self) -> anyhow::Result<()> {
        let (mut was_connected, mut pause) = (false, PAUSE_MIN);
        loop {
            let mut connected = false;
            match self.once(&mut connected).await {
                Ok(Next::Stop) => return Ok(()),
                Ok(Next::Again) => {}
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Lost(error)) if !was_connected && !connected => return Err(error),
                Err(Failure::Lost(error)) => note(&format!("{error:#}")),
            }
            was_connected |= connected;
            pause = if connected {
                PAUSE_MIN
            } else {
                PAUSE_MAX.min(pause * 2)
            };
            note("the connection is gone; trying again");
            tokio::time::sleep(pause).await;
        }
    }

    /// Follows over one connection.
    async fn once(&mut self, connected: &mut bool) -> Result<Next, Failure> {
        let lost = |error: anyhow::Error| Failure::Lost(error);
        self.reader.restart();
        let stream = self.dialer.connect().await.map_err(|it| lost(it.into()))?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|it| lost(it.into()))?;
        let request = self.request().map_err(Failure::Final)?;
        let exchange = async {
            let response = tokio::time::timeout(ANSWER_WITHIN, sender.send_request(request)).await;
            let silence = || anyhow::anyhow!("no answer within {} s", ANSWER_WITHIN.as_secs());
            let response = response.map_err(|_| lost(silence()))?;
            let response = response.context("ask the daemon").map_err(lost)?;
            if response.status() != StatusCode::OK {
                return Err(refusal(response).await);
            }
            *connected = true;
            note(&format!("following {}", self.dialer.uri()));
            self.print(response.into_body()).await
        };
        tokio::select! {
            result = exchange => result,
            // The exchange sees the end of it first, unless there was none.
            _ = async { drop(connection.await); std::future::pending::<()>().await } => Ok(Next::Again),
        }
    }

    fn request(&self) -> anyhow::Result<Request<Empty<Bytes>>> {
        let authority = self.dialer.uri().authority().map_or("", |it| it.as_str());
        let mut request = Request::get(&self.path)
            .header(header::HOST, authority)
            .header(header::ACCEPT, "text/event-stream");
        if let Some(key) = &self.key {
            request = request.header(header::AUTHORIZATION, key);
        }
        if let Some(id) = self.reader.last_id() {
            request = request.header("last-event-id", id);
        }
        request.body(Empty::new()).context("make the request")
    }

    async fn print(&mut self, mut body: Incoming) -> Result<Next, Failure> {
        loop {
            let frame = tokio::time::timeout(SILENCE_MAX, body.frame()).await;
            let Ok(frame) = frame else {
                let error = anyhow::anyhow!("nothing was heard for {} s", SILENCE_MAX.as_secs());
                return Err(Failure::Lost(error));
            };
            let Some(frame) = frame else {
                return Ok(Next::Again);
            };
            let frame = frame.map_err(|error| Failure::Lost(error.into()))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let events = self
                .reader
                .add(&data)
                .map_err(|it| Failure::Final(it.into()))?;
            for event in &events {
                if !self.printer.print(event).map_err(Failure::Final)? {
                    return Ok(Next::Stop);
                }
            }
        }
    }
}

/// What the daemon says when it does not answer with events.
async fn refusal(response: Response<Incoming>) -> Failure {
    #[derive(Deserialize)]
    struct Problem {
        detail: Option<String>,
        #[serde(default)]
        fields: Vec<Field>,
    }
    #[derive(Deserialize)]
    struct Field {
        path: String,
        message: String,
    }
    let status = response.status();
    let body = Limited::new(response.into_body(), ERROR_BYTES_MAX).collect();
    let body = tokio::time::timeout(ANSWER_WITHIN, body).await;
    let body = match body {
        Ok(Ok(body)) => body.to_bytes(),
        _ => Bytes::new(),
    };
    let problem: Option<Problem> = serde_json::from_slice(&body).ok();
    let mut said = format!("the daemon answered {status}");
    if let Some(problem) = problem {
        if let Some(detail) = problem.detail {
            said = format!("{said}: {detail}");
        }
        for Field { path, message } in problem.fields {
            said = format!("{said}; {path}: {message}");
        }
    }
    if status == StatusCode::UNAUTHORIZED {
        said.push_str(" (give a key that may read: --api-key or PULSE_API_KEY)");
    }
    let error = anyhow::anyhow!(line::shown(&said));
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        Failure::Lost(error)
    } else {
        Failure::Final(error)
    }
}

/// Tells the person; when nobody reads standard error there is nobody to tell.
fn note(text: &str) {
    drop(writeln!(std::io::stderr(), "-- {text}"));
}

struct Printer {
    json: bool,
    painter: Painter,
}

impl Printer {
    /// Prints an event; answers whether somebody reads.
    fn print(&self, event: &Event) -> anyhow::Result<bool> {
        let line = match event.name.as_str() {
            "span" | "event" if self.json => line::escaped(&event.data),
            "event" => {
                let event = serde_json::from_str(&event.data);
                self.painter.event(&event.context("read an event")?)
            }
            "span" => {
                let span = serde_json::from_str(&event.data);
                self.painter.span(&span.context("read a span")?)
            }
            "missed" => {
                let missed = serde_json::from_str(&event.data).context("read what went by")?;
                let line = self.painter.missed(&missed);
                // Standard output is for what was stored.
                if self.json {
                    note(line.trim_start_matches("-- "));
                    return Ok(true);
                }
                line
            }
            _ => return Ok(true),
        };
        match writeln!(std::io::stdout().lock(), "{line}") {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => bail!("write to standard output: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_become_a_query() {
        let filters = ["status=error", "attr.a b=c&d=é", "name="].map(|it| filter(it).unwrap());
        let expected = "?status=error&attr.a%20b=c%26d%3D%C3%A9&name=";
        assert_eq!(encode(&filters), expected);
        assert_eq!(encode(&[]), "");
        assert!(filter("=x").is_err() && filter("word").is_err());
    }

    #[test]
    fn a_daemon_on_every_interface_is_asked_on_loopback() {
        assert_eq!(local("0.0.0.0:3000"), "127.0.0.1:3000");
        assert_eq!(local("pulse.example:3000"), "pulse.example:3000");
    }
}

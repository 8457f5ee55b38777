//! Endpoints: their form, whether they clash; and what TLS and CORS need.

use std::fs::File;
use std::net::IpAddr;
use std::path::Path;

use super::{CheckFiles, Issue};
use crate::config::Config;
use crate::net::{cors, tls};

/// Encodings a receiver can accept beside identity.
const ALGORITHMS: &[&str] = &["gzip", "zstd", "deflate"];

/// A configured listener.
struct Listener<'config> {
    /// Path of the section that has the endpoint.
    section: &'static str,
    endpoint: &'config str,
    tls: Option<&'config tls::Config>,
    cors: Option<&'config cors::Config>,
}

/// Checks every listener, then all of them together.
pub(super) fn check(config: &Config, check_files: CheckFiles, issues: &mut Vec<Issue>) {
    let listeners = listeners(config);
    let mut bound: Vec<(String, Endpoint<'_>)> = Vec::new();
    for listener in &listeners {
        let path = format!("{}.endpoint", listener.section);
        match Endpoint::parse(listener.endpoint) {
            Ok(endpoint) => {
                for (other_path, other) in &bound {
                    if endpoint.clashes_with(other) {
                        let message = format!("{} is taken by {other_path}", listener.endpoint);
                        issues.push(Issue::new(path.as_str(), message).related_to(other_path));
                    }
                }
                bound.push((path, endpoint));
            }
            Err(message) => issues.push(Issue::new(path, message)),
        }
        if let Some(tls) = listener.tls {
            check_tls(listener.section, tls, check_files, issues);
        }
        if let Some(cors) = listener.cors {
            check_cors(listener.section, cors, issues);
        }
    }
    check_protocols(config, issues);
}

fn listeners(config: &Config) -> Vec<Listener<'_>> {
    let protocols = &config.receivers.otlp.protocols;
    let mut listeners = Vec::new();
    if let Some(grpc) = &protocols.grpc {
        listeners.push(Listener {
            section: "receivers.otlp.protocols.grpc",
            endpoint: &grpc.endpoint,
            tls: grpc.tls.as_ref(),
            cors: None,
        });
    }
    if let Some(http) = &protocols.http {
        listeners.push(Listener {
            section: "receivers.otlp.protocols.http",
            endpoint: &http.endpoint,
            tls: http.tls.as_ref(),
            cors: http.cors.as_ref(),
        });
    }
    listeners.push(Listener {
        section: "gateway",
        endpoint: &config.gateway.endpoint,
        tls: config.gateway.tls.as_ref(),
        cors: config.gateway.cors.as_ref(),
    });
    let metrics = &config.service.telemetry.metrics;
    if !metrics.endpoint.is_empty() {
        listeners.push(Listener {
            section: "service.telemetry.metrics",
            endpoint: &metrics.endpoint,
            tls: None,
            cors: None,
        });
    }
    listeners
}

/// `host:port`.
#[derive(Debug, PartialEq, Eq)]
struct Endpoint<'text> {
    host: &'text str,
    port: u16,
}

impl<'text> Endpoint<'text> {
    fn parse(text: &'text str) -> Result<Self, String> {
        let expected = |detail: &str| {
            format!("expected host:port such as 127.0.0.1:4317, got \"{text}\"{detail}")
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(|| expected(""))?;
        let port = port
            .parse()
            .map_err(|_| expected(" (the port is not 0 to 65535)"))?;
        if host.is_empty() {
            return Err(expected("; write 0.0.0.0 to listen on every interface"));
        }
        let bracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host_is_valid = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')),
        };
        if !host_is_valid {
            return Err(expected("; an IPv6 address goes in brackets"));
        }
        Ok(Self {
            host: bracketed.unwrap_or(host),
            port,
        })
    }

    fn address(&self) -> Option<IpAddr> {
        if self.host.eq_ignore_ascii_case("localhost") {
            return Some(IpAddr::from([127, 0, 0, 1]));
        }
        self.host
            .parse()
            .ok()
            .map(|address: IpAddr| address.to_canonical())
    }

    fn clashes_with(&self, other: &Self) -> bool {
        let any = |endpoint: &Self| endpoint.address().is_some_and(|it| it.is_unspecified());
        let same_host = match (self.address(), other.address()) {
            (Some(address), Some(other)) => address == other,
            _ => self.host.eq_ignore_ascii_case(other.host),
        };
        // Port 0 is a different free port each time.
        self.port == other.port && self.port != 0 && (same_host || any(self) || any(other))
    }
}

fn check_tls(section: &str, tls: &tls::Config, check_files: CheckFiles, issues: &mut Vec<Issue>) {
    let files = [
        ("cert_file", Some(&tls.cert_file)),
        ("key_file", Some(&tls.key_file)),
        ("client_ca_file", tls.client_ca_file.as_ref()),
    ];
    for (key, file) in files {
        let Some(file) = file else { continue };
        let fault = if file.as_os_str().is_empty() {
            Some("expected a PEM file, got nothing".to_owned())
        } else if check_files == CheckFiles::Yes {
            unreadable(file)
        } else {
            None
        };
        if let Some(message) = fault {
            issues.push(Issue::new(format!("{section}.tls.{key}"), message));
        }
    }
    if tls.reload_interval.0.is_zero() {
        let path = format!("{section}.tls.reload_interval");
        issues.push(Issue::new(path, "must be more than zero"));
    }
}

/// Why a file can't be read, if it can't.
fn unreadable(file: &Path) -> Option<String> {
    match File::open(file).and_then(|opened| opened.metadata()) {
        Ok(metadata) if metadata.is_file() => None,
        Ok(_) => Some(format!("{} is not a file", file.display())),
        Err(error) => Some(format!("read {}: {error}", file.display())),
    }
}

fn check_cors(section: &str, cors: &cors::Config, issues: &mut Vec<Issue>) {
    for origin in &cors.allowed_origins {
        let has_path = origin
            .split_once("://")
            .is_some_and(|(_, authority)| authority.contains('/'));
        if origin != "*" && (!origin.contains("://") || has_path) {
            let message =
                format!("expected an origin such as https://app.example.com, got \"{origin}\"");
            issues.push(Issue::new(
                format!("{section}.cors.allowed_origins"),
                message,
            ));
        }
    }
}

fn check_protocols(config: &Config, issues: &mut Vec<Issue>) {
    let protocols = &config.receivers.otlp.protocols;
    if protocols.grpc.is_none() && protocols.http.is_none() {
        let message = "name at least one of grpc, http, or leave the key out for both";
        issues.push(Issue::new("receivers.otlp.protocols", message));
    }
    let grpc = protocols
        .grpc
        .as_ref()
        .map(|grpc| ("grpc", &grpc.compression_algorithms));
    let http = protocols
        .http
        .as_ref()
        .map(|http| ("http", &http.compression_algorithms));
    for (protocol, algorithms) in grpc.into_iter().chain(http) {
        for algorithm in algorithms {
            if !ALGORITHMS.contains(&algorithm.as_str()) {
                let path = format!("receivers.otlp.protocols.{protocol}.compression_algorithms");
                let message = format!(
                    "unknown algorithm \"{algorithm}\", expected some of: {}",
                    ALGORITHMS.join(", ")
                );
                issues.push(Issue::new(path, message));
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! What a person sees when the daemon starts: what listens where, which store, and a line to
//! paste where the SDK runs.

use std::fmt;
use std::net::SocketAddr;

use super::Mode;

/// What the banner tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Banner {
    /// What the process does.
    pub mode: Mode,
    /// OTLP/gRPC, when it listens; whether with TLS.
    pub grpc: Option<(SocketAddr, bool)>,
    /// OTLP/HTTP, when it listens; whether with TLS.
    pub http: Option<(SocketAddr, bool)>,
    /// The query API, when it listens; whether with TLS.
    pub gateway: Option<(SocketAddr, bool)>,
    /// Metrics and probes, when they listen.
    pub metrics: Option<SocketAddr>,
    /// The store, without secrets.
    pub store: String,
    /// What an OK means, as configured.
    pub durability: &'static str,
}

fn url(address: SocketAddr, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{address}")
}

impl fmt::Display for Banner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "pulse-collector {}", env!("CARGO_PKG_VERSION"))?;
        match self.mode {
            Mode::All => {}
            Mode::Api => writeln!(formatter, "  mode       api: listeners store what it takes")?,
            Mode::Listener => writeln!(formatter, "  mode       listener: takes no requests")?,
        }
        if let Some((address, tls)) = self.grpc {
            writeln!(formatter, "  OTLP/gRPC  {}", url(address, tls))?;
        }
        if let Some((address, tls)) = self.http {
            writeln!(formatter, "  OTLP/HTTP  {}", url(address, tls))?;
        }
        if let Some((address, tls)) = self.gateway {
            writeln!(formatter, "  API        {}", url(address, tls))?;
        }
        if let Some(address) = self.metrics {
            writeln!(formatter, "  metrics    {}/metrics", url(address, false))?;
        }
        writeln!(formatter, "  store      {}", self.store)?;
        if self.mode != Mode::Listener {
            writeln!(formatter, "  durability {}", self.durability)?;
            writeln!(formatter, "  project    default")?;
        }
        let Some((address, tls)) = self.http.or(self.grpc) else {
            return Ok(());
        };
        writeln!(formatter, "\nPoint an OpenTelemetry SDK at it:")?;
        write!(
            formatter,
            "  export OTEL_EXPORTER_OTLP_ENDPOINT={}",
            url(address, tls)
        )?;
        let protocol = if self.http.is_some() {
            "http/protobuf"
        } else {
            "grpc"
        };
        writeln!(formatter, " OTEL_EXPORTER_OTLP_PROTOCOL={protocol}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_has_a_line_to_paste() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let banner = Banner {
            mode: Mode::All,
            grpc: Some((address(4317), true)),
            http: Some((address(4318), false)),
            gateway: Some((address(3000), false)),
            metrics: None,
            store: "/data/pulse.db (sqlite)".to_owned(),
            durability: "synced to disk before OK",
        };
        let text = banner.to_string();
        assert!(
            text.contains("OTLP/gRPC  https://127.0.0.1:4317\n"),
            "{text}"
        );
        assert!(
            text.contains("export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 "),
            "{text}"
        );
        assert!(!text.contains("metrics"), "{text}");
        let banner = Banner {
            http: None,
            ..banner
        };
        assert!(banner.to_string().contains("OTLP_PROTOCOL=grpc\n"));
    }
}

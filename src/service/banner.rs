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
    /// Whether a listener answers nobody until there is an API key.
    pub lacks_a_key: bool,
    /// What an OK means, as configured.
    pub durability: &'static str,
}

/// What to do where requests need a key and there is none.
pub const NO_KEY: &str = "There is no API key yet, so requests from other machines are refused. \
    Make the first with the same configuration:\n  \
    pulse-collector key create --name first --scope ingest,read,admin";

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
        if self.lacks_a_key {
            writeln!(formatter, "\n{NO_KEY}")?;
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
            lacks_a_key: false,
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
        assert!(!text.contains("key create"), "{text}");
        let banner = Banner {
            http: None,
            lacks_a_key: true,
            ..banner
        };
        let text = banner.to_string();
        let told = "\n  pulse-collector key create --name first --scope ingest,read,admin\n";
        assert!(text.contains(told), "{text}");
        assert!(banner.to_string().contains("OTLP_PROTOCOL=grpc\n"));
    }
}

//! What a database URL says: where to connect to, and how.

use std::path::PathBuf;
use std::str::FromStr as _;

use super::config::{Config, DatabaseUrl, MASK, SslMode};

/// Why a URL can't be used. Never repeats the URL, which may have a password in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Neither form that libpq takes.
    #[error(
        "expected a URL such as postgres://user:password@host:5432/database, or host=… user=… pairs"
    )]
    Form,
    /// The password is the mask that settings are shown with.
    #[error("has a masked password: print-config doesn't show secrets")]
    Masked,
    /// A parameter is unknown or has a value it can't have.
    #[error("is not a database URL: {0}")]
    Parameter(String),
    /// No host is named.
    #[error("names no host")]
    NoHost,
}

/// Where and how to connect.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) connection: tokio_postgres::Config,
    pub(super) tls: TlsSettings,
}

/// How the connection is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsSettings {
    pub(super) mode: SslMode,
    /// Authorities; absent means the system's, or none where the mode does not ask for them.
    pub(super) root_cert: Option<PathBuf>,
    /// Client certificate and key.
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

/// Parameters that the driver does not know.
#[derive(Debug, Default)]
struct Taken {
    sslmode: Option<String>,
    sslrootcert: Option<String>,
    sslcert: Option<String>,
    sslkey: Option<String>,
}

impl Taken {
    /// Where a parameter of this name goes; `None` when it is the driver's.
    fn slot(&mut self, name: &str) -> Option<&mut Option<String>> {
        match name {
            "sslmode" => Some(&mut self.sslmode),
            "sslrootcert" => Some(&mut self.sslrootcert),
            "sslcert" => Some(&mut self.sslcert),
            "sslkey" => Some(&mut self.sslkey),
            _ => None,
        }
    }
}

/// Reads a URL; settings of their own win over what it says.
///
/// # Errors
/// [`Error`].
pub(super) fn parse(config: &Config, url: &DatabaseUrl) -> Result<Target, Error> {
    let text = url.expose();
    let mut taken = Taken::default();
    let rest = if is_url(text) {
        without_ours_url(text, &mut taken)
    } else if text.contains('=') {
        without_ours_pairs(text, &mut taken)?
    } else {
        return Err(Error::Form);
    };
    let mut connection = tokio_postgres::Config::from_str(&rest).map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        Error::Parameter(cause.unwrap_or_else(|| error.to_string()))
    })?;
    if connection.get_hosts().is_empty() && connection.get_hostaddrs().is_empty() {
        return Err(Error::NoHost);
    }
    if let Some(password) = config.password.expose() {
        connection.password(password);
    }
    if connection.get_password() == Some(MASK.as_bytes()) && config.password.expose().is_none() {
        return Err(Error::Masked);
    }
    let tls = tls_settings(config, taken)?;
    connection.ssl_mode(match tls.mode {
        SslMode::Disable => tokio_postgres::config::SslMode::Disable,
        SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
            tokio_postgres::config::SslMode::Require
        }
    });
    Ok(Target { connection, tls })
}

fn tls_settings(config: &Config, taken: Taken) -> Result<TlsSettings, Error> {
    let of_url = match taken.sslmode.as_deref() {
        None => None,
        Some("disable") => Some(SslMode::Disable),
        // Like the drivers of other languages: "allow" would be plain text whenever it can be.
        Some("allow" | "prefer") => Some(SslMode::Prefer),
        Some("require") => Some(SslMode::Require),
        Some("verify-ca") => Some(SslMode::VerifyCa),
        Some("verify-full") => Some(SslMode::VerifyFull),
        Some(_) => {
            let message =
                "sslmode must be disable, prefer, require, verify-ca or verify-full".to_owned();
            return Err(Error::Parameter(message));
        }
    };
    let path = |ours: &PathBuf, theirs: Option<String>| {
        if ours.as_os_str().is_empty() {
            theirs
                .filter(|path| !path.is_empty() && path != "system")
                .map(PathBuf::from)
        } else {
            Some(ours.clone())
        }
    };
    let cert = path(&config.sslcert, taken.sslcert);
    let key = path(&config.sslkey, taken.sslkey);
    Ok(TlsSettings {
        mode: config.sslmode.or(of_url).unwrap_or(SslMode::Prefer),
        root_cert: path(&config.sslrootcert, taken.sslrootcert),
        client: cert.zip(key),
    })
}

fn is_url(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

/// Takes our parameters out of a URL's query.
fn without_ours_url(text: &str, taken: &mut Taken) -> String {
    let Some((head, query)) = text.split_once('?') else {
        return text.to_owned();
    };
    let mut kept = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match taken.slot(name) {
            Some(slot) => *slot = Some(percent_decode(value)),
            None => kept.push(pair),
        }
    }
    format!("{head}?{}", kept.join("&"))
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let hex = (byte == b'%').then(|| {
            let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
            let (high, low) = (digit(ahead.next())?, digit(ahead.next())?);
            u8::try_from(high * 16 + low).ok()
        });
        match hex.flatten() {
            Some(decoded) => {
                bytes.push(decoded);
                rest = ahead;
            }
            None => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Takes our parameters out of `name=value` pairs.
fn without_ours_pairs(text: &str, taken: &mut Taken) -> Result<String, Error> {
    let mut kept = String::with_capacity(text.len());
    for (name, value) in pairs(text)? {
        match taken.slot(&name) {
            Some(slot) => *slot = Some(value),
            None => push_pair(&mut kept, &name, &value),
        }
    }
    Ok(kept)
}

fn push_pair(out: &mut String, name: &str, value: &str) {
    if !out.is_empty() {
        out.push(' ');
    }
    let value = value.replace('\\', "\\\\").replace('\'', "\\'");
    out.push_str(name);
    out.push_str("='");
    out.push_str(&value);
    out.push('\'');
}

/// Reads `name = value` pairs as libpq does: values may be in single quotes, a backslash makes the
/// next character literal.
fn pairs(text: &str) -> Result<Vec<(String, String)>, Error> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or(Error::Form)?;
        let name = name.trim();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(Error::Form);
        }
        let after = after.trim_start();
        let (quoted, body) = match after.strip_prefix('\'') {
            Some(body) => (true, body),
            None => (false, after),
        };
        let (mut value, mut end) = (String::new(), None);
        let mut characters = body.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => value.extend(characters.next().map(|(_, literal)| literal)),
                '\'' if quoted => {
                    end = Some(at + 1);
                    break;
                }
                _ if !quoted && character.is_whitespace() => {
                    end = Some(at);
                    break;
                }
                _ => value.push(character),
            }
        }
        if quoted && end.is_none() {
            return Err(Error::Form);
        }
        found.push((name.to_owned(), value));
        rest = end
            .and_then(|end| body.get(end..))
            .unwrap_or_default()
            .trim_start();
    }
    Ok(found)
}

/// The text with every password replaced by the mask. What is not understood is masked whole.
pub(super) fn mask_password(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    if !is_url(text) {
        return match pairs(text) {
            Ok(pairs) if text.contains('=') => {
                let mut shown = String::new();
                for (name, value) in pairs {
                    let hidden = name.contains("password");
                    push_pair(&mut shown, &name, if hidden { MASK } else { &value });
                }
                shown
            }
            Ok(_) | Err(_) => MASK.to_owned(),
        };
    }
    let (head, query) = match text.split_once('?') {
        Some((head, query)) => (head, Some(query)),
        None => (text, None),
    };
    let (scheme, rest) = head.split_once("://").unwrap_or(("", head));
    // The password may hold a slash or an at sign that was not escaped: up to the last one.
    let shown = match rest.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((name, _)) => format!("{scheme}://{name}:{MASK}@{host}"),
            None => head.to_owned(),
        },
        None => head.to_owned(),
    };
    let Some(query) = query else { return shown };
    let pairs: Vec<_> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if name.contains("password") => format!("{name}={MASK}"),
            _ => pair.to_owned(),
        })
        .collect();
    format!("{shown}?{}", pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<Target, Error> {
        parse(&Config::default(), &url.into())
    }

    #[test]
    fn both_forms_say_the_same() {
        let urls = [
            "postgres://me:se%20cret@one:5433,two/pulse?sslmode=verify-full&sslrootcert=%2Fca.pem\
             &target_session_attrs=read-write",
            "host=one,two port=5433,5432 user=me password='se cret' dbname=pulse \
             sslmode = verify-full sslrootcert=/ca.pem target_session_attrs=read-write",
        ];
        for url in urls {
            let target = target(url).unwrap();
            assert_eq!(target.connection.get_hosts().len(), 2, "{url}");
            assert_eq!(target.connection.get_ports(), [5433, 5432]);
            assert_eq!(target.connection.get_user(), Some("me"));
            assert_eq!(target.connection.get_password(), Some(&b"se cret"[..]));
            assert_eq!(target.connection.get_dbname(), Some("pulse"));
            assert_eq!(target.tls.mode, SslMode::VerifyFull);
            assert_eq!(target.tls.root_cert, Some(PathBuf::from("/ca.pem")));
        }
    }

    #[test]
    fn settings_win_over_the_url() {
        let config = Config {
            password: "ours".into(),
            sslmode: Some(SslMode::Require),
            sslrootcert: "/ours.pem".into(),
            ..Config::default()
        };
        let url = "postgres://me:theirs@db/pulse?sslmode=disable&sslrootcert=/theirs.pem".into();
        let target = parse(&config, &url).unwrap();
        assert_eq!(target.connection.get_password(), Some(&b"ours"[..]));
        assert_eq!(target.tls.mode, SslMode::Require);
        assert_eq!(target.tls.root_cert, Some(PathBuf::from("/ours.pem")));
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_showing_it() {
        for url in [
            "mysql://u:MARKER@db/x",
            "MARKER",
            "postgres://u:MARKER@db/x?sslmode=sometimes",
            "postgres://u:MARKER@db/x?connect_timeout=MARKER",
            "postgres://u:MARKER@db:port/x",
            "user=me password=MARKER",
            "host=db password='MARKER",
            "postgres://u:***@db/x",
        ] {
            let error = target(url).unwrap_err().to_string();
            assert!(!error.contains("MARKER"), "{url}: {error}");
        }
    }

    #[test]
    fn passwords_are_masked_in_any_form() {
        for url in [
            "postgres://u:MARKER@db/x",
            "postgres://u:MAR/KER@MARKER@db/x?a=b&password=MARKER&sslpassword=MARKER",
            "postgresql://u:MARKER@one:1,two:2/x",
            "host=db password='MARKER MARKER' user=u",
            "host=db password = MARKER",
            "password='MARKER",
            "u:MARKER@db",
        ] {
            let shown = mask_password(url);
            assert!(!shown.contains("MARKER"), "{url}: {shown}");
            assert!(shown.contains(MASK), "{url}: {shown}");
        }
        assert_eq!(mask_password("postgres://u@db/x"), "postgres://u@db/x");
        assert_eq!(mask_password(""), "");
    }
}

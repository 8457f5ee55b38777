//! Hosts, and how a connection to them is encrypted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::*;
use crate::config::Duration as ConfigDuration;
use crate::storage::postgres::fault_proxy::FaultProxy;
use crate::storage::postgres::testing::{Database, Server};

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

#[test]
fn every_host_is_tried_with_all_other_settings() {
    let config = Config {
        url: "postgres://me:pw@one:1,two:2/db?options=-cfoo=1&sslmode=disable".into(),
        ..Config::default()
    };
    let mut target = target::parse(&config, &config.url).unwrap();
    settle(&mut target.connection, &config, Purpose::Write);
    let hosts = one_by_one(&target.connection);
    assert_eq!(hosts.len(), 2);
    for (host, (name, port)) in hosts.iter().zip([("one", 1), ("two", 2)]) {
        assert_eq!(host.get_hosts(), [Host::Tcp(name.to_owned())]);
        assert_eq!(host.get_ports(), [port]);
        assert_eq!(host.get_user(), Some("me"));
        assert_eq!(host.get_options(), Some("-cfoo=1"));
        assert_eq!(
            host.get_target_session_attrs(),
            TargetSessionAttrs::ReadWrite
        );
    }
}

/// Asks one thing, on a connection of a new pool.
async fn ask(config: &Config, purpose: Purpose, sql: &str) -> Result<String, Error> {
    let pool = pool(config, purpose, 1)?;
    let client = acquire(&pool).await?;
    let row = client
        .query_one(sql, &[])
        .await
        .map_err(error::read_error("ask"))?;
    Ok(row.get(0))
}

fn quick(url: &str) -> Config {
    Config {
        url: url.into(),
        connect_timeout: ConfigDuration(Duration::from_millis(500)),
        ..Config::default()
    }
}

// Scenario: of two hosts the first refuses connections, or takes them and says nothing.
// Guarantees: the second is used.
#[test]
fn the_next_host_is_tried_when_one_does_not_answer() {
    let database = Database::create();
    let proxy = FaultProxy::start(database.address());
    let both = database
        .url()
        .replacen('@', &format!("@{},", proxy.address()), 1);
    let config = quick(&both);
    let ask_where = "SELECT inet_server_port()::text";
    wait(async {
        ask(&config, Purpose::Write, ask_where).await.unwrap();
        assert_eq!(proxy.accepted(), 1);
        proxy.freeze();
        ask(&config, Purpose::Write, ask_where).await.unwrap();
        assert_eq!(proxy.accepted(), 2);
        proxy.heal();
        proxy.refuse();
        ask(&config, Purpose::Write, ask_where).await.unwrap();
    });
}

// Scenario: no host answers.
// Guarantees: unavailable, in bounded time.
#[test]
fn a_database_that_does_not_answer_is_unavailable() {
    let database = Database::create();
    let proxy = FaultProxy::start(database.address());
    let config = quick(&database.url_through(proxy.address()));
    proxy.freeze();
    let error = wait(ask(&config, Purpose::Write, "SELECT ''")).unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    proxy.heal();
    proxy.refuse();
    let error = wait(ask(&config, Purpose::Write, "SELECT ''")).unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}

// Scenario: the database takes no writes, as a standby.
// Guarantees: it is good for queries and not for writing.
#[test]
fn a_read_only_server_is_not_written_to() {
    let database = Database::create();
    let read_only = "ALTER DATABASE CURRENT SET default_transaction_read_only = on";
    let name = database.value("SELECT current_database()");
    database.rows(&read_only.replace("CURRENT", &name));
    let config = quick(database.url());
    wait(async {
        ask(&config, Purpose::Read, "SELECT ''").await.unwrap();
        let error = ask(&config, Purpose::Write, "SELECT ''").await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    });
}

#[test]
fn a_password_is_never_shown() {
    let config = quick("postgres://me:MARKER@127.0.0.1:1/db?sslmode=disable");
    let pool = pool(&config, Purpose::Write, 1).unwrap();
    let error = wait(acquire(&pool)).unwrap_err();
    let shown = format!("{pool:?} {error:?} {error} {config:?}");
    assert!(!shown.contains("MARKER"), "{shown}");
}

/// An authority, and a server certificate of it for "localhost".
fn certificates(directory: &Path) -> (PathBuf, String, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    let path = directory.join("authority.pem");
    std::fs::write(&path, authority.pem()).unwrap();
    (path, leaf.pem(), key.serialize_pem())
}

/// Writes a file as the server does, so that it is its own.
fn write_as_server(database: &Database, path: &Path, text: &str) {
    database.rows(&format!(
        "COPY (SELECT unnest(string_to_array('{text}', E'\n')))
         TO PROGRAM 'umask 077; cat > {}'",
        path.display()
    ));
}

// Scenario: a server with a certificate for "localhost", reached by that name and by its address.
// Guarantees: each mode checks what it says, and encrypts.
#[test]
fn each_mode_checks_what_it_says() {
    let files = tempfile::tempdir().unwrap();
    let (authority, certificate, key) = certificates(files.path());
    let elsewhere = tempfile::tempdir().unwrap();
    let (other_authority, ..) = certificates(elsewhere.path());
    let server = Arc::new(Server::start(&[]));
    let database = server.database();
    let directory = server.directory();
    let (cert_file, key_file) = (directory.join("tls.pem"), directory.join("tls.key"));
    write_as_server(&database, &cert_file, &certificate);
    write_as_server(&database, &key_file, &key);
    for (name, file) in [("ssl_cert_file", &cert_file), ("ssl_key_file", &key_file)] {
        database.rows(&format!("ALTER SYSTEM SET {name} = '{}'", file.display()));
    }
    database.rows("ALTER SYSTEM SET ssl = on");
    database.rows("SELECT pg_reload_conf()");
    while database.value("SHOW ssl") != "on" {
        std::thread::sleep(Duration::from_millis(10));
    }
    let by_address = database.url().to_owned();
    let by_name = by_address.replace("127.0.0.1", "localhost");
    let encrypted = |url: &str, mode: &str, authority: Option<&PathBuf>| {
        let root = authority.map_or(String::new(), |path| {
            format!("&sslrootcert={}", path.display())
        });
        let config = quick(&format!("{url}?sslmode={mode}{root}"));
        let sql = "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        wait(ask(&config, Purpose::Write, sql))
    };
    let ours = Some(&authority);
    let theirs = Some(&other_authority);
    for (url, mode, authority, expected) in [
        (&by_address, "disable", None, Some("false")),
        (&by_address, "prefer", None, Some("true")),
        (&by_address, "require", None, Some("true")),
        (&by_address, "require", ours, Some("true")),
        (&by_address, "require", theirs, None),
        (&by_address, "verify-ca", ours, Some("true")),
        (&by_address, "verify-ca", theirs, None),
        (&by_name, "verify-full", ours, Some("true")),
        (&by_name, "verify-full", theirs, None),
        (&by_address, "verify-full", ours, None),
    ] {
        let found = encrypted(url, mode, authority);
        match (&found, expected) {
            (Ok(found), Some(expected)) => assert_eq!(found, expected, "{url} {mode}"),
            (Err(Error::Unavailable { .. }), None) => {}
            _ => panic!("{url} {mode} {authority:?}: {found:?}, not {expected:?}"),
        }
    }
}

#[test]
fn a_certificate_that_cannot_be_read_is_named() {
    let config = quick("postgres://db/x?sslmode=verify-full&sslrootcert=/does/not/exist.pem");
    let error = pool(&config, Purpose::Write, 1).err().unwrap();
    let shown = format!("{error:?}");
    assert!(shown.contains("/does/not/exist.pem"), "{shown}");
}

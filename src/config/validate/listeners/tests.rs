use super::*;

fn issues(change: impl FnOnce(&mut Config)) -> Vec<String> {
    let mut config = Config::default();
    change(&mut config);
    let mut issues = Vec::new();
    check(&config, CheckFiles::No, &mut issues);
    issues
        .iter()
        .map(|issue| format!("{}: {}", issue.path, issue.message))
        .collect()
}

fn grpc_at(config: &mut Config, endpoint: &str) {
    if let Some(grpc) = &mut config.receivers.otlp.protocols.grpc {
        grpc.endpoint = endpoint.to_owned();
    }
}

#[test]
fn endpoints_are_a_host_and_a_port() {
    for valid in [
        "127.0.0.1:0",
        "localhost:4317",
        "[::1]:65535",
        "otel-collector.svc:4317",
    ] {
        assert!(Endpoint::parse(valid).is_ok(), "{valid}");
    }
    for wrong in [
        "",
        "4317",
        ":4317",
        "localhost",
        "a:65536",
        "a:b",
        "::1:4317",
        "[::1]",
        "a b:1",
    ] {
        assert!(Endpoint::parse(wrong).is_err(), "{wrong}");
    }
    let explained = Endpoint::parse(":4317").unwrap_err();
    assert!(explained.contains("write 0.0.0.0"), "{explained}");
}

// Who may come without a key is asked for each request.
#[test]
fn any_address_may_be_listened_on() {
    let reachable = issues(|config| {
        grpc_at(config, "0.0.0.0:4317");
        config.gateway.endpoint = "[::]:3000".to_owned();
        config.service.telemetry.metrics.endpoint = "0.0.0.0:9464".to_owned();
    });
    assert_eq!(reachable, [""; 0]);
}

#[test]
fn two_listeners_on_one_port_clash() {
    for endpoint in ["127.0.0.1:4318", "localhost:4318"] {
        let clash = issues(|config| grpc_at(config, endpoint));
        assert_eq!(clash.len(), 1, "{clash:?}");
        let expected = "http.endpoint: 127.0.0.1:4318 is taken by receivers.otlp.protocols.grpc";
        assert!(clash.concat().contains(expected), "{clash:?}");
    }
    let any = issues(|config| {
        config.service.telemetry.metrics.endpoint = "0.0.0.0:3000".to_owned();
    });
    assert!(
        any.concat().contains("is taken by gateway.endpoint"),
        "{any:?}"
    );
    let apart = issues(|config| {
        grpc_at(config, "127.0.0.2:4318");
        config.gateway.endpoint = "127.0.0.1:0".to_owned();
        config.service.telemetry.metrics.endpoint = "127.0.0.1:0".to_owned();
    });
    assert_eq!(apart, [""; 0]);
}

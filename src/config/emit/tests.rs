use proptest::prelude::*;

use super::*;
use crate::config::{CheckFiles, Config, Environment, Sources, load};

fn reloaded(yaml: &str) -> Config {
    let sources = Sources {
        documents: vec![format!("yaml:{yaml}")],
        environment: Environment::of([("HOME", "/home/someone")]),
        ..Sources::default()
    };
    load(&sources, CheckFiles::No).unwrap()
}

#[test]
fn text_that_looks_like_something_else_is_quoted() {
    for text in [
        "", "true", "null", "~", "1", "1.5", "0x1F", "a: b", "- a", "$x", " a", "1e5",
    ] {
        let mut yaml = String::new();
        write_text(text, &mut yaml);
        assert!(yaml.starts_with('"'), "{text} was written as {yaml}");
    }
}

#[test]
fn keys_keep_the_order_of_the_structs() {
    let yaml = to_yaml(&Config::default()).unwrap();
    let receivers = yaml.find("receivers:").unwrap();
    let auth = yaml.find("auth:").unwrap();
    assert!(receivers < auth, "{yaml}");
}

proptest! {
    // Scenario: a configuration with any text in its paths and lists, printed and loaded again.
    // Guarantees: it comes back equal, so that print-config's output can be used as a file.
    #[test]
    fn printed_configurations_load_as_what_they_were(
        directory in r#"(\$|\{|"|\\|: |#|\n|\t|\x{7f}|\x{85}|\x{2028}|\x{feff}|\PC|.){1,16}"#,
        header in r"(\$|, |\]|\PC){0,8}",
        readers in 1_u32..256,
        grpc in any::<bool>(),
    ) {
        let mut config = Config::default();
        config.service.data_dir = format!("/{directory}").into();
        config.storage.sqlite.readers = readers;
        config.gateway.cors = Some(crate::net::cors::Config {
            allowed_headers: vec![header, "true".to_owned()],
            ..crate::net::cors::Config::default()
        });
        if grpc {
            config.receivers.otlp.protocols.http = None;
        }
        prop_assert_eq!(reloaded(&to_yaml(&config).unwrap()), config);
    }
}

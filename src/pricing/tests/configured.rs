//! Prices of the configuration.

use super::*;

fn override_of(model: &str) -> Override {
    Override {
        model: model.to_owned(),
        ..Override::default()
    }
}

#[test]
fn entries_of_the_configuration_come_first() {
    let mine = Override {
        input: Some(1.5),
        output: Some(4.0),
        cache_read: Some(0.15),
        long_context: Some(LongContext {
            above: 1_000,
            input: Some(3.0),
            ..LongContext::default()
        }),
        ..override_of("GPT-4o*")
    };
    let table = Table::new(&[mine]).unwrap();
    let mut pricer = Pricer::new(&table);
    // 60 × 1,500 + 40 × 150 = 96,000; 20 × 4,000.
    let usage = Usage {
        cache_read: Some(40),
        ..tokens(100, 20)
    };
    let cost = pricer.price(&call("openai", "gpt-4o-mini", usage));
    assert_eq!(
        (cost.input, cost.output, cost.total),
        (Some(96_000), Some(80_000), Some(176_000))
    );
    assert_eq!(cost.source, Some(CostSource::Computed));
    assert!(cost.price_version.unwrap().starts_with("config-"));
    // Large: 2,000 × 3,000; the output rate stays: 20 × 4,000.
    let cost = pricer.price(&call("openai", "gpt-4o", tokens(2_000, 20)));
    assert_eq!((cost.input, cost.output), (Some(6_000_000), Some(80_000)));
    // Others have the prices of the built-in table: 1,000 × 2,000.
    let cost = pricer.price(&call("openai", "gpt-4.1", tokens(1_000, 0)));
    assert_eq!(cost.total, Some(2_000_000));
    assert_eq!(cost.price_version.as_deref(), Some(Table::version()));
}

#[test]
fn entries_have_dates_providers_and_other_names() {
    let at = |from: &str, input| Override {
        provider: Some("my_provider".to_owned()),
        from: Some(from.to_owned()),
        input: Some(input),
        ..override_of("house-model")
    };
    let alias = Override {
        priced_as: Some("gpt-4o-mini".to_owned()),
        ..override_of("my-deployment")
    };
    let table = Table::new(&[at("2025-01-01", 1.0), at("2026-01-01", 2.0), alias]).unwrap();
    let mut pricer = Pricer::new(&table);
    // 1,000 × 2,000 in January 2026; 1,000 × 1,000 on 2025-06-10.
    let house = call("my_provider", "house-model", tokens(1_000, 0));
    assert_eq!(pricer.price(&house).total, Some(2_000_000));
    let earlier = Call {
        start_unix_nano: 1_749_513_600_000_000_000,
        ..house
    };
    assert_eq!(pricer.price(&earlier).total, Some(1_000_000));
    // Another provider's model of that name is not meant.
    assert_eq!(
        pricer.price(&call("openai", "house-model", tokens(1_000, 0))),
        unpriced()
    );
    // 1,000 × 150, as gpt-4o-mini.
    let cost = pricer.price(&call("azure.ai.openai", "my-deployment", tokens(1_000, 0)));
    assert_eq!(cost.total, Some(150_000));
    assert!(cost.price_version.unwrap().starts_with("config-"));
}

#[test]
fn entries_that_say_nothing_are_refused() {
    let refused = |one: Override| Table::new(&[one]).unwrap_err();
    assert_eq!(refused(override_of(" *")), Error::NoModel);
    assert_eq!(refused(override_of("m")), Error::NoRates("m".to_owned()));
    for rate in [-1.0, f64::NAN, f64::INFINITY, 1e7] {
        let one = Override {
            input: Some(rate),
            ..override_of("m")
        };
        assert!(matches!(refused(one), Error::Rate { .. }), "{rate}");
    }
    let date = Override {
        from: Some("yesterday".to_owned()),
        input: Some(1.0),
        ..override_of("m")
    };
    assert!(matches!(refused(date), Error::Date { .. }));
    let both = Override {
        priced_as: Some("gpt-4o".to_owned()),
        input: Some(1.0),
        ..override_of("m")
    };
    assert_eq!(refused(both), Error::Both("m".to_owned()));
}

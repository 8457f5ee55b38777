use super::*;

struct Words<'w> {
    tool: &'w str,
    tags: Vec<&'w str>,
}

impl Texts for Words<'_> {
    fn value(&self, dimension: Dimension) -> &str {
        match dimension {
            Dimension::Tool => self.tool,
            _ => "",
        }
    }

    fn tags(&self) -> Vec<&str> {
        self.tags.clone()
    }
}

fn query(group_by: &[Dimension]) -> AnalyticsQuery {
    AnalyticsQuery {
        start_minute: 0,
        end_minute: 10,
        step_minutes: Some(1),
        group_by: group_by.to_vec(),
        filters: Vec::new(),
        durations: true,
        details: true,
        limit: 100,
    }
}

fn call(start_unix_nano: i64) -> Sample {
    Sample {
        start_unix_nano,
        duration_ns: 5,
        is_model_call: true,
        usage: Usage {
            input: Some(3),
            reasoning: Some(2),
            ..Usage::default()
        },
        cost_source: Some(CostSource::Unpriced),
        time_to_first_token_ns: Some(7),
        ..Sample::default()
    }
}

const NONE: Words<'static> = Words {
    tool: "",
    tags: Vec::new(),
};

fn counts(answer: &AnalyticsAnswer) -> Vec<(i64, u64)> {
    let rows = answer.rows.iter();
    rows.map(|row| (row.bucket_minute, row.measures.span_count))
        .collect()
}

// Scenario: spans shown roughly newest first, and the work ends before all have been shown.
// Guarantees: exactly the seconds that were shown whole are counted, and the answer says which.
#[test]
fn what_was_not_shown_whole_is_not_counted() {
    let query = query(&[]);
    let at = |seconds: i64| seconds * NS_PER_SECOND + 17;
    let show = |upto: i64| {
        let mut tally = Tally::new(&query);
        for second in [200, 150, 170, 90, 100, 91] {
            tally.add(&call(at(second)), &NONE);
        }
        assert!(tally.shown_from(upto));
        tally.add(&call(at(210)), &NONE);
        tally.add(&call(at(20)), &NONE);
        tally
    };
    let partial = show(at(150)).partial();
    assert_eq!(counts(&partial), [(2, 1), (3, 2)]);
    assert_eq!(partial.counted_from_unix_nano, Some(151_000_000_000));
    let partial = show(150 * NS_PER_SECOND).partial();
    assert_eq!(counts(&partial), [(2, 2), (3, 2)]);
    assert_eq!(partial.counted_from_unix_nano, Some(150_000_000_000));
    let whole = show(at(150)).whole();
    assert_eq!(counts(&whole), [(0, 1), (1, 3), (2, 2), (3, 2)]);
    assert_eq!(whole.counted_from_unix_nano, None);
    let nothing = Tally::new(&query).partial();
    assert_eq!(nothing.counted_from_unix_nano, Some(600_000_000_000));
}

#[test]
fn a_span_counts_for_each_of_its_tags_and_details_are_of_model_calls() {
    let query = query(&[Dimension::Tag, Dimension::Tool]);
    let mut tally = Tally::new(&query);
    let tagged = Words {
        tool: "t",
        tags: vec!["b", "a", "b"],
    };
    tally.add(&call(1), &tagged);
    tally.add(&call(2), &NONE);
    let plain = Sample {
        is_model_call: false,
        ..call(3)
    };
    tally.add(&plain, &NONE);
    let answer = tally.whole();
    let rows: Vec<_> = answer
        .rows
        .iter()
        .map(|row| (row.group.join("/"), row.measures.span_count))
        .collect();
    let row = |group: &str, count| (group.to_owned(), count);
    assert_eq!(rows, [row("/", 2), row("a/t", 1), row("b/t", 1)]);
    let details = &answer.rows[0].measures.details;
    assert_eq!((details.reasoning_tokens, details.unpriced_calls), (2, 1));
    assert_eq!(details.first_tokens.count(), 1);
    assert_eq!(answer.rows[0].measures.totals.input_tokens, 3);
}

use super::*;

const TRACE: &str = r#"{"trace_id":"0d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11","timestamp":"2026-01-05T10:00:00Z","provider":"openai","model_requested":"m","request_body":{},"status":"success","latency_ms":1}"#;

fn spans(request: &ExportTraceServiceRequest) -> Vec<&opentelemetry_proto::tonic::trace::v1::Span> {
    let scopes = request.resource_spans.iter().flat_map(|it| &it.scope_spans);
    scopes.flat_map(|scope| &scope.spans).collect()
}

#[test]
fn a_row_is_what_was_posted() {
    let row = TRACE.replace(
        "\"latency_ms\":1",
        "\"latency_ms\":1,\"project_id\":\"p\",\"error\":null",
    );
    let row = of_row(Table::Traces, "x", &row).unwrap();
    let [Ok(line)] = &of_line("line 1", TRACE.as_bytes())[..] else {
        panic!("one unit");
    };
    let [one, other] = [&row, line].map(|unit| request(std::slice::from_ref(unit)));
    assert_eq!(one, other);
    assert_eq!(spans(&one)[0].trace_id[..2], [0x0d, 0x5f]);
}

#[test]
fn times_of_databases_are_taken() {
    let shown = |value: Json| moment(value).as_text().map(str::to_owned);
    for time in [
        Json::Number(1_767_607_200.0),
        Json::Number(1_767_607_200_000.0),
    ] {
        assert_eq!(shown(time).unwrap(), "2026-01-05T10:00:00.000Z");
    }
    for (given, expected) in [
        ("2026-01-05 10:00:00.5", "2026-01-05T10:00:00.5Z"),
        ("2026-01-05 10:00:00+02:00", "2026-01-05T10:00:00+02:00"),
        ("2026-01-05T10:00:00Z", "2026-01-05T10:00:00Z"),
        ("soon", "soon"),
    ] {
        assert_eq!(shown(Json::text(given)).unwrap(), expected);
    }
}

#[test]
fn what_is_wrong_is_said_by_field() {
    let wrong = TRACE.replace("openai", "acme").replace(":1}", ":-1}");
    let bad = of_row(Table::Traces, "t", &wrong).unwrap_err();
    assert_eq!(bad.label, "traces t");
    let named = ["provider: Invalid option", "; latency_ms: Too small"];
    assert!(named.iter().all(|it| bad.reason.contains(it)), "{bad:?}");
    for (line, reason) in [
        ("{", "no JSON"),
        ("[]", "neither"),
        ("{\"resourceLogs\":[]}", "logs or metrics"),
        ("{\"resourceSpans\":5}", "is no list"),
    ] {
        let [Err(bad)] = &of_line("line 1", line.as_bytes())[..] else {
            panic!("{line}");
        };
        assert!(bad.reason.contains(reason), "{bad:?}");
    }
}

#[test]
fn long_requests_are_cut_and_lose_nothing() {
    let span = |number: u32| {
        format!(
            r#"{{"traceId":"{:032x}","spanId":"{:016x}","name":"n"}}"#,
            number + 1,
            number + 1
        )
    };
    let all: Vec<String> = (0..2500).map(span).collect();
    let line = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"s"}}}}]}},"scopeSpans":[{{"scope":{{"name":"sc"}},"spans":[{},{{"name":"no ids"}},null]}}]}}]}}"#,
        all.join(",")
    );
    let units = || of_line("line 1", line.as_bytes());
    let good: Vec<Unit> = units().into_iter().flatten().collect();
    assert_eq!(good.iter().map(|unit| unit.spans).sum::<u64>(), 2501);
    let lost: Vec<Bad> = units().into_iter().filter_map(Result::err).collect();
    assert_eq!(lost.iter().map(|bad| bad.spans).sum::<u64>(), 1);
    let whole = request(&good);
    assert_eq!(spans(&whole).len(), 2501);
    assert!(whole.resource_spans.iter().all(|it| it.resource.is_some()));
    // Ids that are made are made alike.
    let again: Vec<Unit> = units().into_iter().flatten().collect();
    assert_eq!(request(&again), whole);
}

#[test]
fn parts_of_a_long_request_share_its_resource() {
    let scope = |number: usize| {
        let spans: Vec<String> = (0..10)
            .map(|span| {
                let id = number * 10 + span + 1;
                format!(r#"{{"traceId":"{id:032x}","spanId":"{id:016x}","name":"n"}}"#)
            })
            .collect();
        format!(
            r#"{{"scope":{{"name":"sc{number}"}},"spans":[{}]}}"#,
            spans.join(",")
        )
    };
    let scopes: Vec<String> = (0..200).map(scope).collect();
    let line = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"long","value":{{"stringValue":"{}"}}}}]}},"scopeSpans":[{}]}}]}}"#,
        "x".repeat(10_000),
        scopes.join(",")
    );
    let units = of_line("line 1", line.as_bytes());
    let good: Vec<Unit> = units.into_iter().map(Result::unwrap).collect();
    assert_eq!(good.len(), 200);
    let wholes = good.iter().map(|unit| match &unit.content {
        Content::Part(part) => Arc::as_ptr(&part.whole),
        content => panic!("{content:?}"),
    });
    assert_eq!(wholes.collect::<std::collections::HashSet<_>>().len(), 1);
    for (number, unit) in good.iter().enumerate() {
        let sent = request(std::slice::from_ref(unit));
        assert_eq!(sent.encoded_len(), unit.bytes);
        assert_eq!(spans(&sent).len(), 10);
        let resource = &sent.resource_spans[0];
        assert_eq!(resource.resource.as_ref().unwrap().attributes.len(), 1);
        let scope = resource.scope_spans[0].scope.as_ref().unwrap();
        assert_eq!(scope.name, format!("sc{number}"));
    }
}

#[test]
fn kinds_mix_in_one_request() {
    let span = r#"{"span_id":"s","session_id":"x","timestamp":"2026-01-05T10:00:00Z","source":"sdk","kind":"tool_use","event_type":"e","status":"success"}"#;
    let otlp = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000001","name":"n"}]}]}]}"#;
    let units: Vec<Unit> = [TRACE, span, otlp, TRACE]
        .iter()
        .flat_map(|line| of_line("line", line.as_bytes()))
        .flatten()
        .collect();
    let names: Vec<String> = spans(&request(&units))
        .iter()
        .map(|it| it.name.clone())
        .collect();
    assert_eq!(names, ["chat m", "e", "n", "chat m"]);
}

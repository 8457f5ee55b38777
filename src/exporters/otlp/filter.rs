//! Which of what was accepted is sent.

use super::config::Config;
use crate::model::ProjectId;
use crate::otlp::Signal;
use crate::otlp::protobuf::{KeyValues, ResourceSpans};

/// Longest pattern of a service.
const PATTERN_BYTES_MAX: usize = 255;
const SERVICE_NAME: &str = "service.name";

/// What is wrong with a pattern of a service.
pub(super) fn problem(pattern: &str) -> Option<String> {
    let length = pattern.len();
    let usual = (1..=PATTERN_BYTES_MAX).contains(&length);
    (!usual).then(|| format!("a name has 1 to {PATTERN_BYTES_MAX} bytes, not {length}"))
}

/// Decides what is sent.
#[derive(Debug)]
pub(super) struct Filter {
    signals: Vec<Signal>,
    projects: Vec<ProjectId>,
    services: Vec<String>,
}

impl Filter {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            signals: config.signals.iter().map(|name| (*name).into()).collect(),
            projects: config.projects.iter().copied().map(ProjectId).collect(),
            services: config.services.clone(),
        }
    }

    /// Whether anything of such a record is sent.
    pub(super) fn wants(&self, project: ProjectId, signal: Signal) -> bool {
        let of_project = self.projects.is_empty() || self.projects.contains(&project);
        of_project && self.signals.contains(&signal)
    }

    /// Whether resources must be looked at.
    pub(super) fn looks_at_resources(&self) -> bool {
        !self.services.is_empty()
    }

    /// Whether the telemetry of an encoded `ResourceSpans`, or the like of it, is sent.
    pub(super) fn wants_resource(&self, encoded: &[u8]) -> bool {
        if self.services.is_empty() {
            return true;
        }
        let resource = ResourceSpans::parse(encoded).map(|it| it.resource);
        let name = resource.map(|resource| service_name(&resource));
        let name = name.unwrap_or_default();
        self.services.iter().any(|pattern| matches(pattern, &name))
    }
}

/// `service.name` of an encoded `Resource`; empty when it has none.
fn service_name(resource: &[u8]) -> String {
    let attributes = KeyValues::of_resource(resource).ok();
    let named = attributes.and_then(|all| all.iter().find(|pair| pair.key == SERVICE_NAME));
    named.map_or_else(String::new, |pair| pair.value.text().into_owned())
}

/// Whether a name is what a pattern says; `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            // An empty part leaves all of the rest.
            _ if part.is_empty() => {}
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name) in [
            ("web", "web"),
            ("*", ""),
            ("*", "web"),
            ("web-*", "web-1"),
            ("web-*", "web-"),
            ("*-api", "eu-api"),
            ("a*b*c", "a-b-b-c"),
            ("a**c", "abc"),
            ("*b*", "abc"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("web", "web-1"),
            ("web", ""),
            ("web-*", "api-1"),
            ("*-api", "api"),
            ("a*b*c", "a-c"),
            ("ab*ba", "aba"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn projects_signals_and_services_are_chosen() {
        use crate::otlp::protobuf::select;
        use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
        use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
        use opentelemetry_proto::tonic::resource::v1::Resource;
        use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
        use prost::Message as _;

        let config = Config {
            signals: vec![super::super::SignalName::Traces],
            projects: vec![1, 3],
            services: vec!["web*".to_owned()],
            ..Config::default()
        };
        let filter = Filter::new(&config);
        assert!(filter.wants(ProjectId(3), Signal::Traces));
        assert!(!filter.wants(ProjectId(2), Signal::Traces));
        assert!(!filter.wants(ProjectId(1), Signal::Logs));
        let of = |name: &str| ResourceSpans {
            resource: Some(Resource {
                attributes: vec![KeyValue {
                    key: "service.name".to_owned(),
                    value: Some(AnyValue {
                        value: Some(any_value::Value::StringValue(name.to_owned())),
                    }),
                    ..KeyValue::default()
                }],
                ..Resource::default()
            }),
            ..ResourceSpans::default()
        };
        let request = ExportTraceServiceRequest {
            resource_spans: vec![of("web-1"), of("api"), ResourceSpans::default(), of("web")],
        };
        let kept = select(
            Signal::Traces,
            &request.encode_to_vec(),
            &|resource| filter.wants_resource(resource),
            &mut |_| Ok(()),
        );
        let kept = ExportTraceServiceRequest::decode(kept.unwrap().unwrap().as_slice()).unwrap();
        assert_eq!(kept.resource_spans, [of("web-1"), of("web")]);
    }
}

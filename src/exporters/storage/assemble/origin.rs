//! Rows of what spans come from: resources and instrumentation scopes.

use std::borrow::Cow;

use crate::otlp::protobuf::{KeyValues, ResourceSpans, Scope, ScopeSpans};
use crate::queue::Record;
use crate::semconv;
use crate::storage::{ResourceRow, ScopeRow};

/// What a resource without `service.name` is called (semantic conventions, "Service").
const UNKNOWN_SERVICE: &str = "unknown_service";

pub(super) fn resource_row<'a>(record: &Record, spans: &ResourceSpans<'a>) -> ResourceRow<'a> {
    let names = match &spans.resource {
        Cow::Borrowed(message) => ServiceNames::read(message),
        // Came in parts, so that nothing outlives this function to borrow from.
        Cow::Owned(message) => ServiceNames::read(message).into_owned(),
    };
    ResourceRow {
        project: record.project,
        message: spans.resource.clone(),
        schema_url: spans.schema_url,
        service_name: names.name.unwrap_or(Cow::Borrowed(UNKNOWN_SERVICE)),
        service_version: names.version,
        service_instance: names.instance,
        environment: names.environment.or(names.environment_old),
    }
}

/// The name of the service that a resource names.
pub(super) fn service_of<'r>(spans: &'r ResourceSpans<'_>) -> Cow<'r, str> {
    let names = ServiceNames::read(&spans.resource);
    names.name.unwrap_or(Cow::Borrowed(UNKNOWN_SERVICE))
}

pub(super) fn scope_row<'a>(record: &Record, spans: &ScopeSpans<'a>) -> ScopeRow<'a> {
    let (name, version) = match &spans.scope {
        Cow::Borrowed(message) => {
            let scope = Scope::parse(message).unwrap_or_default();
            (Cow::Borrowed(scope.name), Cow::Borrowed(scope.version))
        }
        Cow::Owned(message) => {
            let scope = Scope::parse(message).unwrap_or_default();
            (
                Cow::Owned(scope.name.to_owned()),
                Cow::Owned(scope.version.to_owned()),
            )
        }
    };
    ScopeRow {
        project: record.project,
        message: spans.scope.clone(),
        schema_url: spans.schema_url,
        name,
        version,
    }
}

/// What a resource says about its service.
#[derive(Debug, Default)]
struct ServiceNames<'a> {
    name: Option<Cow<'a, str>>,
    version: Option<Cow<'a, str>>,
    instance: Option<Cow<'a, str>>,
    environment: Option<Cow<'a, str>>,
    environment_old: Option<Cow<'a, str>>,
}

impl<'a> ServiceNames<'a> {
    fn read(resource: &'a [u8]) -> Self {
        let mut names = Self::default();
        let attributes = KeyValues::of_resource(resource).unwrap_or_default();
        for attribute in attributes.iter() {
            let Some(text) = attribute.value.as_str().filter(|text| !text.is_empty()) else {
                continue;
            };
            let place = match attribute.key {
                "service.name" => &mut names.name,
                "service.version" => &mut names.version,
                "service.instance.id" => &mut names.instance,
                "deployment.environment.name" => &mut names.environment,
                "deployment.environment" => &mut names.environment_old,
                _ => continue,
            };
            *place = Some(Cow::Borrowed(semconv::cut(text)));
        }
        names
    }

    fn into_owned(self) -> ServiceNames<'static> {
        let own = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        ServiceNames {
            name: own(self.name),
            version: own(self.version),
            instance: own(self.instance),
            environment: own(self.environment),
            environment_old: own(self.environment_old),
        }
    }
}

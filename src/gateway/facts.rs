//! What spans must say: parameters that the lists of traces and spans share.

use super::params::Params;
use crate::model::failure::ErrorKind;
use crate::storage::StatusFilter;
use crate::storage::query::Fact;

/// Makes a fact of a text.
type Make = fn(String) -> Fact;

/// `status`, and the facts: `operation`, `provider`, `model`, `agent`, `tool`, `tag` and
/// `error_kind`.
pub(super) fn read(params: &mut Params) -> (Option<StatusFilter>, Vec<Fact>) {
    let texts: [(&str, Make); 6] = [
        ("operation", Fact::Operation),
        ("provider", Fact::Provider),
        ("model", Fact::Model),
        ("agent", Fact::Agent),
        ("tool", Fact::Tool),
        ("tag", Fact::Tag),
    ];
    let status = params.status();
    let mut facts: Vec<_> = texts
        .into_iter()
        .filter_map(|(name, fact)| params.text(name).map(fact))
        .collect();
    let kinds = ErrorKind::ALL.map(|kind| (kind.as_str(), kind));
    if let Some(kind) = params.choice("error_kind", &kinds) {
        if status == Some(StatusFilter::Ok) {
            params.reject("error_kind", "is of failures; status is ok");
        }
        facts.push(Fact::ErrorKind(kind));
    }
    (status, facts)
}

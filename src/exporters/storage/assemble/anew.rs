//! Taking the columns of stored spans anew.

use super::attributes::read_attributes;
use crate::model::ProjectId;
use crate::model::span::Basics;
use crate::otlp::protobuf::Span;
use crate::pricing;
use crate::processors::limits;
use crate::semconv;
use crate::storage::remap::Mapper;

/// Maps stored spans as the assembler maps new ones.
#[derive(Debug, Clone)]
pub struct Remapper {
    /// What one span may carry.
    pub limits: limits::Config,
    /// What model calls cost.
    pub prices: pricing::Book,
}

impl Mapper for Remapper {
    fn map<'m>(
        &self,
        project: ProjectId,
        spans: &[(&'m str, &'m [u8])],
    ) -> Vec<Option<Basics<'m>>> {
        let mut columns = semconv::Collector::new(self.prices.of(project));
        let mut scope = None;
        let map = |(name, message): &(&'m str, &'m [u8])| {
            if scope.replace(*name) != Some(name) {
                columns.scope(name);
            }
            let span = Span::parse(message).ok()?;
            // A stored message has an id.
            span.ids().ok()?;
            Some(read_attributes(&span, &self.limits, &mut columns).0)
        };
        spans.iter().map(map).collect()
    }
}

//! A collector of columns for each set of prices.

use crate::model::ProjectId;
use crate::pricing::Book;
use crate::semconv::Collector;

/// Collectors of columns: one for all projects without prices of their own, and one for each of the
/// others.
#[derive(Debug)]
pub(super) struct Collectors<'a, 't> {
    book: &'t Book,
    shared: Collector<'a, 't>,
    own: Vec<(ProjectId, Collector<'a, 't>)>,
}

impl<'a, 't> Collectors<'a, 't> {
    pub(super) fn new(book: &'t Book) -> Self {
        Self {
            book,
            shared: Collector::new(book.base()),
            own: Vec::new(),
        }
    }

    /// The collector for a project's spans.
    pub(super) fn of(&mut self, project: ProjectId) -> &mut Collector<'a, 't> {
        let Some(prices) = self.book.own(project) else {
            return &mut self.shared;
        };
        let known = self.own.iter().position(|(of, _)| *of == project);
        let place = known.unwrap_or_else(|| {
            self.own.push((project, Collector::new(prices)));
            self.own.len() - 1
        });
        match self.own.get_mut(place) {
            Some((_, collector)) => collector,
            None => &mut self.shared,
        }
    }
}

//! The prices of all projects.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::{Error, Override, Table};
use crate::model::ProjectId;

/// The prices of all projects: those that some have settled for themselves come before the
/// configured ones. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Book {
    base: Table,
    projects: BTreeMap<ProjectId, Table>,
}

impl Book {
    /// The built-in table for all projects.
    #[must_use]
    pub fn builtin() -> &'static Self {
        static BUILTIN: LazyLock<Book> = LazyLock::new(Book::default);
        &BUILTIN
    }

    /// The same prices for all projects.
    #[must_use]
    pub fn new(base: Table) -> Self {
        Self {
            base,
            projects: BTreeMap::new(),
        }
    }

    /// Replaces the entries of all projects. Where prices are switched off, they stay off.
    /// Answers whose entries can't be used; those projects have the configured prices.
    pub fn settle(
        &mut self,
        projects: impl IntoIterator<Item = (ProjectId, Vec<Override>)>,
    ) -> Vec<(ProjectId, Error)> {
        let mut refused = Vec::new();
        self.projects.clear();
        for (project, entries) in projects {
            match self.base.before(&entries) {
                Ok(table) => {
                    self.projects.insert(project, table);
                }
                Err(error) => refused.push((project, error)),
            }
        }
        refused
    }

    /// What calls of a project cost.
    #[must_use]
    pub fn of(&self, project: ProjectId) -> &Table {
        self.own(project).unwrap_or(&self.base)
    }

    /// The same, if the project has entries of its own.
    #[must_use]
    pub fn own(&self, project: ProjectId) -> Option<&Table> {
        self.projects.get(&project)
    }

    /// What calls of all other projects cost.
    #[must_use]
    pub const fn base(&self) -> &Table {
        &self.base
    }
}

impl From<Table> for Book {
    fn from(base: Table) -> Self {
        Self::new(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(model: &str, input: f64) -> Override {
        serde_json::from_value(serde_json::json!({"model": model, "input": input})).unwrap()
    }

    fn input_price(table: &Table, model: &str) -> Option<f64> {
        let listed = table.look_up(None, model, 0)?;
        Some(listed.prices.first()?.rates.first()?.usd)
    }

    #[test]
    fn a_projects_entries_come_before_the_configured_ones() {
        let base = Table::new(&[entry("a", 1.0), entry("b", 1.0)]).unwrap();
        let mut book = Book::new(base);
        let (own, other) = (ProjectId(7), ProjectId(8));
        let refused = book.settle([
            (own, vec![entry("a", 5.0)]),
            (ProjectId(9), vec![entry("", 5.0)]),
        ]);
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].0, ProjectId(9));
        assert_eq!(input_price(book.of(own), "a"), Some(5.0));
        assert_eq!(input_price(book.of(own), "b"), Some(1.0));
        for project in [other, ProjectId(9)] {
            assert_eq!(input_price(book.of(project), "a"), Some(1.0));
            assert!(book.own(project).is_none());
        }
        book.settle([]);
        assert_eq!(input_price(book.of(own), "a"), Some(1.0));
    }

    #[test]
    fn prices_that_are_off_stay_off() {
        let mut book = Book::new(Table::disabled());
        book.settle([(ProjectId(7), vec![entry("a", 5.0)])]);
        assert!(!book.of(ProjectId(7)).is_enabled());
    }
}

//! Adding traces up by user. Pure: sums, minima and maxima.

use std::collections::BTreeMap;

use super::query::{Cursor, Page, PageRequest, UserSummary};
use crate::model::genai::Totals;

/// Users added up at most: bounds memory.
const USERS_MAX: usize = 100_000;

/// What a trace adds to its user.
#[derive(Debug, Clone, Copy)]
pub struct TraceOfUser {
    /// Earliest start of a span, ns.
    pub start_unix_nano: u64,
    /// Latest end of a span, ns.
    pub end_unix_nano: u64,
    /// Spans.
    pub span_count: u64,
    /// Those that failed.
    pub error_count: u64,
    /// Tokens and cost of its model calls.
    pub totals: Totals,
}

/// Users by id.
#[derive(Debug, Default)]
pub struct Users {
    by_id: BTreeMap<String, UserSummary>,
}

impl Users {
    /// Adds a trace of a user.
    pub fn add(&mut self, user_id: &str, trace: &TraceOfUser) {
        let user = match self.by_id.get_mut(user_id) {
            Some(user) => user,
            None => self.by_id.entry(user_id.to_owned()).or_insert(UserSummary {
                user_id: user_id.to_owned(),
                first_seen_unix_nano: trace.start_unix_nano,
                last_seen_unix_nano: trace.end_unix_nano,
                trace_count: 0,
                failed_trace_count: 0,
                span_count: 0,
                totals: Totals::default(),
            }),
        };
        user.first_seen_unix_nano = user.first_seen_unix_nano.min(trace.start_unix_nano);
        user.last_seen_unix_nano = user.last_seen_unix_nano.max(trace.end_unix_nano);
        user.trace_count += 1;
        user.failed_trace_count += u64::from(trace.error_count > 0);
        user.span_count = user.span_count.saturating_add(trace.span_count);
        user.totals.add(trace.totals);
    }

    /// Whether no more users may be added.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.by_id.len() >= USERS_MAX
    }

    /// A page of the users, last seen first; of those seen at the same time by id.
    #[must_use]
    pub fn page(self, request: &PageRequest) -> Page<UserSummary> {
        let is_left = |user: &UserSummary| match &request.after {
            None => true,
            Some(after) => {
                let seen = user.last_seen_unix_nano;
                seen < after.unix_nano
                    || (seen == after.unix_nano && user.user_id.as_bytes() > after.key.as_slice())
            }
        };
        let mut items: Vec<_> = self.by_id.into_values().filter(is_left).collect();
        // Stable: users seen at the same time stay in the order of their ids.
        items.sort_by_key(|user| std::cmp::Reverse(user.last_seen_unix_nano));
        let limit = request.limit.max(1);
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| has_more).map(|user| Cursor {
            unix_nano: user.last_seen_unix_nano,
            key: user.user_id.clone().into_bytes(),
        });
        Page { items, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(start: u64, end: u64, failed: bool) -> TraceOfUser {
        TraceOfUser {
            start_unix_nano: start,
            end_unix_nano: end,
            span_count: 2,
            error_count: u64::from(failed),
            totals: Totals {
                llm_calls: 1,
                ..Totals::default()
            },
        }
    }

    #[test]
    fn pages_join_to_all_users_last_seen_first() {
        let users = || {
            let mut users = Users::default();
            users.add("b", &trace(5, 9, true));
            users.add("a", &trace(1, 9, false));
            users.add("c", &trace(7, 30, false));
            users.add("b", &trace(2, 3, false));
            users
        };
        for limit in 1..=4 {
            let mut request = PageRequest { limit, after: None };
            let mut found = Vec::new();
            loop {
                let page = users().page(&request);
                found.extend(page.items);
                request.after = page.next;
                if request.after.is_none() {
                    break;
                }
            }
            let ids: Vec<_> = found.iter().map(|user| user.user_id.as_str()).collect();
            assert_eq!(ids, ["c", "a", "b"], "limit {limit}");
            let user = &found[2];
            assert_eq!(
                (user.first_seen_unix_nano, user.last_seen_unix_nano),
                (2, 9)
            );
            assert_eq!((user.trace_count, user.failed_trace_count), (2, 1));
            assert_eq!((user.span_count, user.totals.llm_calls), (4, 2));
        }
    }
}

//! `GET /projects/{id}/analytics`: what the mobile SDK told, added up.
//!
//! Read newest first by an index of its own, up to a number of events and a time; what was left out
//! then is said (`isPartial`). Of a group of crashes its issue keeps since when and how often it came.

mod sums;

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use http::StatusCode;

use super::super::super::{Shared, window};
use super::super::answer::Answer;
use super::{Owner, SERVER, succeeded};
use crate::model::ProjectId;
use crate::model::event::EventSource;
use crate::model::fingerprint::Fingerprint;
use crate::receivers::pulse::json::Json;
use crate::storage::events::EventFilter;
use crate::storage::issues::{Issue, IssueStatus};
use crate::storage::{Error, PageRequest, TimeRange};
use sums::{Crashes, Known, Report};

/// Events added up at most.
const EVENTS_MAX: usize = 50_000;
/// Events read at once.
const EVENTS_TOGETHER: usize = 500;
const DAY_NS: u64 = 24 * 3600 * 1_000_000_000;
/// How far back crashes are counted by version and device.
const CRASH_DAYS: u64 = 30;
/// How far back all else is.
const DAYS: u64 = 7;

/// Adds up what was told; whether anything was left out.
async fn read(shared: &Shared, project: ProjectId, now: u64) -> Result<(Report, bool), Error> {
    // Some of the time is for the answer.
    let patience = shared.config.query_timeout.0 / 5 * 4;
    let began = Instant::now();
    let mut report = Report::since(now.saturating_sub(DAYS * DAY_NS));
    let filter = EventFilter {
        range: TimeRange {
            start_unix_nano: Some(now.saturating_sub(CRASH_DAYS * DAY_NS)),
            end_unix_nano: None,
        },
        source: Some(EventSource::PulseBoardAnalytics),
        ..EventFilter::default()
    };
    let mut page = PageRequest {
        limit: EVENTS_TOGETHER,
        after: None,
    };
    let mut count = 0;
    loop {
        let found = shared.reader.list_events(project, &filter, &page).await?;
        count += found.items.len();
        for event in &found.items {
            report.add(event);
        }
        if found.next.is_none() {
            return Ok((report, false));
        }
        if count >= EVENTS_MAX || began.elapsed() >= patience {
            return Ok((report, true));
        }
        page.after = found.next;
    }
}

/// What is known of a group of crashes beyond the time of the report: whether people say that it is
/// mended and it did not come back, how often it came and since when.
async fn known(shared: &Shared, project: ProjectId, print: &str) -> Result<Known, Error> {
    let issues = shared.issues.issue(project, Fingerprint::of_text(print));
    let issues = issues.await?;
    let all = |issue: &Issue| issue.status() == IssueStatus::Resolved;
    Ok(Known {
        is_resolved: !issues.is_empty() && issues.iter().all(all),
        times: issues.iter().map(|issue| issue.event_count).sum(),
        first: issues.iter().map(|issue| issue.first_unix_nano).min(),
    })
}

/// `GET /projects/{id}/analytics`.
pub(in crate::gateway::family) async fn report(
    State(shared): State<Arc<Shared>>,
    Owner { principal, .. }: Owner,
) -> Result<Answer, Answer> {
    let project = principal.project;
    let asked = async {
        // Few at once: each reads much.
        let _permit = shared.pulse_permits.acquire().await;
        let (report, mut is_partial) = read(&shared, project, window::now()).await?;
        is_partial |= report.is_cut();
        let mut crashes = Vec::new();
        for (print, crash) in report.top_crashes() {
            let known = known(&shared, project, print).await?;
            crashes.push(Crashes::json(project, print, crash, known));
        }
        Ok((report, crashes, is_partial))
    };
    let (report, crashes, is_partial) = SERVER.within(&shared, asked).await?;
    let mut data = vec![
        ("crashRate", report.crash_rate()),
        ("topCrashes", Json::List(crashes)),
        ("crashesByVersion", report.by_version()),
        ("crashesByDevice", report.by_device()),
        ("apiPerformance", report.calls()),
        ("screenPerformance", report.screens()),
    ];
    if is_partial {
        data.push(("isPartial", Json::Bool(true)));
    }
    Ok(succeeded(StatusCode::OK, [("data", Json::map(data))]))
}

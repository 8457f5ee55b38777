//! Which traces are stored, where not all are. Pure.
//!
//! Nothing is decided before the log: a request is taken and acknowledged as always, and what its
//! spans add up to is stored as always. What is left out is the spans themselves.
//!
//! The *head* goes by nothing but what is random about a trace ([`Randomness`]) and where a span comes
//! from. The *tail* goes by what is known of a trace after a while ([`tail`]).

pub mod tail;
mod threshold;

use serde::{Deserialize, Serialize};

use crate::config::Duration;
use crate::model::ProjectId;

use tail::{Tail, TailConfig};
pub use threshold::{Randomness, Threshold};

/// What is sent or read again within this time at least does not count twice.
const REMEMBER_MIN: Duration = Duration::seconds(3600);

/// `processors.sampling`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long spans that were sampled out are remembered, so that none counts twice.
    pub remember: Duration,
    /// What is decided by the trace id alone.
    pub head: HeadConfig,
    /// What is decided when more is known of a trace.
    pub tail: TailConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            remember: Duration::seconds(24 * 3600),
            head: HeadConfig::default(),
            tail: TailConfig::default(),
        }
    }
}

/// `processors.sampling.head`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeadConfig {
    /// Traces that are kept, where no rule says otherwise.
    pub percentage: f64,
    /// Percentages of some spans. The first rule that a span fits counts.
    pub rules: Vec<HeadRule>,
}

impl Default for HeadConfig {
    fn default() -> Self {
        Self {
            percentage: 100.0,
            rules: Vec::new(),
        }
    }
}

/// One entry of `processors.sampling.head.rules`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadRule {
    /// The projects it is for; all when empty.
    #[serde(default)]
    pub projects: Vec<u32>,
    /// The services it is for; all when empty.
    #[serde(default)]
    pub services: Vec<String>,
    /// Whether it is for GenAI spans or for all others; for both when absent.
    #[serde(default)]
    pub genai: Option<bool>,
    /// Traces that are kept.
    pub percentage: f64,
}

/// Something that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, below `processors.sampling`.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl Config {
    /// Everything that is wrong with the settings.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut complain = |path: String, message: &str| {
            let message = message.to_owned();
            problems.push(Problem { path, message });
        };
        let least = Duration(
            REMEMBER_MIN
                .0
                .max(self.tail.decision_wait.0.saturating_mul(2)),
        );
        if self.remember.0 < least.0 {
            let message = format!(
                "must be at least 1h and twice tail.decision_wait, here {least}: what is forgotten \
                 counts again when it is sent or read again"
            );
            complain("remember".to_owned(), &message);
        }
        let rules = self.head.rules.iter().enumerate();
        let percentages = rules
            .map(|(index, rule)| (format!("head.rules[{index}]"), rule.percentage))
            .chain([("head".to_owned(), self.head.percentage)]);
        for (path, percentage) in percentages {
            if let Some(message) = percentage_problem(percentage) {
                complain(format!("{path}.percentage"), &message);
            }
        }
        self.tail.problems(&mut problems);
        problems
    }

    /// The settings, ready to be applied; `None` when everything is kept.
    #[must_use]
    pub fn compile(&self) -> Option<Sampler> {
        let head = Head::of(&self.head);
        let tail = self.tail.enabled.then(|| Tail::of(&self.tail));
        (!head.keeps_all() || tail.is_some()).then(|| Sampler {
            remember_ns: i64::try_from(self.remember.0.as_nanos()).unwrap_or(i64::MAX),
            head,
            tail,
        })
    }
}

/// What is wrong with a percentage.
fn percentage_problem(percentage: f64) -> Option<String> {
    let is_one = (0.0..=100.0).contains(&percentage);
    (!is_one).then(|| format!("expected a percentage from 0 to 100, got {percentage}"))
}

/// Decides.
#[derive(Debug, Clone)]
pub struct Sampler {
    /// How long spans that were sampled out are remembered, ns.
    pub remember_ns: i64,
    /// What is decided by the trace id alone.
    pub head: Head,
    /// What is decided when more is known of a trace.
    pub tail: Option<Tail>,
}

/// Where a span comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Owner.
    pub project: ProjectId,
    /// Its service.
    pub service: &'a str,
    /// Whether it has a GenAI operation.
    pub is_genai: bool,
}

/// The head's rules.
#[derive(Debug, Clone)]
pub struct Head {
    rules: Vec<(HeadRule, Threshold)>,
    rest: Threshold,
}

impl Head {
    fn of(config: &HeadConfig) -> Self {
        let rules = config.rules.iter();
        let rules = rules.map(|rule| (rule.clone(), Threshold::of_percentage(rule.percentage)));
        Self {
            rules: rules.collect(),
            rest: Threshold::of_percentage(config.percentage),
        }
    }

    fn keeps_all(&self) -> bool {
        let all = Threshold::of_percentage(100.0);
        let mut rules = self.rules.iter();
        self.rest == all && rules.all(|(_, threshold)| *threshold == all)
    }

    /// Whether a span is kept.
    #[must_use]
    pub fn keeps(&self, origin: &Origin<'_>, randomness: Randomness) -> bool {
        let fitting = self.rules.iter().find(|(rule, _)| rule.is_for(origin));
        let threshold = fitting.map_or(self.rest, |(_, threshold)| *threshold);
        randomness.is_kept_by(threshold)
    }
}

impl HeadRule {
    fn is_for(&self, origin: &Origin<'_>) -> bool {
        let has = |service: &String| service == origin.service;
        (self.projects.is_empty() || self.projects.contains(&origin.project.0))
            && (self.services.is_empty() || self.services.iter().any(has))
            && self.genai.is_none_or(|genai| genai == origin.is_genai)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TraceId;

    fn rule(percentage: f64) -> HeadRule {
        HeadRule {
            projects: Vec::new(),
            services: Vec::new(),
            genai: None,
            percentage,
        }
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let config = Config {
            head: HeadConfig {
                percentage: 0.0,
                rules: vec![
                    HeadRule {
                        services: vec!["noise".to_owned()],
                        ..rule(0.0)
                    },
                    HeadRule {
                        genai: Some(true),
                        ..rule(100.0)
                    },
                    HeadRule {
                        projects: vec![2],
                        ..rule(100.0)
                    },
                ],
            },
            ..Config::default()
        };
        let sampler = config.compile().unwrap();
        let kept = |project, service, is_genai| {
            let origin = Origin {
                project: ProjectId(project),
                service,
                is_genai,
            };
            let randomness = Randomness::of(TraceId([1; 16]), "");
            sampler.head.keeps(&origin, randomness)
        };
        assert!(!kept(1, "api", false));
        assert!(kept(1, "api", true));
        assert!(!kept(1, "noise", true));
        assert!(kept(2, "api", false));
        assert!(!kept(2, "noise", false));
    }

    #[test]
    fn what_keeps_everything_is_off() {
        assert!(Config::default().compile().is_none());
        let mut config = Config::default();
        config.head.rules = vec![rule(100.0)];
        assert!(config.compile().is_none());
        config.head.rules.push(rule(99.0));
        assert!(config.compile().is_some());
    }

    #[test]
    fn nonsense_is_told() {
        let mut config = Config::default();
        assert_eq!(config.problems(), []);
        config.head.percentage = 100.1;
        config.head.rules = vec![rule(5.0), rule(-1.0), rule(f64::NAN)];
        config.remember = Duration::seconds(0);
        let problems = config.problems();
        let paths: Vec<_> = problems.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "remember",
                "head.rules[1].percentage",
                "head.rules[2].percentage",
                "head.percentage"
            ]
        );
        assert!(problems[3].message.contains("100.1"));
    }

    // Guarantees: what waits, and is read again after a crash, is known for longer than it can wait.
    #[test]
    fn what_is_left_out_is_remembered_for_long_enough() {
        let messages = |remember, wait| {
            let mut config = Config {
                remember: Duration::seconds(remember),
                ..Config::default()
            };
            config.tail.decision_wait = Duration::seconds(wait);
            let problems = config.problems().into_iter();
            problems.map(|it| it.message).collect::<Vec<_>>()
        };
        assert_eq!(messages(3600, 1800), [""; 0]);
        assert!(messages(3599, 10)[0].contains("here 1h"));
        assert!(messages(3 * 3600 - 1, 5400)[0].contains("here 3h"));
        assert_eq!(messages(3 * 3600, 5400), [""; 0]);
    }
}

//! CrewAI's own spans: crews, tasks and agents, without usage.

use super::prelude::*;

const fn row(key: &'static str, take: Take) -> Row {
    Row::new(Dialect::CrewAi, key, take)
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    row("task_key", Take::With(task)).bare(),
    row("crew_key", Take::With(crew)),
    row("agent_role", Take::Text(Text::AgentName)).bare(),
    row("crew_agents", Take::Mark),
    row("crew_tasks", Take::Mark),
];

fn task<'a>(draft: &mut Draft<'a>, _value: AnyValue<'a>) {
    draft.weak_kind = draft.weak_kind.or(Some(Op::Chain));
}

fn crew<'a>(draft: &mut Draft<'a>, _value: AnyValue<'a>) {
    draft.weak_kind = draft.weak_kind.or(Some(Op::Workflow));
}

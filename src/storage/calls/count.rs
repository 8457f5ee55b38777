//! Which spans of a list count. The rules are in the module above.

use std::cmp::Reverse;

use super::entry::{CostRank, Entry, Texts};
use crate::model::genai::Totals;

/// What a span counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) totals: Totals,
    /// The session, as a place in the list's texts; 0 is none.
    pub(super) session: u32,
}

impl Counted {
    /// A span that is counted whatever else there is.
    pub(super) const fn alone(entry: &Entry) -> Self {
        Self {
            totals: entry.amounts,
            session: entry.session,
        }
    }
}

/// What each of some entries, which are in the order of their span ids, counts for.
pub(super) fn counted(entries: &[Entry], texts: &Texts<'_>) -> Vec<Option<Counted>> {
    if let [only] = entries {
        return vec![Some(Counted::alone(only))];
    }
    let tree = Tree::of(entries);
    let mut counted = calls(&tree, texts);
    let is_known = |entry: &Entry| entry.has_tokens() || entry.amounts.cost_nano_usd > 0;
    if !entries.iter().any(|it| !it.is_wrapper && is_known(it)) {
        for place in wrappers(&tree) {
            if let (Some(slot), Some(entry)) = (counted.get_mut(place), entries.get(place)) {
                *slot = Some(Counted::alone(entry));
            }
        }
    }
    counted
}

/// Entries, and the place of each one's parent among them.
struct Tree<'e> {
    entries: &'e [Entry],
    parents: Vec<Option<usize>>,
}

impl<'e> Tree<'e> {
    fn of(entries: &'e [Entry]) -> Self {
        let place_of = |entry: &Entry| {
            let parent = entry.parent.filter(|parent| *parent != entry.span_id)?;
            entries.binary_search_by_key(&parent, |it| it.span_id).ok()
        };
        Self {
            entries,
            parents: entries.iter().map(place_of).collect(),
        }
    }

    /// The places of what is above an entry, nearest first. Parents that go round in a circle end
    /// it after as many steps as there are entries.
    fn ancestors(&self, place: usize) -> impl Iterator<Item = usize> {
        let parent = |place: usize| self.parents.get(place).copied().flatten();
        std::iter::successors(parent(place), move |above| parent(*above))
            .take(self.entries.len())
            .filter(move |above| *above != place)
    }

    fn entries_above(&self, place: usize) -> impl Iterator<Item = (usize, &'e Entry)> {
        self.ancestors(place)
            .filter_map(|above| Some((above, self.entries.get(above)?)))
    }
}

/// Sets of places that are one, each known by its smallest.
struct Groups(Vec<usize>);

impl Groups {
    fn root(&self, mut place: usize) -> usize {
        while let Some(next) = self.0.get(place).copied().filter(|next| *next != place) {
            place = next;
        }
        place
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        if let Some(slot) = self.0.get_mut(one.max(other)) {
            *slot = one.min(other);
        }
    }
}

/// One span of each call.
fn calls(tree: &Tree<'_>, texts: &Texts<'_>) -> Vec<Option<Counted>> {
    let groups = groups(tree, texts);
    let mut best: Vec<Option<(usize, &Entry)>> = vec![None; tree.entries.len()];
    let mut sessions = vec![0; tree.entries.len()];
    let all = || {
        tree.entries
            .iter()
            .enumerate()
            .filter(|(_, it)| !it.is_wrapper)
    };
    for (place, entry) in all() {
        let root = groups.root(place);
        let rank = |(place, entry): (usize, &Entry)| {
            let depth = tree.ancestors(place).count();
            (
                information(entry),
                computed_cost(entry),
                Reverse(depth),
                Reverse(entry.span_id),
            )
        };
        if let Some(best) = best.get_mut(root)
            && best.is_none_or(|best| rank(best) < rank((place, entry)))
        {
            *best = Some((place, entry));
        }
        if let Some(session) = sessions.get_mut(root)
            && entry.session > 0
            && (*session == 0 || texts.get(entry.session) < texts.get(*session))
        {
            *session = entry.session;
        }
    }
    let mut counted = vec![None; tree.entries.len()];
    for (best, session) in best.into_iter().zip(sessions) {
        let Some((place, entry)) = best else { continue };
        if let Some(slot) = counted.get_mut(place) {
            let mut alone = Counted::alone(entry);
            if alone.session == 0 {
                alone.session = session;
            }
            *slot = Some(alone);
        }
    }
    counted
}

/// How much a span knows of its call.
fn information(entry: &Entry) -> (bool, CostRank, usize) {
    let figures = [
        entry.amounts.input_tokens,
        entry.amounts.output_tokens,
        entry.amounts.cache_read_tokens,
    ];
    let known = figures.iter().filter(|figure| **figure > 0).count();
    (entry.has_tokens(), entry.cost, known)
}

/// The cost, as far as it tells what else a span knows. What was reported tells nothing.
fn computed_cost(entry: &Entry) -> i64 {
    if entry.cost == CostRank::Computed {
        entry.amounts.cost_nano_usd
    } else {
        0
    }
}

fn groups(tree: &Tree<'_>, texts: &Texts<'_>) -> Groups {
    let mut groups = Groups((0..tree.entries.len()).collect());
    let all = || {
        tree.entries
            .iter()
            .enumerate()
            .filter(|(_, it)| !it.is_wrapper)
    };
    for (place, inner) in all() {
        for (above, outer) in tree.entries_above(place) {
            let is_parent = inner.parent == Some(outer.span_id);
            if !outer.is_wrapper && is_same_below(outer, inner, is_parent, texts) {
                groups.join(place, above);
            }
        }
    }
    let mut answered: Vec<_> = all().filter(|(_, it)| it.response != 0).collect();
    answered.sort_by_key(|(_, it)| it.response);
    for same in answered.chunk_by(|(_, a), (_, b)| a.response == b.response) {
        for (index, (place, one)) in same.iter().enumerate() {
            for (other_place, other) in same.iter().skip(index + 1) {
                if is_same_apart(one, other) {
                    groups.join(*place, *other_place);
                }
            }
        }
    }
    pair_within(tree, texts, &mut groups);
    groups
}

/// Joins calls without a response id, of which no other span is known yet, to one each within whose
/// time they are, or that is within theirs.
fn pair_within(tree: &Tree<'_>, texts: &Texts<'_>, groups: &mut Groups) {
    let all = || tree.entries.iter().enumerate();
    let mut sizes = vec![0_usize; tree.entries.len()];
    for (place, _) in all() {
        if let Some(size) = sizes.get_mut(groups.root(place)) {
            *size += 1;
        }
    }
    let is_alone = |place: usize| sizes.get(place) == Some(&1);
    let mut open: Vec<_> = all()
        .filter(|(place, it)| !it.is_wrapper && it.response == 0 && is_alone(*place))
        .collect();
    open.sort_by_key(|(_, it)| (it.start, it.span_id));
    let mut taken = vec![false; tree.entries.len()];
    for (place, one) in open {
        let is_free = |place: usize| taken.get(groups.root(place)) == Some(&false);
        if !is_free(place) {
            continue;
        }
        let others = all().filter(|(other_place, other)| {
            *other_place != place
                && !other.is_wrapper
                && is_free(*other_place)
                && is_same_within(one, other, texts)
        });
        let nearest = others.min_by_key(|(_, it)| (one.start.abs_diff(it.start), it.span_id));
        if let Some((other_place, _)) = nearest {
            groups.join(place, other_place);
            if let Some(taken) = taken.get_mut(groups.root(place)) {
                *taken = true;
            }
        }
    }
}

/// Whether a call without a response id and another, neither of which is known to be below the
/// other, are the same.
fn is_same_within(one: &Entry, other: &Entry, texts: &Texts<'_>) -> bool {
    let is_within = |inner: &Entry, outer: &Entry| {
        inner.start < inner.end && outer.start <= inner.start && inner.end <= outer.end
    };
    let tokens = |entry: &Entry| (entry.amounts.input_tokens, entry.amounts.output_tokens);
    let differ = |one: u32, other: u32| one != 0 && other != 0 && one != other;
    let known = one.amounts.input_tokens > 0 && one.amounts.output_tokens > 0;
    (one.dialect != other.dialect || known && differ(one.scope, other.scope))
        && tokens(one) == tokens(other)
        && (is_within(one, other) || is_within(other, one))
        && compare_models(one, other, texts) == Models::Same
}

/// Whether a call and one below it are the same.
fn is_same_below(outer: &Entry, inner: &Entry, is_parent: bool, texts: &Texts<'_>) -> bool {
    let has_ids = outer.response != 0 && inner.response != 0;
    if has_ids && outer.response == inner.response {
        return true;
    }
    let input = (outer.amounts.input_tokens, inner.amounts.input_tokens);
    let output = (outer.amounts.output_tokens, inner.amounts.output_tokens);
    if contradict(input.0, input.1) || contradict(output.0, output.1) {
        return false;
    }
    let both_know = |(one, other): (i64, i64)| one > 0 && other > 0;
    let models = compare_models(outer, inner, texts);
    if has_ids {
        return outer.dialect != inner.dialect
            && models == Models::Same
            && input.0 > 0
            && input.0 == input.1
            && output.0 == output.1;
    }
    if both_know(input) || both_know(output) {
        models != Models::Different
    } else {
        is_parent && models == Models::Same
    }
}

/// Whether two calls of one response id, neither of which is known to be below the other, are the
/// same.
const fn is_same_apart(one: &Entry, other: &Entry) -> bool {
    let overlap = one.start <= other.end && other.start <= one.end;
    let both_know = one.has_tokens() && other.has_tokens();
    (overlap || !both_know) && !contradict(one.amounts.input_tokens, other.amounts.input_tokens)
}

/// Whether two figures are known and differ.
const fn contradict(one: i64, other: i64) -> bool {
    one > 0 && other > 0 && one != other
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Models {
    Same,
    OneIsUnknown,
    Different,
}

fn compare_models(one: &Entry, other: &Entry, texts: &Texts<'_>) -> Models {
    let names =
        |entry: &Entry| [entry.model, entry.request_model].map(|place| bare(texts.get(place)));
    let (one, other) = (names(one), names(other));
    let is_known = |names: &[&str; 2]| names.iter().any(|name| !name.is_empty());
    if !is_known(&one) || !is_known(&other) {
        return Models::OneIsUnknown;
    }
    if one
        .iter()
        .any(|name| !name.is_empty() && other.contains(name))
    {
        Models::Same
    } else {
        Models::Different
    }
}

/// The name without what gateways write before it (`openai/gpt-4o`).
fn bare(model: &str) -> &str {
    model.rsplit('/').next().unwrap_or(model)
}

/// The wrappers whose usage counts when that of calls is not known.
fn wrappers(tree: &Tree<'_>) -> Vec<usize> {
    let mut outer: Vec<_> = tree
        .entries
        .iter()
        .enumerate()
        .filter(|(place, it)| {
            it.is_wrapper
                && !tree
                    .entries_above(*place)
                    .any(|(_, above)| above.is_wrapper)
        })
        .collect();
    outer.sort_unstable_by_key(|(_, it)| {
        let amounts = &it.amounts;
        let tokens = amounts.input_tokens.saturating_add(amounts.output_tokens);
        (Reverse((tokens, amounts.cost_nano_usd)), it.span_id)
    });
    let mut counted: Vec<(usize, &Entry)> = Vec::new();
    for (place, wrapper) in outer {
        let is_apart = |other: &Entry| {
            wrapper.parent == other.parent
                || wrapper.end <= other.start
                || other.end <= wrapper.start
        };
        if counted.iter().all(|(_, other)| is_apart(other)) {
            counted.push((place, wrapper));
        }
    }
    counted.into_iter().map(|(place, _)| place).collect()
}

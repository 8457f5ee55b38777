//! Ids of events that came without one.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use crate::model::ProjectId;

const BASE_36: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// Characters of a cuid after its `c`.
const CUID_CHARS: usize = 24;

/// What identifies an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity([u8; 16]);

/// Gives the events of one body their identities.
#[derive(Debug)]
pub struct Identities {
    project: ProjectId,
    /// Never the same twice: for what its content does not identify.
    salt: [u8; 16],
    seen: HashMap<[u8; 16], u32>,
    untimed: u64,
}

fn half(hasher: Sha256) -> [u8; 16] {
    let digest: [u8; 32] = hasher.finalize().into();
    digest.first_chunk().copied().unwrap_or_default()
}

impl Identities {
    /// For a body of a project.
    #[must_use]
    pub fn new(project: ProjectId, salt: [u8; 16]) -> Self {
        Self {
            project,
            salt,
            seen: HashMap::new(),
            untimed: 0,
        }
    }

    /// The identity of an event that has a time: the same for the same content, but for equal ones of
    /// this body, which are numbered.
    pub fn of_content(&mut self, content: &str) -> Identity {
        let mut hasher = Sha256::new();
        hasher.update(self.project.0.to_le_bytes());
        hasher.update(content);
        let digest = half(hasher.clone());
        let before = self.seen.entry(digest).or_default();
        let number = *before;
        *before = before.saturating_add(1);
        if number == 0 {
            return Identity(digest);
        }
        hasher.update([0]);
        hasher.update(number.to_le_bytes());
        Identity(half(hasher))
    }

    /// The identity of an event that has no time: a new one.
    pub fn new_one(&mut self) -> Identity {
        let mut hasher = Sha256::new();
        hasher.update(self.salt);
        hasher.update(self.untimed.to_le_bytes());
        self.untimed = self.untimed.saturating_add(1);
        Identity(half(hasher))
    }
}

/// The identity of a text, apart from those of other uses.
#[must_use]
pub fn of_text(domain: &str, project: ProjectId, text: &str) -> Identity {
    let mut hasher = Sha256::new();
    hasher.update(domain);
    hasher.update([0]);
    hasher.update(project.0.to_le_bytes());
    hasher.update(text);
    Identity(half(hasher))
}

impl Identity {
    /// As a UUID of version 8.
    #[must_use]
    pub fn uuid(self) -> String {
        let mut bytes = self.0;
        let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
        *version = *version & 0x0f | 0x80;
        *variant = *variant & 0x3f | 0x80;
        let hex = format!("{:032x}", u128::from_be_bytes(bytes));
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        let parts = [
            part(0, 8),
            part(8, 12),
            part(12, 16),
            part(16, 20),
            part(20, 32),
        ];
        parts.join("-")
    }

    /// As a cuid: `c` and 24 lower-case letters and digits.
    #[must_use]
    pub fn cuid(self) -> String {
        let mut rest = u128::from_be_bytes(self.0);
        let mut text = String::from("c");
        for _ in 0..CUID_CHARS {
            let digit = usize::try_from(rest % 36).unwrap_or_default();
            text.extend(BASE_36.get(digit).copied().map(char::from));
            rest /= 36;
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receivers::pulse::scalar::is_uuid;

    fn identities(project: u32, salt: u8) -> Identities {
        Identities::new(ProjectId(project), [salt; 16])
    }

    // Scenario: a client sends an event, and then again in a batch with an equal one and another.
    // Guarantees: the first is known again, whatever came meanwhile; the others are new.
    #[test]
    fn what_is_sent_again_is_known_again() {
        let first = identities(1, 1).of_content("a");
        let mut later = identities(1, 2);
        let all = [
            later.of_content("b"),
            later.of_content("a"),
            later.of_content("a"),
        ];
        assert_eq!(all[1], first);
        assert!(all[0] != first && all[2] != first && all[0] != all[2]);
        let mut again = identities(1, 3);
        assert_eq!([again.of_content("a"), again.of_content("a")], all[1..]);
        assert_ne!(identities(2, 1).of_content("a"), first);
    }

    #[test]
    fn what_has_no_time_is_always_new() {
        let (mut one, mut other) = (identities(1, 1), identities(1, 2));
        let ids = [one.new_one(), one.new_one(), other.new_one()];
        assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2]);
    }

    #[test]
    fn ids_have_the_form_that_clients_know() {
        let id = identities(1, 1).of_content("a");
        assert!(is_uuid(&id.uuid()), "{}", id.uuid());
        let cuid = id.cuid();
        assert_eq!(cuid.len(), 25);
        assert!(cuid.starts_with('c') && cuid.bytes().all(|it| it.is_ascii_alphanumeric()));
        assert_ne!(
            of_text("x", ProjectId(1), "a"),
            of_text("y", ProjectId(1), "a")
        );
    }
}

//! What a credential allows.

use std::fmt;
use std::str::FromStr;

/// One thing that a credential may allow. None includes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Send telemetry.
    Ingest,
    /// Ask for what is stored.
    Read,
    /// Change settings, prices and keys.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 3] = [Self::Ingest, Self::Read, Self::Admin];

    /// Its name in keys, commands and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Ingest => 1,
            Self::Read => 2,
            Self::Admin => 4,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A text that names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope \"{0}\", expected some of: ingest, read, admin")]
pub struct UnknownScope(String);

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let named = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        named.ok_or_else(|| UnknownScope(text.chars().take(64).collect()))
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Nothing is allowed.
    pub const NONE: Self = Self(0);
    /// Everything is allowed.
    pub const ALL: Self = Self(7);

    /// This set and a scope.
    #[must_use]
    pub const fn with(self, scope: Scope) -> Self {
        Self(self.0 | scope.bit())
    }

    /// What is in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether a scope is in the set.
    #[must_use]
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The scopes in it.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }

    /// The number that stores keep.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// From the number that stores keep; what a newer version may have added is left out.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Scope::as_str).collect();
        formatter.write_str(&names.join(","))
    }
}

/// What a person may do in a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
    /// Read and send telemetry.
    Member,
    /// Read.
    Viewer,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Admin, Self::Member, Self::Viewer];

    /// Its name in stores, commands and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Viewer => "viewer",
        }
    }

    /// What it allows.
    #[must_use]
    pub const fn scopes(self) -> Scopes {
        match self {
            Self::Admin => Scopes::ALL,
            Self::Member => Scopes::NONE.with(Scope::Ingest).with(Scope::Read),
            Self::Viewer => Scopes::NONE.with(Scope::Read),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A text that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown role \"{0}\", expected one of: admin, member, viewer")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let named = Self::ALL.into_iter().find(|role| role.as_str() == text);
        named.ok_or_else(|| UnknownRole(text.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_kept_as_a_number_and_shown_as_names() {
        let scopes: Scopes = [Scope::Admin, Scope::Ingest].into_iter().collect();
        assert_eq!(scopes.to_string(), "ingest,admin");
        assert_eq!(Scopes::from_bits(scopes.bits()), scopes);
        assert!(scopes.has(Scope::Admin) && !scopes.has(Scope::Read));
        assert!(Scopes::NONE.is_empty() && !scopes.is_empty());
        assert_eq!(scopes.and(Scopes::from_bits(3)).to_string(), "ingest");
        assert_eq!(Scopes::from_bits(0xfa), Scopes::NONE.with(Scope::Read));
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(scope));
        }
        let unknown = "Read".parse::<Scope>().unwrap_err().to_string();
        assert!(unknown.contains("\"Read\"") && unknown.contains("ingest, read, admin"));
    }

    #[test]
    fn roles_allow_less_and_less() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
            assert!(role.scopes().has(Scope::Read));
        }
        assert!(Role::Admin.scopes().has(Scope::Admin));
        assert!(!Role::Member.scopes().has(Scope::Admin));
        assert!(Role::Member.scopes().has(Scope::Ingest));
        assert!(!Role::Viewer.scopes().has(Scope::Ingest));
        assert!("owner".parse::<Role>().is_err());
    }
}

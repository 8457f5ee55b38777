//! Holders of access tokens who own a project.

use super::{Denied, Gate, Principal, Who, unavailable};
use crate::auth::people::Held;
use crate::model::ProjectId;
use crate::model::access::{Role, Scope, Scopes};
use crate::storage::access::User;

impl Gate {
    /// What the holder of an access token may do in a project that they administer.
    ///
    /// # Errors
    /// [`Denied::NotAMember`], also for those who don't administer it; [`Denied::Unavailable`].
    pub async fn owner(&self, user: &User, project: ProjectId) -> Result<Principal, Denied> {
        let people = self.people.as_ref().ok_or(Denied::Missing)?;
        let roles = people.roles(&user.id, Some(project)).await;
        let roles = roles.map_err(|error| unavailable(&error))?;
        let role = roles.first().map(|(_, role)| *role);
        let principal = Principal {
            project,
            scopes: role.map_or(Scopes::NONE, Role::scopes),
            who: Who::User(user.id.as_str().into()),
        };
        if principal.may(Scope::Admin) {
            principal.note();
            Ok(principal)
        } else {
            Err(Denied::NotAMember)
        }
    }

    /// Whether somebody administers a project, and has the password yet that they had when they were
    /// given the token they came with. A token that has ended meanwhile is good enough.
    ///
    /// # Errors
    /// [`Denied::NotAMember`]; [`Denied::Unknown`] for a token of another password;
    /// [`Denied::Unavailable`].
    pub async fn still_owner(&self, held: &Held, project: ProjectId) -> Result<(), Denied> {
        let people = self.people.as_ref().ok_or(Denied::Missing)?;
        let is_good = people.is_good_still(held).await;
        if !is_good.map_err(|error| unavailable(&error))? {
            return Err(Denied::Unknown);
        }
        self.owner(&held.user, project).await.map(|_| ())
    }

    /// The same, for who asks again and again: answers may be a second old.
    ///
    /// # Errors
    /// As [`Gate::still_owner`].
    pub async fn still_owner_lately(&self, held: &Held, project: ProjectId) -> Result<(), Denied> {
        let people = self.people.as_ref().ok_or(Denied::Missing)?;
        let lately = people.lately();
        if let Some(known) = lately.get(held, project) {
            return known;
        }
        let found = self.still_owner(held, project).await;
        lately.note(held, project, found);
        found
    }
}

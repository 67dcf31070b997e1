//! All users and groups, and the rules that hold between them.
//!
//! A state is copied, changed and put in the place of the one before, so whoever reads one sees it
//! whole. Users and groups are shared between copies.
use super::group::Group;
use super::problem::Problem;
use super::user::User;
use crate::directory::entry::{Entry, Status};
use crate::directory::name::{Key, USER, folded};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const USERS_MAX: usize = 100_000;
const GROUPS_MAX: usize = 10_000;
/// Names that were left behind.
const GONE_MAX: usize = 100_000;
const GROUPS_PER_USER_MAX: usize = 256;
/// Members of all groups together.
const MEMBERSHIPS_MAX: usize = 1_000_000;

/// What is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Content {
    /// Drawn when the store was made. Part of every id.
    pub(super) nonce: u64,
    /// The number of the next user or group. Numbers are never used twice.
    pub(super) next: u64,
    pub(super) users: BTreeMap<u64, Arc<User>>,
    pub(super) groups: BTreeMap<u64, Arc<Group>>,
    /// Names of deleted and renamed users, without their case. They are offboarded, unless a user
    /// has such a name again.
    pub(super) gone: BTreeSet<Arc<str>>,
}

/// What is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) content: Content,
    pub(super) generation: u64,
    /// Users by name, without its case.
    by_name: BTreeMap<Arc<str>, u64>,
    /// Groups by name, without its case.
    by_display_name: BTreeMap<Arc<str>, u64>,
    /// The groups of each user that has any.
    memberships: BTreeMap<u64, Arc<BTreeSet<u64>>>,
    memberships_total: usize,
}

impl State {
    /// `None` when the content breaks a rule, as no content that was written here does.
    pub(super) fn new(content: Content) -> Option<State> {
        let mut state = State {
            generation: 1,
            by_name: BTreeMap::new(),
            by_display_name: BTreeMap::new(),
            memberships: BTreeMap::new(),
            memberships_total: 0,
            content,
        };
        for (number, user) in &state.content.users {
            let name = folded(&user.user_name).into();
            if *number >= state.content.next || state.by_name.insert(name, *number).is_some() {
                return None;
            }
        }
        let groups = state.content.groups.clone();
        for (number, group) in groups {
            let name = folded(&group.display_name).into();
            let known = |member: &u64| state.content.users.contains_key(member);
            let sound = number < state.content.next && group.members.iter().all(known);
            if !sound || state.by_display_name.insert(name, number).is_some() {
                return None;
            }
            for member in &group.members {
                state.join(*member, number);
            }
        }
        Some(state)
    }

    /// What is known of a principal.
    pub(super) fn entry(&self, principal_id: &str) -> Option<Entry> {
        let key = Key::of(principal_id);
        let name = key.as_str().strip_prefix(USER)?;
        let Some(number) = self.by_name.get(name) else {
            let gone = self.content.gone.get(name)?;
            return Some(Entry {
                known: true,
                status: Status::Offboarded,
                groups: Vec::new(),
                user: Some(format!("{USER}{gone}").into()),
            });
        };
        let user = self.content.users.get(number)?;
        let (status, groups) = if user.active {
            let groups = self.groups_of(*number);
            let names = groups.map(|(_, group)| Arc::clone(&group.display_name));
            (Status::Active, names.collect())
        } else {
            (Status::Offboarded, Vec::new())
        };
        Some(Entry {
            known: true,
            status,
            groups,
            user: Some(format!("{USER}{}", user.user_name).into()),
        })
    }

    pub(super) fn user_id(&self, number: u64) -> String {
        format!("u{number}-{:016x}", self.content.nonce)
    }

    pub(super) fn group_id(&self, number: u64) -> String {
        format!("g{number}-{:016x}", self.content.nonce)
    }

    /// The number of a user that exists.
    pub(super) fn user_number(&self, id: &str) -> Result<u64, Problem> {
        number(id, 'u')
            .filter(|number| self.content.users.contains_key(number) && self.user_id(*number) == id)
            .ok_or_else(|| Problem::new(404, "there is no such user"))
    }

    /// The number of a group that exists.
    pub(super) fn group_number(&self, id: &str) -> Result<u64, Problem> {
        number(id, 'g')
            .filter(|number| {
                self.content.groups.contains_key(number) && self.group_id(*number) == id
            })
            .ok_or_else(|| Problem::new(404, "there is no such group"))
    }

    pub(super) fn user(&self, number: u64) -> Result<&Arc<User>, Problem> {
        let user = self.content.users.get(&number);
        user.ok_or_else(|| Problem::new(404, "there is no such user"))
    }

    pub(super) fn group(&self, number: u64) -> Result<&Arc<Group>, Problem> {
        let group = self.content.groups.get(&number);
        group.ok_or_else(|| Problem::new(404, "there is no such group"))
    }

    /// The user of a name, whatever its case.
    pub(super) fn named(&self, user_name: &str) -> Option<u64> {
        self.by_name.get(&*folded(user_name)).copied()
    }

    /// The groups of a user, the oldest first.
    pub(super) fn groups_of(&self, user: u64) -> impl Iterator<Item = (u64, &Arc<Group>)> {
        let numbers = self.memberships.get(&user).into_iter();
        numbers
            .flat_map(|groups| groups.iter())
            .filter_map(|number| Some((*number, self.content.groups.get(number)?)))
    }

    pub(super) fn create_user(&mut self, user: User) -> Result<u64, Problem> {
        if self.content.users.len() >= USERS_MAX {
            return Err(full(format!("more than {USERS_MAX} users")));
        }
        let name: Arc<str> = folded(&user.user_name).into();
        self.check_user_name(&name, None)?;
        let number = self.number();
        self.content.gone.remove(&name);
        self.by_name.insert(name, number);
        self.content.users.insert(number, Arc::new(user));
        Ok(number)
    }

    pub(super) fn replace_user(&mut self, number: u64, user: User) -> Result<u64, Problem> {
        let before: Arc<str> = folded(&self.user(number)?.user_name).into();
        let name: Arc<str> = folded(&user.user_name).into();
        if before != name {
            self.check_user_name(&name, Some(number))?;
            self.content.gone.remove(&name);
            if !self.leave_behind(&before) {
                return Err(full(format!("more than {GONE_MAX} names were left behind")));
            }
            self.by_name.remove(&before);
            self.by_name.insert(name, number);
        }
        self.content.users.insert(number, Arc::new(user));
        Ok(number)
    }

    /// Deletes a user, whose name stays offboarded. Where the name cannot be kept the user stays,
    /// inactive, and why is returned.
    pub(super) fn delete_user(&mut self, id: &str) -> Result<Option<String>, Problem> {
        let number = self.user_number(id)?;
        let mut user = User::clone(self.user(number)?);
        let name: Arc<str> = folded(&user.user_name).into();
        if !self.leave_behind(&name) {
            user.active = false;
            self.content.users.insert(number, Arc::new(user));
            let why = format!(
                "more than {GONE_MAX} names were left behind: the user is inactive and stays"
            );
            return Ok(Some(why));
        }
        self.by_name.remove(&name);
        self.content.users.remove(&number);
        let groups = self.memberships.remove(&number).unwrap_or_default();
        for group in groups.iter() {
            if let Some(group) = self.content.groups.get_mut(group) {
                Arc::make_mut(group).members.remove(&number);
            }
        }
        self.memberships_total = self.memberships_total.saturating_sub(groups.len());
        Ok(None)
    }

    pub(super) fn create_group(&mut self, group: Group) -> Result<u64, Problem> {
        if self.content.groups.len() >= GROUPS_MAX {
            return Err(full(format!("more than {GROUPS_MAX} groups")));
        }
        let name: Arc<str> = folded(&group.display_name).into();
        self.check_display_name(&name, None)?;
        let number = self.number();
        for member in &group.members {
            self.join(*member, number);
        }
        self.check_memberships(&group.members)?;
        self.by_display_name.insert(name, number);
        self.content.groups.insert(number, Arc::new(group));
        Ok(number)
    }

    pub(super) fn replace_group(&mut self, number: u64, group: Group) -> Result<u64, Problem> {
        let before = Arc::clone(self.group(number)?);
        let name: Arc<str> = folded(&group.display_name).into();
        self.check_display_name(&name, Some(number))?;
        self.by_display_name.remove(&*folded(&before.display_name));
        self.by_display_name.insert(name, number);
        for member in before.members.difference(&group.members) {
            self.leave(*member, number);
        }
        let joined: BTreeSet<u64> = group.members.difference(&before.members).copied().collect();
        for member in &joined {
            self.join(*member, number);
        }
        self.check_memberships(&joined)?;
        self.content.groups.insert(number, Arc::new(group));
        Ok(number)
    }

    pub(super) fn delete_group(&mut self, id: &str) -> Result<(), Problem> {
        let number = self.group_number(id)?;
        let Some(group) = self.content.groups.remove(&number) else {
            return Ok(());
        };
        self.by_display_name.remove(&*folded(&group.display_name));
        for member in &group.members {
            self.leave(*member, number);
        }
        Ok(())
    }

    fn number(&mut self) -> u64 {
        let number = self.content.next;
        self.content.next = number.saturating_add(1);
        number
    }

    /// Keeps a name as one of somebody who has left. False when there is no room for it.
    fn leave_behind(&mut self, name: &Arc<str>) -> bool {
        if self.content.gone.len() >= GONE_MAX && !self.content.gone.contains(name) {
            return false;
        }
        self.content.gone.insert(Arc::clone(name));
        true
    }

    fn join(&mut self, user: u64, group: u64) {
        let groups = self.memberships.entry(user).or_default();
        if Arc::make_mut(groups).insert(group) {
            self.memberships_total = self.memberships_total.saturating_add(1);
        }
    }

    fn leave(&mut self, user: u64, group: u64) {
        let Some(groups) = self.memberships.get_mut(&user) else {
            return;
        };
        if Arc::make_mut(groups).remove(&group) {
            self.memberships_total = self.memberships_total.saturating_sub(1);
        }
        if groups.is_empty() {
            self.memberships.remove(&user);
        }
    }

    fn check_user_name(&self, name: &str, own: Option<u64>) -> Result<(), Problem> {
        match self.by_name.get(name) {
            Some(number) if Some(*number) != own => {
                Err(Problem::unique("another user has this `userName`"))
            }
            _ => Ok(()),
        }
    }

    /// Policies name groups by it, so two groups cannot share one.
    fn check_display_name(&self, name: &str, own: Option<u64>) -> Result<(), Problem> {
        match self.by_display_name.get(name) {
            Some(number) if Some(*number) != own => {
                Err(Problem::unique("another group has this `displayName`"))
            }
            _ => Ok(()),
        }
    }

    fn check_memberships(&self, joined: &BTreeSet<u64>) -> Result<(), Problem> {
        if self.memberships_total > MEMBERSHIPS_MAX {
            return Err(full(format!("more than {MEMBERSHIPS_MAX} members in all")));
        }
        let groups = |user| self.memberships.get(user).map_or(0, |groups| groups.len());
        if joined.iter().any(|user| groups(user) > GROUPS_PER_USER_MAX) {
            let message = format!("a user in more than {GROUPS_PER_USER_MAX} groups");
            return Err(full(message));
        }
        Ok(())
    }
}

fn number(id: &str, kind: char) -> Option<u64> {
    let (number, _) = id.strip_prefix(kind)?.split_once('-')?;
    number.parse().ok()
}

/// What does not fit. Nothing that was there is given up for it.
fn full(detail: String) -> Problem {
    Problem::new(507, detail)
}

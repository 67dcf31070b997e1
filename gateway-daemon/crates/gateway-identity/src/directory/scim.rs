//! SCIM 2.0 (RFC 7643, 7644), as Okta and Entra speak it, without HTTP.
//!
//! The identity provider pushes users and groups here. `userName` becomes the principal
//! `user:USERNAME`, a group's `displayName` the name that policies call `group:NAME`.
//!
//! - `active` false, a deletion and a change of `userName` leave the name offboarded. A name that
//!   was left behind is kept, until a user is created with it again; what cannot be kept is refused.
//! - A PUT without `active` brings nobody back: what is absent keeps its value.
//! - Each write is on disk before it is answered. A write that fails changes nothing.
//! - Ids hold a number that is drawn when the store is made, so an identity provider that remembers
//!   those of a store that was lost gets 404, and never somebody else.
//!
//! Not supported, and `/ServiceProviderConfig` says so: bulk, sorting, ETags, passwords, `/Me`,
//! POST to `.search`. There are no nested groups, and `meta` has no times: there is no clock here.
mod discovery;
mod filter;
mod group;
mod json;
mod page;
mod patch;
mod problem;
mod state;
mod store;
#[cfg(test)]
pub(in crate::directory) mod testing;
#[cfg(test)]
mod tests;
mod user;

pub use store::ScimStoreError;

use super::entry::Entry;
use arc_swap::ArcSwap;
use group::Group;
use page::{Page, Projection};
use parking_lot::Mutex;
use patch::Operation;
use problem::Problem;
use serde_json::Value;
use state::State;
use std::path::Path;
use std::sync::Arc;
use store::Store;
use user::User;

const BODY_BYTES_MAX: usize = 1 << 20;
const QUERY_BYTES_MAX: usize = 8 << 10;

const USER_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// A request, once its sender is known to be the identity provider.
#[derive(Clone, Copy, Debug)]
pub struct ScimRequest<'a> {
    /// `GET`, `POST`, `PUT`, `PATCH`, `DELETE`.
    pub method: &'a str,
    /// Below the base: `/Users/u1-00ff`.
    pub path: &'a str,
    /// What follows the `?`, still encoded; empty without one.
    pub query: &'a str,
    /// The body, empty without one. More than 1 MiB is refused: read no more than one byte beyond.
    pub body: &'a [u8],
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScimResponse {
    /// The HTTP status.
    pub status: u16,
    /// `application/scim+json`; empty with 204.
    pub body: Vec<u8>,
    /// The `Location` header, with 201.
    pub location: Option<String>,
}

/// The SCIM service and what it was told.
#[derive(Debug)]
pub struct Scim {
    /// The URL below which it is served, without a slash at its end.
    base: String,
    state: ArcSwap<State>,
    /// One write at a time.
    store: Mutex<Store>,
}

impl Scim {
    /// Was there ever a store in this state directory?
    #[must_use]
    pub fn is_in(state_dir: &Path) -> bool {
        state_dir.join(store::FILE_NAME).exists()
    }

    /// Opens the store `scim.bin` in the state directory, or makes it. `base` is the URL of the
    /// service, like `https://gateway.acme.com/scim/v2`; `nonce` is random, and used when the store
    /// is made.
    ///
    /// # Errors
    /// The store is damaged, or cannot be read or written: the daemon must not start.
    pub fn open(state_dir: &Path, base: &str, nonce: u64) -> Result<Scim, ScimStoreError> {
        let (store, content) = Store::open(state_dir, nonce)?;
        let state = State::new(content).ok_or_else(|| store.damaged())?;
        Ok(Scim {
            base: base.trim_end_matches('/').to_owned(),
            state: ArcSwap::from_pointee(state),
            store: Mutex::new(store),
        })
    }

    /// Answers a request. A write waits for the disk: not to be called from an async task.
    #[must_use]
    pub fn handle(&self, request: ScimRequest<'_>) -> ScimResponse {
        self.answer(request)
            .unwrap_or_else(|problem| problem.response())
    }

    /// What is known of a principal. `None` for one that was never here.
    pub(super) fn entry(&self, principal_id: &str) -> Option<Entry> {
        self.state.load().entry(principal_id)
    }

    pub(super) fn generation(&self) -> u64 {
        self.state.load().generation
    }

    fn answer(&self, request: ScimRequest<'_>) -> Result<ScimResponse, Problem> {
        if request.body.len() > BODY_BYTES_MAX {
            return Err(Problem::new(413, "the body is larger than 1 MiB"));
        }
        if request.query.len() > QUERY_BYTES_MAX {
            return Err(Problem::new(414, "the query is longer than 8 KiB"));
        }
        let path = request.path.trim_start_matches('/');
        let path = path.strip_suffix('/').unwrap_or(path);
        let (kind, id) = match path.split_once('/') {
            Some((kind, id)) => (kind, Some(id)),
            None => (path, None),
        };
        match (kind, id) {
            ("Users", None) => self.users(request),
            ("Users", Some(id)) => self.user(request, id),
            ("Groups", None) => self.groups(request),
            ("Groups", Some(id)) => self.group(request, id),
            ("Bulk" | "Me" | ".search", None) => {
                Err(Problem::new(501, format!("/{kind} is not supported")))
            }
            _ => match discovery::find(path, &self.base) {
                Some(value) if request.method == "GET" => Ok(ok(200, &value)),
                Some(_) => Err(Problem::method()),
                None => Err(Problem::new(404, "there is no such resource")),
            },
        }
    }

    fn users(&self, request: ScimRequest<'_>) -> Result<ScimResponse, Problem> {
        match request.method {
            "GET" => {
                let page = Page::of(request.query)?;
                let state = self.state.load();
                Ok(ok(200, &page.users(&state, &self.base)?))
            }
            "POST" => {
                let shown = Projection::of(request.query)?;
                let user = User::from_resource(&json::body(request.body)?, None)?;
                let (number, state) = self.write(|state| state.create_user(user))?;
                let user = state.user(number)?;
                let value = user.resource(number, &state, &self.base);
                Ok(created(shown.apply(value)))
            }
            _ => Err(Problem::method()),
        }
    }

    fn user(&self, request: ScimRequest<'_>, id: &str) -> Result<ScimResponse, Problem> {
        let shown = Projection::of(request.query)?;
        let (number, state) = match request.method {
            "GET" => {
                let state = self.state.load_full();
                (state.user_number(id)?, state)
            }
            "PUT" => {
                let body = json::body(request.body)?;
                self.write(|state| {
                    let number = state.user_number(id)?;
                    let active = state.user(number)?.active;
                    state.replace_user(number, User::from_resource(&body, Some(active))?)
                })?
            }
            "PATCH" => {
                let operations = Operation::all(&json::body(request.body)?, USER_SCHEMA)?;
                self.write(|state| {
                    let number = state.user_number(id)?;
                    let mut user = User::clone(state.user(number)?);
                    for operation in &operations {
                        user.apply(operation)?;
                    }
                    state.replace_user(number, user)
                })?
            }
            "DELETE" => {
                let (kept, _) = self.write(|state| state.delete_user(id))?;
                return match kept {
                    None => Ok(empty()),
                    Some(why) => Err(Problem::new(507, why)),
                };
            }
            _ => return Err(Problem::method()),
        };
        let value = state.user(number)?.resource(number, &state, &self.base);
        Ok(ok(200, &shown.apply(value)))
    }

    fn groups(&self, request: ScimRequest<'_>) -> Result<ScimResponse, Problem> {
        match request.method {
            "GET" => {
                let page = Page::of(request.query)?;
                let state = self.state.load();
                Ok(ok(200, &page.groups(&state, &self.base)?))
            }
            "POST" => {
                let shown = Projection::of(request.query)?;
                let body = json::body(request.body)?;
                let (number, state) = self.write(|state| {
                    let group = Group::from_resource(&body, state)?;
                    state.create_group(group)
                })?;
                let value = state.group(number)?.resource(number, &state, &self.base);
                Ok(created(shown.apply(value)))
            }
            _ => Err(Problem::method()),
        }
    }

    fn group(&self, request: ScimRequest<'_>, id: &str) -> Result<ScimResponse, Problem> {
        let shown = Projection::of(request.query)?;
        let (number, state) = match request.method {
            "GET" => {
                let state = self.state.load_full();
                (state.group_number(id)?, state)
            }
            "PUT" => {
                let body = json::body(request.body)?;
                self.write(|state| {
                    let number = state.group_number(id)?;
                    let group = Group::from_resource(&body, state)?;
                    state.replace_group(number, group)
                })?
            }
            "PATCH" => {
                let operations = Operation::all(&json::body(request.body)?, GROUP_SCHEMA)?;
                group::check_size(&operations)?;
                self.write(|state| {
                    let number = state.group_number(id)?;
                    let mut group = Group::clone(state.group(number)?);
                    for operation in &operations {
                        group.apply(operation, state)?;
                    }
                    state.replace_group(number, group)
                })?;
                // As RFC 7644 3.5.2 allows: a large group is not sent back for each new member.
                return Ok(empty());
            }
            "DELETE" => {
                self.write(|state| state.delete_group(id))?;
                return Ok(empty());
            }
            _ => return Err(Problem::method()),
        };
        let value = state.group(number)?.resource(number, &state, &self.base);
        Ok(ok(200, &shown.apply(value)))
    }

    /// Changes the state: all of the change or nothing, and on disk before it is in force.
    fn write<T>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, Problem>,
    ) -> Result<(T, Arc<State>), Problem> {
        let mut store = self.store.lock();
        let current = self.state.load_full();
        let mut next = State::clone(&current);
        let outcome = change(&mut next)?;
        let changed = next.content != current.content;
        // After a write that failed nobody knows which of the two the disk holds.
        if changed || store.unsure {
            store.save(&next.content)?;
        }
        if !changed {
            return Ok((outcome, current));
        }
        next.generation = next.generation.saturating_add(1);
        let next = Arc::new(next);
        self.state.store(Arc::clone(&next));
        Ok((outcome, next))
    }
}

fn ok(status: u16, value: &Value) -> ScimResponse {
    ScimResponse {
        status,
        body: value.to_string().into_bytes(),
        location: None,
    }
}

fn created(value: Value) -> ScimResponse {
    let location = value.pointer("/meta/location").and_then(Value::as_str);
    ScimResponse {
        location: location.map(str::to_owned),
        ..ok(201, &value)
    }
}

fn empty() -> ScimResponse {
    ScimResponse {
        status: 204,
        body: Vec::new(),
        location: None,
    }
}

//! A group of the store.
use super::json::{self, Attributes};
use super::patch::{Operation, Verb, invalid_path};
use super::problem::Problem;
use super::state::State;
use super::{GROUP_SCHEMA, filter};
use crate::directory::diagnostic::quoted;
use crate::directory::name::{folded, group_fault};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Members that one request can name.
const MEMBERS_PER_REQUEST_MAX: usize = 10_000;
const READ_ONLY: [&str; 3] = ["id", "meta", "schemas"];

/// What is stored of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Group {
    pub(super) display_name: Arc<str>,
    pub(super) external_id: Option<String>,
    /// Numbers of users, each of which exists.
    pub(super) members: BTreeSet<u64>,
}

impl Group {
    pub(super) fn from_resource(body: &Value, state: &State) -> Result<Group, Problem> {
        let sent = Attributes::of(body, "the body")?;
        sent.check_schema(GROUP_SCHEMA)?;
        let display_name = sent
            .get("displayname")
            .ok_or_else(|| Problem::value("`displayName` is missing"))?;
        let mut group = Group {
            display_name: self::display_name(display_name)?,
            external_id: sent.text("externalid", "externalId")?,
            members: BTreeSet::new(),
        };
        if let Some(members) = sent.get("members") {
            check_count(listed(members).len())?;
            group.add(members, state)?;
        }
        Ok(group)
    }

    /// The group as it is shown.
    pub(super) fn resource(&self, number: u64, state: &State, base: &str) -> Value {
        let members = self.members.iter().map(|member| {
            json!({
                "value": state.user_id(*member),
                "display": state.user(*member).map(|user| &*user.user_name).unwrap_or_default(),
            })
        });
        let mut shown = self.resource_without_members(number, state, base);
        shown.insert("members".to_owned(), members.collect());
        shown.into()
    }

    /// The group as it is shown to who does not want to see its members.
    pub(super) fn resource_without_members(
        &self,
        number: u64,
        state: &State,
        base: &str,
    ) -> Map<String, Value> {
        let id = state.group_id(number);
        let location = format!("{base}/Groups/{id}");
        let mut shown = Map::new();
        let mut put = |key: &str, value: Value| shown.insert(key.to_owned(), value);
        put("schemas", json!([GROUP_SCHEMA]));
        put("id", json!(id));
        put("displayName", json!(&*self.display_name));
        if let Some(external_id) = &self.external_id {
            put("externalId", json!(external_id));
        }
        put(
            "meta",
            json!({"resourceType": "Group", "location": location}),
        );
        shown
    }

    /// Changes one attribute.
    pub(super) fn apply(&mut self, operation: &Operation, state: &State) -> Result<(), Problem> {
        if operation.passes_over(&READ_ONLY)? {
            return Ok(());
        }
        match operation.path.attribute.as_str() {
            "displayname" => {
                let value = operation.single()?;
                let value = value.ok_or_else(|| Problem::value("`displayName` is required"))?;
                self.display_name = display_name(value)?;
            }
            "externalid" => {
                let value = operation.single()?;
                let text = |value| json::text(value, "externalId");
                self.external_id = value.map(text).transpose()?;
            }
            "members" => self.apply_members(operation, state)?,
            _ => {}
        }
        Ok(())
    }

    /// Whether a filter's comparison holds.
    pub(super) fn matches(
        &self,
        id: &str,
        term: &filter::Term,
        state: &State,
    ) -> Result<bool, Problem> {
        let text = term.text().ok_or_else(filter::unsupported)?;
        match term.attribute.as_str() {
            "id" => Ok(id == text),
            "displayname" => Ok(folded(&self.display_name) == folded(text)),
            "externalid" => Ok(self.external_id.as_deref() == Some(text)),
            "members" | "members.value" => {
                let number = state.user_number(text).ok();
                Ok(number.is_some_and(|number| self.members.contains(&number)))
            }
            _ => Err(filter::unsupported()),
        }
    }

    fn apply_members(&mut self, operation: &Operation, state: &State) -> Result<(), Problem> {
        if operation.path.sub.is_some() {
            return Err(invalid_path("`members` are changed whole"));
        }
        match (&operation.path.filter, operation.verb) {
            (None, Verb::Add) => self.add(&operation.value, state),
            (None, Verb::Replace) => {
                self.members.clear();
                self.add(&operation.value, state)
            }
            (None, Verb::Remove) if operation.value.is_null() => {
                self.members.clear();
                Ok(())
            }
            (None, Verb::Remove) => {
                for member in listed(&operation.value) {
                    self.remove(member_id(member)?, state);
                }
                Ok(())
            }
            (Some(terms), Verb::Remove) => {
                let [term] = terms.as_slice() else {
                    return Err(filter::unsupported());
                };
                match (term.attribute.as_str(), term.text()) {
                    ("value", Some(id)) => self.remove(id, state),
                    _ => return Err(filter::unsupported()),
                }
                Ok(())
            }
            (Some(_), _) => Err(invalid_path("`members` with a filter can only be removed")),
        }
    }

    /// Adds users that exist. One that does not is refused: a group with fewer members than the
    /// identity provider believes could be one that a rule denies something to.
    fn add(&mut self, members: &Value, state: &State) -> Result<(), Problem> {
        for member in listed(members) {
            let id = member_id(member)?;
            let number = state
                .user_number(id)
                .map_err(|_| Problem::value(format!("`members`: no user {}", quoted(id))))?;
            self.members.insert(number);
        }
        Ok(())
    }

    /// Who is not a member, or not there any more, is removed as well as can be.
    fn remove(&mut self, id: &str, state: &State) {
        if let Ok(number) = state.user_number(id) {
            self.members.remove(&number);
        }
    }
}

/// Refuses a PATCH that names too many members.
pub(super) fn check_size(operations: &[Operation]) -> Result<(), Problem> {
    let members = operations
        .iter()
        .filter(|operation| operation.path.attribute == "members");
    check_count(
        members
            .map(|operation| listed(&operation.value).len())
            .sum(),
    )
}

fn check_count(members: usize) -> Result<(), Problem> {
    if members > MEMBERS_PER_REQUEST_MAX {
        let message = format!("more than {MEMBERS_PER_REQUEST_MAX} members in one request");
        return Err(Problem::new(413, message));
    }
    Ok(())
}

/// The members of a list, or one.
fn listed(value: &Value) -> &[Value] {
    match value {
        Value::Array(listed) => listed,
        Value::Null => &[],
        one => std::slice::from_ref(one),
    }
}

fn member_id(member: &Value) -> Result<&str, Problem> {
    let attributes = Attributes::of(member, "one of `members`")?;
    attributes
        .get("value")
        .and_then(Value::as_str)
        .ok_or_else(|| Problem::value("one of `members` has no `value`"))
}

fn display_name(value: &Value) -> Result<Arc<str>, Problem> {
    let Some(text) = value.as_str() else {
        return Err(Problem::value("`displayName` is not a string"));
    };
    match group_fault(text) {
        None => Ok(text.into()),
        Some(fault) => {
            let message = format!("`displayName`: {} {fault}", quoted(text));
            Err(Problem::value(message))
        }
    }
}

//! A user of the store.
use super::json::{self, Attributes};
use super::patch::{AttributePath, Operation, Verb, invalid_path};
use super::problem::Problem;
use super::state::State;
use super::{USER_SCHEMA, filter};
use crate::directory::diagnostic::quoted;
use crate::directory::name::{fault, folded};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const EMAILS_MAX: usize = 16;
const READ_ONLY: [&str; 4] = ["id", "meta", "schemas", "groups"];
/// Sub-attributes of `name`, as they are written.
const NAME_PARTS: [&str; 6] = [
    "formatted",
    "familyName",
    "givenName",
    "middleName",
    "honorificPrefix",
    "honorificSuffix",
];

/// What is stored of a user. Everything else that is sent is passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) user_name: Arc<str>,
    pub(super) external_id: Option<String>,
    pub(super) display_name: Option<String>,
    /// The values of [`NAME_PARTS`].
    name: [Option<String>; NAME_PARTS.len()],
    emails: Vec<Email>,
    pub(super) active: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Email {
    value: Option<String>,
    display: Option<String>,
    kind: Option<String>,
    primary: Option<bool>,
}

impl User {
    /// A user as it is sent. `active` is what counts when it is not sent; a new user is active.
    pub(super) fn from_resource(body: &Value, active: Option<bool>) -> Result<User, Problem> {
        let sent = Attributes::of(body, "the body")?;
        sent.check_schema(USER_SCHEMA)?;
        let user_name = sent
            .get("username")
            .ok_or_else(|| Problem::value("`userName` is missing"))?;
        let mut user = User {
            user_name: self::user_name(user_name)?,
            external_id: sent.text("externalid", "externalId")?,
            display_name: sent.text("displayname", "displayName")?,
            name: Default::default(),
            emails: Vec::new(),
            active: active.unwrap_or(true),
        };
        if let Some(active) = sent.get("active") {
            user.active = json::truth(active, "active")?;
        }
        if let Some(name) = sent.get("name") {
            user.merge_name(name)?;
        }
        if let Some(emails) = sent.get("emails") {
            user.emails = self::emails(emails)?;
        }
        Ok(user)
    }

    /// The user as it is shown.
    pub(super) fn resource(&self, number: u64, state: &State, base: &str) -> Value {
        let id = state.user_id(number);
        let groups: Vec<Value> = state
            .groups_of(number)
            .map(|(number, group)| {
                json!({
                    "value": state.group_id(number),
                    "display": &*group.display_name,
                    "type": "direct",
                })
            })
            .collect();
        let mut shown = Map::new();
        let mut put = |key: &str, value: Value| shown.insert(key.to_owned(), value);
        put("schemas", json!([USER_SCHEMA]));
        put("userName", json!(&*self.user_name));
        for (key, value) in [
            ("externalId", &self.external_id),
            ("displayName", &self.display_name),
        ] {
            if let Some(value) = value {
                put(key, json!(value));
            }
        }
        let name: Map<String, Value> = NAME_PARTS
            .iter()
            .zip(&self.name)
            .filter_map(|(part, value)| Some(((*part).to_owned(), json!(value.as_ref()?))))
            .collect();
        if !name.is_empty() {
            put("name", name.into());
        }
        if !self.emails.is_empty() {
            put("emails", self.emails.iter().map(Email::shown).collect());
        }
        put("active", json!(self.active));
        put("groups", groups.into());
        let location = format!("{base}/Users/{id}");
        put(
            "meta",
            json!({"resourceType": "User", "location": location}),
        );
        put("id", json!(id));
        shown.into()
    }

    /// Changes one attribute.
    pub(super) fn apply(&mut self, operation: &Operation) -> Result<(), Problem> {
        if operation.passes_over(&READ_ONLY)? {
            return Ok(());
        }
        let stored = |value: Option<&Value>, name| {
            let text = value.map(|value| json::text(value, name)).transpose();
            text.map(|text| text.filter(|text| !text.is_empty()))
        };
        match operation.path.attribute.as_str() {
            "username" => {
                let value = operation.single()?;
                let value = value.ok_or_else(|| Problem::value("`userName` is required"))?;
                self.user_name = user_name(value)?;
            }
            "externalid" => self.external_id = stored(operation.single()?, "externalId")?,
            "displayname" => self.display_name = stored(operation.single()?, "displayName")?,
            // Who is no longer said to be active is not.
            "active" => {
                let active = operation.single()?;
                self.active = active.map_or(Ok(false), |value| json::truth(value, "active"))?;
            }
            "name" => self.apply_name(operation)?,
            "emails" => self.apply_emails(operation)?,
            _ => {}
        }
        Ok(())
    }

    /// Whether a filter's comparison holds.
    pub(super) fn matches(&self, id: &str, term: &filter::Term) -> Result<bool, Problem> {
        let text = || term.text().ok_or_else(filter::unsupported);
        let same = |one: &Option<String>, other: &str| {
            one.as_ref().is_some_and(|one| folded(one) == folded(other))
        };
        match term.attribute.as_str() {
            "id" => Ok(id == text()?),
            "username" => Ok(folded(&self.user_name) == folded(text()?)),
            "externalid" => Ok(self.external_id.as_deref() == Some(text()?)),
            "displayname" => Ok(same(&self.display_name, text()?)),
            "emails.value" | "emails" => {
                let text = text()?;
                Ok(self.emails.iter().any(|email| same(&email.value, text)))
            }
            "active" => Ok(self.active == json::truth(&term.value, "active")?),
            _ => Err(filter::unsupported()),
        }
    }

    fn apply_name(&mut self, operation: &Operation) -> Result<(), Problem> {
        let AttributePath { filter, sub, .. } = &operation.path;
        if filter.is_some() {
            return Err(invalid_path("`name` has a single value"));
        }
        match (sub, operation.given()) {
            (None, None) => self.name = Default::default(),
            (None, Some(value)) => self.merge_name(value)?,
            (Some(sub), value) => self.set_name(sub, value)?,
        }
        Ok(())
    }

    fn merge_name(&mut self, value: &Value) -> Result<(), Problem> {
        let sent = Attributes::of(value, "`name`")?;
        for part in NAME_PARTS {
            let key = part.to_lowercase();
            if let Some(value) = sent.get(&key) {
                self.set_name(&key, Some(value))?;
            }
        }
        Ok(())
    }

    fn set_name(&mut self, key: &str, value: Option<&Value>) -> Result<(), Problem> {
        let mut parts = NAME_PARTS.iter().zip(&mut self.name);
        if let Some((part, stored)) = parts.find(|(part, _)| part.eq_ignore_ascii_case(key)) {
            *stored = value.map(|value| json::text(value, part)).transpose()?;
        }
        Ok(())
    }

    fn apply_emails(&mut self, operation: &Operation) -> Result<(), Problem> {
        let AttributePath { filter, sub, .. } = &operation.path;
        let given = operation.given();
        let Some(filter) = filter else {
            if sub.is_some() {
                return Err(invalid_path("which of the `emails`?"));
            }
            let sent = given.map_or(Ok(Vec::new()), emails)?;
            if operation.verb != Verb::Add {
                self.emails.clear();
            }
            for email in sent {
                if !self.emails.contains(&email) {
                    self.emails.push(email);
                }
            }
            return self.check_emails();
        };
        let mut matching = Vec::new();
        for email in &self.emails {
            matching.push(email.matches_all(filter)?);
        }
        if given.is_none() && sub.is_none() {
            let mut matching = matching.into_iter();
            self.emails.retain(|_| !matching.next().unwrap_or(false));
            return Ok(());
        }
        // Entra replaces the work address of users that have none yet.
        if !matching.contains(&true) && given.is_some() {
            self.emails.push(Email::of_filter(filter)?);
            matching.push(true);
        }
        for (email, _) in self.emails.iter_mut().zip(matching).filter(|(_, it)| *it) {
            match sub {
                Some(sub) => email.set(sub, given)?,
                None => email.merge(given.unwrap_or(&Value::Null))?,
            }
        }
        self.check_emails()
    }

    fn check_emails(&self) -> Result<(), Problem> {
        if self.emails.len() > EMAILS_MAX {
            let message = format!("more than {EMAILS_MAX} `emails`");
            return Err(Problem::value(message));
        }
        Ok(())
    }
}

impl Email {
    fn shown(&self) -> Value {
        let mut shown = Map::new();
        let mut put = |key: &str, value: Value| shown.insert(key.to_owned(), value);
        for (key, value) in [
            ("value", &self.value),
            ("display", &self.display),
            ("type", &self.kind),
        ] {
            if let Some(value) = value {
                put(key, json!(value));
            }
        }
        if let Some(primary) = self.primary {
            put("primary", json!(primary));
        }
        shown.into()
    }

    fn merge(&mut self, value: &Value) -> Result<(), Problem> {
        let sent = Attributes::of(value, "one of `emails`")?;
        for key in ["value", "display", "type", "primary"] {
            if let Some(value) = sent.get(key) {
                self.set(key, Some(value))?;
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: Option<&Value>) -> Result<(), Problem> {
        let stored = match key {
            "value" => &mut self.value,
            "display" => &mut self.display,
            "type" => &mut self.kind,
            "primary" => {
                let truth = |value| json::truth(value, "emails.primary");
                self.primary = value.map(truth).transpose()?;
                return Ok(());
            }
            _ => return Ok(()),
        };
        let name = format!("emails.{key}");
        *stored = value.map(|value| json::text(value, &name)).transpose()?;
        Ok(())
    }

    /// An address for which a filter holds.
    fn of_filter(filter: &[filter::Term]) -> Result<Email, Problem> {
        let mut email = Email::default();
        for term in filter {
            email.set(&term.attribute, Some(&term.value))?;
        }
        Ok(email)
    }

    fn matches_all(&self, filter: &[filter::Term]) -> Result<bool, Problem> {
        let mut all = true;
        for term in filter {
            let stored = match term.attribute.as_str() {
                "value" => &self.value,
                "display" => &self.display,
                "type" => &self.kind,
                "primary" => {
                    let wanted = json::truth(&term.value, "emails.primary")?;
                    all &= self.primary.unwrap_or(false) == wanted;
                    continue;
                }
                _ => return Err(filter::unsupported()),
            };
            let wanted = term.text().ok_or_else(filter::unsupported)?;
            let stored = stored.as_ref();
            all &= stored.is_some_and(|stored| folded(stored) == folded(wanted));
        }
        Ok(all)
    }
}

fn user_name(value: &Value) -> Result<Arc<str>, Problem> {
    let Some(text) = value.as_str() else {
        return Err(Problem::value("`userName` is not a string"));
    };
    match fault(text) {
        None => Ok(text.into()),
        Some(fault) => {
            let message = format!("`userName`: {} {fault}", quoted(text));
            Err(Problem::value(message))
        }
    }
}

/// A list of addresses, or one.
fn emails(value: &Value) -> Result<Vec<Email>, Problem> {
    let listed = match value {
        Value::Array(listed) => listed.as_slice(),
        one => std::slice::from_ref(one),
    };
    if listed.len() > EMAILS_MAX {
        let message = format!("more than {EMAILS_MAX} `emails`");
        return Err(Problem::value(message));
    }
    let mut emails = Vec::new();
    for value in listed {
        let mut email = Email::default();
        email.merge(value)?;
        emails.push(email);
    }
    Ok(emails)
}

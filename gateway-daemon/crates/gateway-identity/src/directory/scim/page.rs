//! Lists: the part that was asked for, and the attributes of it. RFC 7644, 3.4.2 and 3.9.
use super::filter::{self, Term};
use super::problem::Problem;
use super::state::State;
use super::{GROUP_SCHEMA, USER_SCHEMA};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const LIST_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
const COUNT_DEFAULT: usize = 100;
/// Also what `/ServiceProviderConfig` says.
pub(super) const COUNT_MAX: usize = 1000;
/// A page of groups ends when it shows so many members: a group can be large.
const MEMBERS_PER_PAGE_MAX: usize = 50_000;

/// Which attributes are to be shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Projection {
    /// Only these, in lower case, and what is always shown.
    only: Option<BTreeSet<String>>,
    without: BTreeSet<String>,
}

/// Which part of a list is to be shown.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// From 1.
    start: usize,
    count: usize,
    filter: Option<String>,
    shown: Projection,
}

/// The parameters of a query, each once. Their names are compared as they are written.
fn parameters(query: &str) -> Result<BTreeMap<String, String>, Problem> {
    let mut parameters = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if parameters
            .insert(name.into_owned(), value.into_owned())
            .is_some()
        {
            // Which of the two filters would count?
            return Err(Problem::value("a parameter of the query is given twice"));
        }
    }
    Ok(parameters)
}

impl Projection {
    pub(super) fn of(query: &str) -> Result<Projection, Problem> {
        Ok(Projection::from(&parameters(query)?))
    }

    fn from(parameters: &BTreeMap<String, String>) -> Projection {
        let names = |list: &String| -> BTreeSet<String> {
            // A part of an attribute, like `name.familyName`, brings all of it.
            let name = |name: &str| {
                let name = filter::unqualified(name.trim(), USER_SCHEMA);
                let name = filter::unqualified(name, GROUP_SCHEMA).to_lowercase();
                name.split('.').next().unwrap_or_default().to_owned()
            };
            list.split(',').map(name).collect()
        };
        let without = parameters.get("excludedAttributes").map(names);
        Projection {
            only: parameters.get("attributes").map(names),
            without: without.unwrap_or_default(),
        }
    }

    fn shows(&self, attribute: &str) -> bool {
        let name = attribute.to_lowercase();
        let only = self.only.as_ref();
        let always = matches!(attribute, "id" | "schemas");
        always || (only.is_none_or(|only| only.contains(&name)) && !self.without.contains(&name))
    }

    pub(super) fn apply(&self, value: Value) -> Value {
        match value {
            Value::Object(attributes) => {
                let shown = attributes.into_iter().filter(|(name, _)| self.shows(name));
                Value::Object(shown.collect::<Map<_, _>>())
            }
            other => other,
        }
    }
}

impl Page {
    pub(super) fn of(query: &str) -> Result<Page, Problem> {
        let parameters = parameters(query)?;
        let number = |name: &str, default: usize| match parameters.get(name) {
            None => Ok(default),
            Some(text) => match text.trim().parse::<i64>() {
                // RFC 7644, 3.4.2.4: what is below the least is the least.
                Ok(number) => Ok(usize::try_from(number).unwrap_or(0)),
                Err(_) => Err(Problem::value(format!("`{name}` is not a whole number"))),
            },
        };
        Ok(Page {
            start: number("startIndex", 1)?.max(1),
            count: number("count", COUNT_DEFAULT)?.min(COUNT_MAX),
            filter: parameters.get("filter").cloned(),
            shown: Projection::from(&parameters),
        })
    }

    /// The list of users.
    pub(super) fn users(&self, state: &State, base: &str) -> Result<Value, Problem> {
        let terms = self.terms(USER_SCHEMA)?;
        let mut matching = Vec::new();
        // The question that identity providers ask all the time.
        let named = terms.iter().find(|term| term.attribute == "username");
        match named.map(|term| term.text().ok_or_else(filter::unsupported)) {
            Some(name) => matching.extend(state.named(name?)),
            None => matching.extend(state.content.users.keys()),
        }
        let mut failed = None;
        matching.retain(|number| {
            let holds = |term: &Term| {
                let user = state.user(*number)?;
                user.matches(&state.user_id(*number), term)
            };
            all(&terms, holds).unwrap_or_else(|problem| {
                failed = Some(problem);
                false
            })
        });
        if let Some(problem) = failed {
            return Err(problem);
        }
        let mut shown = Vec::new();
        for number in self.cut(&matching) {
            let user = state.user(*number)?;
            shown.push(self.shown.apply(user.resource(*number, state, base)));
        }
        Ok(self.list(matching.len(), shown))
    }

    /// The list of groups.
    pub(super) fn groups(&self, state: &State, base: &str) -> Result<Value, Problem> {
        let terms = self.terms(GROUP_SCHEMA)?;
        let mut matching = Vec::new();
        for (number, group) in &state.content.groups {
            let id = state.group_id(*number);
            if all(&terms, |term| group.matches(&id, term, state))? {
                matching.push(*number);
            }
        }
        let mut shown = Vec::new();
        let mut members = 0;
        for number in self.cut(&matching) {
            let group = state.group(*number)?;
            let value = if self.shown.shows("members") {
                members += group.members.len();
                if members > MEMBERS_PER_PAGE_MAX && !shown.is_empty() {
                    break;
                }
                group.resource(*number, state, base)
            } else {
                group.resource_without_members(*number, state, base).into()
            };
            shown.push(self.shown.apply(value));
        }
        Ok(self.list(matching.len(), shown))
    }

    fn terms(&self, schema: &str) -> Result<Vec<Term>, Problem> {
        match &self.filter {
            None => Ok(Vec::new()),
            Some(filter) => filter::parse(filter, schema),
        }
    }

    fn cut<'a>(&self, numbers: &'a [u64]) -> &'a [u64] {
        let rest = numbers.get(self.start - 1..).unwrap_or_default();
        rest.get(..self.count).unwrap_or(rest)
    }

    fn list(&self, total: usize, shown: Vec<Value>) -> Value {
        json!({
            "schemas": [LIST_SCHEMA],
            "totalResults": total,
            "startIndex": self.start,
            "itemsPerPage": shown.len(),
            "Resources": shown,
        })
    }
}

/// Whether every comparison holds. All of them are made, so that one that is not supported is said
/// whatever the others are.
fn all(
    terms: &[Term],
    mut holds: impl FnMut(&Term) -> Result<bool, Problem>,
) -> Result<bool, Problem> {
    let mut all = true;
    for term in terms {
        all &= holds(term)?;
    }
    Ok(all)
}

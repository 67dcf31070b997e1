//! What a caller wants to see of the records, and its form in a query string.
use gateway_core::{SessionId, Timestamp, TreeId, Verb};

/// Longest value of one key, in bytes.
const VALUE_BYTES_MAX: usize = 4096;
/// The verdicts that a record can have.
pub const VERDICTS: [&str; 6] = ["allow", "deny", "hold", "approved", "denied", "expired"];

/// All conditions that are given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The principal's id; `*` matches any characters.
    pub principal: Option<String>,
    /// The tree.
    pub tree: Option<TreeId>,
    /// The session.
    pub session: Option<SessionId>,
    /// The resource; `*` matches any characters.
    pub resource: Option<String>,
    /// The protocol.
    pub protocol: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Only sessions that are open.
    pub live: bool,
    /// Any of the operation's verbs.
    pub verb: Option<Verb>,
    /// The verdict.
    pub verdict: Option<String>,
    /// The statement holds this text, whatever its case.
    pub grep: Option<String>,
    /// A sensitive field that was returned in the clear; `*` matches any characters.
    pub disclosed: Option<String>,
    /// A field of which values were covered; `*` matches any characters.
    pub masked: Option<String>,
}

/// What a caller wants to see of what people did to the gateway. All conditions that are given
/// must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActFilter {
    /// Who did it; `*` matches any characters.
    pub principal: Option<String>,
    /// What: `approve`, `kill` …
    pub act: Option<String>,
    /// To what; `*` matches any characters.
    pub target: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
}

impl ActFilter {
    /// Reads a query string.
    ///
    /// # Errors
    /// An unknown or repeated key, or a value that does not fit.
    pub fn from_query(query: &str) -> Result<ActFilter, FilterError> {
        let mut filter = ActFilter::default();
        each_pair(query, |key, value| {
            match key {
                "principal" => filter.principal = Some(value.to_owned()),
                "act" => filter.act = Some(value.to_owned()),
                "target" => filter.target = Some(value.to_owned()),
                "since" => filter.since = Some(Timestamp(parse(key, value)?)),
                _ => return Err(FilterError::UnknownKey(key.to_owned())),
            }
            Ok(())
        })?;
        Ok(filter)
    }

    /// Its form in a query string; empty when there is no condition.
    #[must_use]
    pub fn to_query(&self) -> String {
        to_query([
            ("principal", self.principal.clone()),
            ("act", self.act.clone()),
            ("target", self.target.clone()),
            ("since", self.since.map(|since| since.0.to_string())),
        ])
    }
}

/// Reads the query string of a replay: the number of the record behind which it goes on.
///
/// # Errors
/// An unknown or repeated key, or a value that does not fit.
pub(crate) fn after_from_query(query: &str) -> Result<Option<u64>, FilterError> {
    let mut after = None;
    each_pair(query, |key, value| match key {
        "after" => {
            after = Some(parse(key, value)?);
            Ok(())
        }
        _ => Err(FilterError::UnknownKey(key.to_owned())),
    })?;
    Ok(after)
}

/// A query that cannot be understood. Nothing is shown rather than too much.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// No such key.
    #[error("unknown filter {0:?}")]
    UnknownKey(String),
    /// The key was given twice.
    #[error("filter {0:?} is given twice")]
    Twice(String),
    /// The value does not fit.
    #[error("filter {key}: {reason}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Filter {
    /// Reads a query string. `follow` is returned beside, since it is no condition.
    ///
    /// # Errors
    /// An unknown or repeated key, or a value that does not fit.
    pub fn from_query(query: &str) -> Result<(Filter, bool), FilterError> {
        let mut filter = Filter::default();
        let mut follow = false;
        each_pair(query, |key, value| {
            if key == "follow" {
                follow = parse(key, value)?;
                return Ok(());
            }
            filter.set(key, value)
        })?;
        Ok((filter, follow))
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), FilterError> {
        match key {
            "principal" => self.principal = Some(value.to_owned()),
            "tree" => self.tree = Some(parse(key, value)?),
            "session" => self.session = Some(parse(key, value)?),
            "resource" => self.resource = Some(value.to_owned()),
            "protocol" => self.protocol = Some(value.to_owned()),
            "since" => self.since = Some(Timestamp(parse(key, value)?)),
            "live" => self.live = parse(key, value)?,
            "verb" => self.verb = Some(parse(key, value)?),
            "verdict" => self.verdict = Some(verdict(key, value)?),
            "grep" => self.grep = Some(value.to_owned()),
            "disclosed" => self.disclosed = Some(value.to_owned()),
            "masked" => self.masked = Some(value.to_owned()),
            _ => return Err(FilterError::UnknownKey(key.to_owned())),
        }
        Ok(())
    }

    /// Its form in a query string; empty when there is no condition.
    #[must_use]
    pub fn to_query(&self, follow: bool) -> String {
        to_query([
            ("principal", self.principal.clone()),
            ("tree", self.tree.map(|tree| tree.to_string())),
            ("session", self.session.map(|session| session.to_string())),
            ("resource", self.resource.clone()),
            ("protocol", self.protocol.clone()),
            ("since", self.since.map(|since| since.0.to_string())),
            ("live", self.live.then(|| "true".to_owned())),
            ("verb", self.verb.map(|verb| verb.to_string())),
            ("verdict", self.verdict.clone()),
            ("grep", self.grep.clone()),
            ("disclosed", self.disclosed.clone()),
            ("masked", self.masked.clone()),
            ("follow", follow.then(|| "true".to_owned())),
        ])
    }
}

/// Takes a query string apart. No key may come twice, and no value may be too long.
fn each_pair(
    query: &str,
    mut set: impl FnMut(&str, &str) -> Result<(), FilterError>,
) -> Result<(), FilterError> {
    let mut seen: Vec<String> = Vec::new();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        if seen.iter().any(|other| *other == key) {
            return Err(FilterError::Twice(key.into_owned()));
        }
        if value.len() > VALUE_BYTES_MAX {
            let reason = format!("longer than {VALUE_BYTES_MAX} bytes");
            return Err(FilterError::Value {
                key: key.into_owned(),
                reason,
            });
        }
        set(&key, &value)?;
        seen.push(key.into_owned());
    }
    Ok(())
}

fn to_query<const N: usize>(pairs: [(&str, Option<String>); N]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (key, value) in pairs {
        if let Some(value) = value {
            query.append_pair(key, &value);
        }
    }
    query.finish()
}

fn parse<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, FilterError>
where
    T::Err: std::fmt::Display,
{
    let reason = |error: T::Err| FilterError::Value {
        key: key.to_owned(),
        reason: error.to_string(),
    };
    value.parse().map_err(reason)
}

fn verdict(key: &str, value: &str) -> Result<String, FilterError> {
    if VERDICTS.contains(&value) {
        return Ok(value.to_owned());
    }
    let reason = format!(
        "no such verdict: {value:?} (expected one of {})",
        VERDICTS.join(", ")
    );
    Err(FilterError::Value {
        key: key.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_survives_its_query() {
        let full = Filter {
            principal: Some("ci:github:acme/*&x=1".into()),
            tree: Some(TreeId(3)),
            session: Some(SessionId(9)),
            resource: Some("10.0.0.7:5432".into()),
            protocol: Some("postgres".into()),
            since: Some(Timestamp(u64::MAX)),
            live: true,
            verb: Some(Verb::Delete),
            verdict: Some("deny".into()),
            grep: Some("ü % + \n".into()),
            disclosed: Some("public.users.*".into()),
            masked: Some("detected:credit-card".into()),
        };
        for filter in [Filter::default(), full] {
            for follow in [false, true] {
                let query = filter.to_query(follow);
                assert_eq!(
                    Filter::from_query(&query),
                    Ok((filter.clone(), follow)),
                    "{query}"
                );
            }
        }
    }

    #[test]
    fn a_filter_of_acts_survives_its_query_too() {
        let full = ActFilter {
            principal: Some("user:*@acme.com".into()),
            act: Some("approve".into()),
            target: Some("s00&1".into()),
            since: Some(Timestamp(7)),
        };
        for filter in [ActFilter::default(), full] {
            assert_eq!(ActFilter::from_query(&filter.to_query()), Ok(filter));
        }
        for query in ["verb=read", "act=a&act=b", "since=x"] {
            assert!(ActFilter::from_query(query).is_err(), "{query}");
        }
    }

    #[test]
    fn a_replay_goes_on_behind_a_record() {
        assert_eq!(after_from_query(""), Ok(None));
        assert_eq!(after_from_query("after=7"), Ok(Some(7)));
        for query in ["after", "after=-1", "after=1&after=2", "follow=true"] {
            assert!(after_from_query(query).is_err(), "{query}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let long = format!("grep={}", "x".repeat(5000));
        for query in [
            "nope=1",
            "tree=x",
            "verb=drop",
            "verdict=perhaps",
            "since=-1",
            "live=maybe",
            "follow=2",
            "verb=read&verb=write",
            "session=t0000000000001",
            &long,
        ] {
            assert!(Filter::from_query(query).is_err(), "{query}");
        }
    }
}

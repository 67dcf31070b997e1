//! Any sequence of requests against a model that knows no indexes.
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const USERS: usize = 4;
const GROUPS: usize = 3;

/// Users and groups are named by small numbers, so that requests meet.
#[derive(Clone, Debug)]
enum Step {
    Create(usize, bool),
    Rename(usize, usize),
    Activate(usize, bool),
    Delete(usize),
    CreateGroup(usize, Vec<usize>),
    RenameGroup(usize, usize),
    Add(usize, Vec<usize>),
    Replace(usize, Vec<usize>),
    Remove(usize, usize),
    DeleteGroup(usize),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (user, group) = (0..USERS, 0..GROUPS);
    let users = || prop::collection::vec(0..USERS, 0..3);
    let step = prop_oneof![
        4 => (user.clone(), any::<bool>()).prop_map(|(u, a)| Step::Create(u, a)),
        2 => (user.clone(), user.clone()).prop_map(|(u, v)| Step::Rename(u, v)),
        2 => (user.clone(), any::<bool>()).prop_map(|(u, a)| Step::Activate(u, a)),
        2 => user.clone().prop_map(Step::Delete),
        3 => (group.clone(), users()).prop_map(|(g, u)| Step::CreateGroup(g, u)),
        1 => (group.clone(), group.clone()).prop_map(|(g, h)| Step::RenameGroup(g, h)),
        3 => (group.clone(), users()).prop_map(|(g, u)| Step::Add(g, u)),
        2 => (group.clone(), users()).prop_map(|(g, u)| Step::Replace(g, u)),
        2 => (group.clone(), user).prop_map(|(g, u)| Step::Remove(g, u)),
        1 => group.prop_map(Step::DeleteGroup),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..40)
}

/// What should be: people by name, each with the id that the store gave.
#[derive(Debug, Default)]
struct Model {
    users: BTreeMap<usize, (String, bool)>,
    left: BTreeSet<usize>,
    groups: BTreeMap<usize, (String, BTreeSet<String>)>,
}

impl Model {
    /// The id of a user, or one that nobody has.
    fn id(&self, user: usize) -> String {
        let id = self.users.get(&user).map(|(id, _)| id.clone());
        id.unwrap_or_else(|| "u0-00000000000000ff".to_owned())
    }

    fn group_id(&self, group: usize) -> String {
        let id = self.groups.get(&group).map(|(id, _)| id.clone());
        id.unwrap_or_else(|| "g0-00000000000000ff".to_owned())
    }

    fn ids(&self, users: &[usize]) -> Vec<String> {
        users.iter().map(|user| self.id(*user)).collect()
    }

    fn exist(&self, users: &[usize]) -> bool {
        users.iter().all(|user| self.users.contains_key(user))
    }

    fn expected(&self, user: usize) -> Option<(Status, BTreeSet<String>)> {
        match self.users.get(&user) {
            Some((id, true)) => {
                let holds = |(_, (_, members)): &(&usize, &(String, BTreeSet<String>))| {
                    members.contains(id)
                };
                let groups = self.groups.iter().filter(holds);
                let names = groups.map(|(group, _)| format!("group{group}"));
                Some((Status::Active, names.collect()))
            }
            Some((_, false)) => Some((Status::Offboarded, BTreeSet::new())),
            None => self
                .left
                .contains(&user)
                .then(|| (Status::Offboarded, BTreeSet::new())),
        }
    }

    /// Does a step in the store and here, and says the status that was due and the one that came.
    fn step(&mut self, scim: &Scim, step: &Step) -> (u16, u16) {
        match step {
            Step::Create(user, active) => self.create(scim, *user, *active),
            Step::Rename(user, to) => self.rename(scim, *user, *to),
            Step::Activate(user, active) => {
                let body = patch(&json!([{"op": "Replace", "path": "active", "value": active}]));
                let (came, _) = send(scim, "PATCH", &format!("/Users/{}", self.id(*user)), &body);
                let found = self.users.get_mut(user).map(|user| user.1 = *active);
                (if found.is_some() { 200 } else { 404 }, came)
            }
            Step::Delete(user) => {
                let id = self.id(*user);
                let (came, _) = send(scim, "DELETE", &format!("/Users/{id}"), &Value::Null);
                if self.users.remove(user).is_none() {
                    return (404, came);
                }
                self.left.insert(*user);
                for (_, members) in self.groups.values_mut() {
                    members.remove(&id);
                }
                (204, came)
            }
            Step::CreateGroup(group, members) => self.create_group(scim, *group, members),
            Step::RenameGroup(group, to) => {
                let body = patch(&json!([{"op": "Replace",
                    "value": {"displayName": format!("group{to}")}}]));
                let (came, _) = self.patch_group(scim, *group, &body);
                match self.groups.contains_key(group) {
                    false => (404, came),
                    true if group != to && self.groups.contains_key(to) => (409, came),
                    true => {
                        let moved = self.groups.remove(group).unwrap();
                        self.groups.insert(*to, moved);
                        (204, came)
                    }
                }
            }
            Step::Add(group, members) => self.join(scim, *group, members, "add"),
            Step::Replace(group, members) => self.join(scim, *group, members, "replace"),
            Step::Remove(group, user) => {
                let id = self.id(*user);
                let path = format!("members[value eq \"{id}\"]");
                let body = patch(&json!([{"op": "remove", "path": path}]));
                let (came, _) = self.patch_group(scim, *group, &body);
                let found = self.groups.get_mut(group).map(|group| group.1.remove(&id));
                (if found.is_some() { 204 } else { 404 }, came)
            }
            Step::DeleteGroup(group) => {
                let target = format!("/Groups/{}", self.group_id(*group));
                let (came, _) = send(scim, "DELETE", &target, &Value::Null);
                let found = self.groups.remove(group);
                (if found.is_some() { 204 } else { 404 }, came)
            }
            Step::Restart => (0, 0),
        }
    }

    fn create(&mut self, scim: &Scim, user: usize, active: bool) -> (u16, u16) {
        let mut body = super::user(&format!("User{user}"));
        body["active"] = json!(if active { "True" } else { "False" });
        let (came, made) = send(scim, "POST", "/Users", &body);
        if self.users.contains_key(&user) {
            return (409, came);
        }
        let id = made["id"].as_str().unwrap_or_default().to_owned();
        self.users.insert(user, (id, active));
        self.left.remove(&user);
        (201, came)
    }

    fn rename(&mut self, scim: &Scim, user: usize, to: usize) -> (u16, u16) {
        let name = format!("uSER{to}");
        let body = patch(&json!([{"op": "replace", "value": {"userName": name}}]));
        let (came, _) = send(scim, "PATCH", &format!("/Users/{}", self.id(user)), &body);
        match self.users.contains_key(&user) {
            false => (404, came),
            true if user != to && self.users.contains_key(&to) => (409, came),
            true => {
                let moved = self.users.remove(&user).unwrap();
                self.left.insert(user);
                self.left.remove(&to);
                self.users.insert(to, moved);
                (200, came)
            }
        }
    }

    fn create_group(&mut self, scim: &Scim, group: usize, members: &[usize]) -> (u16, u16) {
        let body = super::group(&format!("group{group}"), &self.ids(members));
        let (came, made) = send(scim, "POST", "/Groups", &body);
        if !self.exist(members) {
            return (400, came);
        }
        if self.groups.contains_key(&group) {
            return (409, came);
        }
        let id = made["id"].as_str().unwrap_or_default().to_owned();
        let members = self.ids(members).into_iter().collect();
        self.groups.insert(group, (id, members));
        (201, came)
    }

    fn join(&mut self, scim: &Scim, group: usize, members: &[usize], op: &str) -> (u16, u16) {
        let ids = self.ids(members);
        let listed: Vec<Value> = ids.iter().map(|id| json!({"value": id})).collect();
        let body = patch(&json!([{"op": op, "path": "members", "value": listed}]));
        let (came, _) = self.patch_group(scim, group, &body);
        let exist = self.exist(members);
        let Some((_, stored)) = self.groups.get_mut(&group) else {
            return (404, came);
        };
        if !exist {
            return (400, came);
        }
        if op == "replace" {
            stored.clear();
        }
        stored.extend(ids);
        (204, came)
    }

    fn patch_group(&self, scim: &Scim, group: usize, body: &Value) -> (u16, Value) {
        send(
            scim,
            "PATCH",
            &format!("/Groups/{}", self.group_id(group)),
            body,
        )
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_sequence_of_requests_leaves_what_it_should(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let mut scim = open(&dir);
        let mut model = Model::default();
        for step in &steps {
            let before = scim.generation();
            let content = scim.state.load().content.clone();
            let (due, came) = model.step(&scim, step);
            prop_assert_eq!(due, came, "{:?}", step);
            let changed = scim.state.load().content != content;
            prop_assert_eq!(scim.generation() != before, changed);
            if matches!(step, Step::Restart) {
                drop(scim);
                scim = open(&dir);
            }
            for user in 0..USERS {
                let entry = known(&scim, &format!("user:user{user}"));
                let entry = entry.map(|(status, groups)| {
                    let count = groups.len();
                    let groups: BTreeSet<String> = groups.into_iter().collect();
                    assert_eq!(groups.len(), count, "each once");
                    (status, groups)
                });
                prop_assert_eq!(entry, model.expected(user), "user{} after {:?}", user, step);
            }
            // The indexes are those that the content alone would give, and no member dangles.
            let state = State::clone(&scim.state.load());
            let gone = &state.content.gone;
            prop_assert!(gone.iter().all(|name| state.named(name).is_none()), "one or the other");
            let mut anew = State::new(state.content.clone()).unwrap();
            anew.generation = state.generation;
            prop_assert_eq!(anew, state);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        method in "GET|POST|PUT|PATCH|DELETE",
        path in "/(Users|Groups)(/u1-00000000000000ff|/g2-00000000000000ff|/.{0,8})?",
        query in "(filter=)?.{0,40}",
        body in prop_oneof![
            ".{0,60}".prop_map(String::from),
            "(userName|members|emails|name)?(\\[.{0,12}\\]?)?(\\..{0,6})?".prop_map(|path: String| {
                patch(&json!([{"op": "add", "path": path, "value": {"value": "x"}}])).to_string()
            }),
        ],
    ) {
        let (_dir, scim) = fresh();
        let alice = create_user(&scim, "alice");
        create_group(&scim, "dba", &[alice]);
        send_bytes(&scim, &method, &format!("{path}?{query}"), body.as_bytes());
    }
}

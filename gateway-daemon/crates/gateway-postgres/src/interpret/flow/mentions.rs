//! Which relations a text names, and which names it makes stand for something else.
//!
//! PostgreSQL looks names up once more when a lock that it waited for is its own, and reads views when
//! it plans: what a statement was judged by may be another by the time it runs, if another session
//! makes it so. The two are told apart by names, whatever their schemas.
use super::nodes::{every_node, made_relation};
use super::server::ends_prepared;
use super::text::{is_private, leaves_catalogue, showed_sensitive};
use crate::interpret::tree::Tree;
use crate::mask::outlook::Outlook;
use pg_query::protobuf::ObjectType;
use rustc_hash::FxHasher;
use std::hash::{Hash, Hasher};

/// Names, by their hashes: sorted, each once. Two that have the same hash count as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    hashes: Vec<u64>,
    /// It can be any name.
    any: bool,
}

impl Names {
    /// Of what cannot be read.
    pub(super) fn any() -> Names {
        Names {
            hashes: Vec::new(),
            any: true,
        }
    }

    fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Names {
        let mut found = Names::default();
        found.extend(names);
        found
    }

    fn extend<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        let hash = |name: &str| {
            let mut hasher = FxHasher::default();
            name.hash(&mut hasher);
            hasher.finish()
        };
        self.hashes.extend(names.into_iter().map(hash));
        self.hashes.sort_unstable();
        self.hashes.dedup();
    }

    fn add(&mut self, other: &Names) {
        self.any |= other.any;
        self.hashes.extend_from_slice(&other.hashes);
        self.hashes.sort_unstable();
        self.hashes.dedup();
    }

    fn is_empty(&self) -> bool {
        self.hashes.is_empty() && !self.any
    }

    fn meets(&self, other: &Names) -> bool {
        let has = |hash| other.hashes.binary_search(hash).is_ok();
        self.any && !other.is_empty()
            || other.any && !self.is_empty()
            || self.hashes.iter().any(has)
    }
}

/// What a text names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mentions {
    relations: Names,
    /// There is a view among them: others are behind it, which are not known by name.
    views: bool,
    /// It calls what is not known, and could name any.
    calls: bool,
    /// The names that it makes stand for something else, in which something sensitive may be, or has
    /// been: what others store of it meanwhile would not be known for that.
    given: Names,
    /// What stands for something else there is behind views as well.
    replaces: bool,
    /// It makes a view of what it names: that is there when its transaction ends, and does what its
    /// definition says.
    views_made: bool,
}

impl Mentions {
    /// Of a text that cannot be read.
    pub(super) fn anything() -> Mentions {
        Mentions {
            relations: Names::any(),
            views: true,
            calls: true,
            given: Names::any(),
            replaces: true,
            views_made: true,
        }
    }

    /// Adds those of a statement. `views`: there is a view among its relations; `calls`: it calls what
    /// is not known; `touches`: something sensitive is in it.
    pub(super) fn enter(
        &mut self,
        tree: &Tree,
        outlook: &Outlook,
        views: bool,
        calls: bool,
        touches: bool,
    ) {
        self.views |= views;
        self.calls |= calls;
        let mut relations = Vec::new();
        every_node(tree, &mut |part| {
            if part.kind() == "RangeVar" {
                relations.push(part.text("relname"));
            }
        });
        self.relations.extend(relations.iter().copied());
        self.views_made |= makes_view(tree);
        if ends_prepared(tree) || renames_schema(tree) {
            // Whatever was done in it; all that is in it.
            self.given = Names::any();
            self.replaces = true;
        } else if (touches || showed_sensitive(tree, outlook))
            && !leaves_catalogue(tree)
            && !is_private(tree, outlook)
        {
            self.given.add(&given(tree, &relations));
            // Views know relations by their numbers, whatever these are called.
            self.replaces |= tree.kind() == "ViewStmt" && tree.flag("replace");
        }
    }

    /// Adds those of what it executes.
    pub(super) fn add(&mut self, other: &Mentions) {
        self.relations.add(&other.relations);
        self.views |= other.views;
        self.calls |= other.calls;
        self.given.add(&other.given);
        self.replaces |= other.replaces;
        self.views_made |= other.views_made;
    }

    /// Does it name no relation?
    pub(crate) fn is_empty(&self) -> bool {
        self.relations.is_empty()
    }

    /// May it make something sensitive of what others name?
    pub(crate) fn reveals(&self) -> bool {
        !self.given.is_empty()
    }

    /// Does what it does last until its transaction ends, for others to meet?
    pub(crate) fn lasts(&self) -> bool {
        self.reveals() || self.views_made
    }

    /// May one of the two be behind the other: what this makes of names behind a view that the other
    /// has made, or the other way round?
    pub(crate) fn meets(&self, other: &Mentions) -> bool {
        self.sees(other) || other.views_made && other.sees(self)
    }

    /// May this one see what `other` makes of its names?
    pub(crate) fn sees(&self, other: &Mentions) -> bool {
        self.relations.meets(&other.given)
            || (self.calls || self.views && other.replaces) && !other.given.is_empty()
    }
}

/// A view, or a materialised one, whose definition does something each time.
fn makes_view(tree: &Tree) -> bool {
    tree.kind() == "ViewStmt"
        || tree.kind() == "CreateTableAsStmt"
            && tree.choice::<ObjectType>("objtype") == Some(ObjectType::ObjectMatview)
}

/// Then everything in it goes by other names.
fn renames_schema(tree: &Tree) -> bool {
    tree.kind() == "RenameStmt"
        && tree.choice::<ObjectType>("rename_type") == Some(ObjectType::ObjectSchema)
}

/// The names that a statement gives: those of a view's query it only reads.
fn given(tree: &Tree, relations: &[&str]) -> Names {
    match tree.kind() {
        "ViewStmt" => Names::of(tree.tree("view").map(|view| view.text("relname"))),
        "CreateStmt" | "CreateTableAsStmt" => {
            Names::of(made_relation(tree).map(|range| range.text("relname")))
        }
        "RenameStmt" => Names::of(relations.iter().copied().chain([tree.text("newname")])),
        "AlterTableStmt" | "AlterObjectSchemaStmt" if !relations.is_empty() => {
            Names::of(relations.iter().copied())
        }
        // By another name, or by one that it had before, something else may be found.
        _ => Names::any(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Flow;
    use super::super::tests::outlook;

    /// Does the one see what the other makes of its names?
    fn sees(one: &str, other: &str) -> bool {
        let outlook = outlook();
        let mentions = |sql: &str| Flow::of(sql, &outlook).mentions;
        mentions(one).sees(&mentions(other))
    }

    #[test]
    fn what_becomes_sensitive_is_seen_by_who_names_it() {
        let view = "create view fresh as select email from users";
        assert!(sees("select * from fresh", view));
        assert!(sees(
            "update plain set note = (select 'x' from fresh)",
            view
        ));
        assert!(!sees("select * from users, plain", view), "it is read only");
        assert!(!sees("select 1", view));
        let replaced = "create or replace view plain as select email from users";
        assert!(sees("select note from plain", replaced));
        assert!(
            sees("select id from v", replaced),
            "it could be behind a view"
        );
        assert!(!sees("select id from accounts", replaced));
        for rename in [
            "alter table users rename to plain",
            "alter view v rename to plain",
            "begin; alter table users rename to plain; commit",
            "alter table users set schema other; alter table users rename to plain",
        ] {
            assert!(sees("select note from plain", rename), "{rename}");
        }
        assert!(sees("select 1 from plain", "commit prepared 'x'"));
        assert!(sees("select 1 from s.plain", "alter schema hr rename to s"));
        assert!(sees("select 1 from plain", "prepare p as this is no sql"));
        assert!(
            sees("select f(1)", replaced),
            "what that reads is not known"
        );
        assert!(!sees(
            "select id from v",
            "alter table users rename to plain"
        ));
        let made = "create materialized view m as select email from users";
        assert!(sees("select 1 from m", made) && !sees("select 1 from plain, v", made));
    }

    #[test]
    fn what_is_not_sensitive_concerns_nobody() {
        for change in [
            "create or replace view plain as select id from accounts_of_old",
            "create index on users (email)",
            "create temporary table plain as select email from users",
            "select email from users",
            "update users set name = 'x'",
            "alter table plain add column a int",
        ] {
            assert!(!sees("select note from owners", change), "{change}");
        }
        assert!(!sees("select 1", "commit prepared 'x'"), "it names nothing");
    }
}

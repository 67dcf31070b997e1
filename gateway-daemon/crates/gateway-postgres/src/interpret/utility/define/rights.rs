//! Who may do what: GRANT, REVOKE, roles, owners, row security.
use super::super::naming;
use crate::interpret::classification::anything;
use crate::interpret::names;
use crate::interpret::tree::{Tree, Value};
use crate::interpret::walk::Walk;
use gateway_core::{Object, Verb};
use pg_query::protobuf::{GrantTargetType, ObjectType};

pub(in super::super) fn statement<'a>(walk: &mut Walk<'a, '_>, tree: &'a Tree) -> bool {
    match tree.kind() {
        "GrantStmt" => grant(walk, tree),
        "GrantRoleStmt" => {
            let granted = tree.trees("granted_roles").map(|role| match role.kind() {
                "AccessPriv" => names::of_kind("role", role.text("priv_name")),
                _ => naming::role(Some(role)),
            });
            let roles = naming::or_anything(granted.collect());
            walk.act(Verb::Grant, roles);
        }
        "AlterDefaultPrivilegesStmt" => default_privileges(walk, tree),
        "CreateRoleStmt" => {
            define_and_grant(walk, vec![names::of_kind("role", tree.text("role"))]);
        }
        "AlterRoleStmt" => {
            define_and_grant(walk, vec![naming::role(tree.tree("role"))]);
            // ALTER GROUP ADD USER makes members of the roles in its options.
            walk.define(tree);
        }
        // For the sessions to come, not for this one.
        "AlterRoleSetStmt" => define_and_grant(walk, vec![naming::role(tree.tree("role"))]),
        "DropRoleStmt" => {
            let roles = tree
                .trees("roles")
                .map(|role| naming::role(Some(role)))
                .collect();
            define_and_grant(walk, naming::or_anything(roles));
        }
        "DropOwnedStmt" | "ReassignOwnedStmt" => define_and_grant(walk, vec![anything()]),
        "CreatePolicyStmt" | "AlterPolicyStmt" => {
            walk.define(tree);
            walk.act_on_defined(Verb::Grant);
        }
        "AlterOwnerStmt" => {
            walk.define_typed(tree, "object_type");
            walk.act_on_defined(Verb::Grant);
        }
        _ => return false,
    }
    true
}

fn define_and_grant(walk: &mut Walk<'_, '_>, objects: Vec<Object>) {
    walk.act(Verb::Define, objects.clone());
    walk.act(Verb::Grant, objects);
}

fn grant<'a>(walk: &mut Walk<'a, '_>, tree: &'a Tree) {
    let kind = tree.choice::<ObjectType>("objtype");
    let target = tree.choice::<GrantTargetType>("targtype");
    let mut objects = Vec::new();
    for value in tree.list("objects") {
        match (target, value.tree()) {
            (Some(GrantTargetType::AclTargetAllInSchema), _) => {
                objects.extend(value.string().map(names::schema_wide));
            }
            (Some(GrantTargetType::AclTargetObject), Some(range)) if range.kind() == "RangeVar" => {
                objects.extend(walk.range_objects(range).0);
            }
            (Some(GrantTargetType::AclTargetObject), Some(number)) if is_number(number) => {
                objects.push(anything());
            }
            (Some(GrantTargetType::AclTargetObject), _) => {
                objects.extend(naming::objects(&walk.script.path, kind, value));
            }
            _ => objects.push(anything()),
        }
    }
    walk.act(Verb::Grant, naming::or_anything(objects));
}

/// Large objects go by number.
fn is_number(tree: &Tree) -> bool {
    matches!(tree.kind(), "Integer" | "Float")
}

/// ALTER DEFAULT PRIVILEGES: for what will be made, in some schemas or in all.
fn default_privileges<'a>(walk: &mut Walk<'a, '_>, tree: &'a Tree) {
    let schemas = tree
        .trees("options")
        .filter(|option| option.text("defname") == "schemas")
        .flat_map(|option| option.get("arg").list())
        .filter_map(Value::string);
    let objects = naming::or_anything(schemas.map(names::schema_wide).collect());
    walk.act(Verb::Grant, objects);
}

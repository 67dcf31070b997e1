//! Programs of others on the hooks of ours. Only looks.
//!
//! The kernel runs what is attached to a cgroup before what is attached above it, and on one
//! cgroup in the order of attaching (kernel/bpf/cgroup.c, compute_effective_progs). A program that
//! runs before ours can change the address that ours sees.
use crate::cgroup::Root;
use crate::error::CaptureError;
use crate::inspect;
use crate::syscall::programs_on;
use aya::programs::loaded_programs;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

/// `enum bpf_attach_type` of the hooks that ours are on; and whether a program there can change
/// what the next one sees, or only refuse.
const HOOKS: [(u32, &str, bool); 10] = [
    (0, "ingress", false),
    (1, "egress", false),
    (2, "sock_create", false),
    (3, "sock_ops", true),
    (10, "connect4", true),
    (11, "connect6", true),
    (14, "sendmsg4", true),
    (15, "sendmsg6", true),
    (29, "getpeername4", true),
    (30, "getpeername6", true),
];
/// `BPF_F_ALLOW_OVERRIDE` and `BPF_F_ALLOW_MULTI`: who may attach beside a program.
const OVERRIDE: u32 = 1;
const MULTI: u32 = 2;
/// How many cgroups below the root are looked at.
pub const CGROUPS_MAX: usize = 16_384;

/// A program of somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its name, as far as the kernel keeps it.
    pub name: String,
    /// Where it is attached.
    pub cgroup: PathBuf,
    /// To which hook.
    pub hook: &'static str,
    /// It can change what ours see.
    pub changes: bool,
    /// The kernel attaches nothing beside or below it.
    pub alone: bool,
}

impl std::fmt::Display for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} on {} of {}",
            self.name,
            self.hook,
            self.cgroup.display()
        )
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// The programs of others.
    pub programs: Vec<Other>,
    /// There are more than [`CGROUPS_MAX`] cgroups, and the rest was not looked at.
    pub cut: bool,
}

/// The programs of others at, above and below the root; those of this gateway are known by their
/// pins.
///
/// # Errors
/// The caller may not look.
pub fn others(root: &Root, bpffs_dir: &Path) -> Result<Others, CaptureError> {
    let own = inspect::programs(bpffs_dir)?;
    let names = names()?;
    let mut found = Vec::new();
    let (cgroups, cut) = cgroups(root);
    for (cgroup, place) in cgroups {
        // One that vanishes meanwhile has no programs any more.
        let Ok(file) = File::open(&cgroup) else {
            continue;
        };
        look(&file, &cgroup, place, &own, &names, &mut found)?;
    }
    Ok(Others {
        programs: found,
        cut,
    })
}

/// Where a cgroup is, from the root.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Relation {
    Above,
    At,
    Below,
}

/// Those above, the root, and those below; and whether there are more of these.
fn cgroups(root: &Root) -> (Vec<(PathBuf, Relation)>, bool) {
    let above = root.directory.ancestors().skip(1);
    let above = above.take_while(|path| path.starts_with(&root.mount));
    let mut all: Vec<_> = above
        .map(|path| (path.to_owned(), Relation::Above))
        .collect();
    all.push((root.directory.clone(), Relation::At));
    let mut below = root.cgroups();
    below.retain(|cgroup| *cgroup.path != *root.path);
    let cut = below.len() > CGROUPS_MAX;
    below.truncate(CGROUPS_MAX);
    let below = below.into_iter();
    all.extend(below.map(|cgroup| (root.mount.join(cgroup.path), Relation::Below)));
    (all, cut)
}

fn look(
    file: &File,
    cgroup: &Path,
    place: Relation,
    own: &HashSet<u32>,
    names: &HashMap<u32, String>,
    found: &mut Vec<Other>,
) -> Result<(), CaptureError> {
    for (hook, name, changes) in HOOKS {
        let on = match programs_on(file, hook) {
            Ok(on) => on,
            Err(nix::Error::ENODEV | nix::Error::ENOENT) => continue,
            Err(error) => {
                let what = format!("ask for the programs of {}", cgroup.display());
                return Err(CaptureError::new(what, &std::io::Error::from(error)));
            }
        };
        let others = on.programs.iter().filter(|id| !own.contains(id));
        found.extend(others.map(|id| Other {
            name: names.get(id).cloned().unwrap_or_default(),
            cgroup: cgroup.to_owned(),
            hook: name,
            // What is attached above runs after ours.
            changes: changes && place != Relation::Above,
            alone: is_alone(place, on.flags),
        }));
    }
    Ok(())
}

/// Does the kernel refuse to attach ours because of a program with these flags? (`BPF_F_ALLOW_MULTI`
/// is what a link is attached with; kernel/bpf/cgroup.c, hierarchy_allows_attach.)
fn is_alone(place: Relation, flags: u32) -> bool {
    match place {
        Relation::Above => flags & (MULTI | OVERRIDE) == 0,
        Relation::At => flags & MULTI == 0,
        Relation::Below => false,
    }
}

fn names() -> Result<HashMap<u32, String>, CaptureError> {
    let mut names = HashMap::new();
    for program in loaded_programs() {
        match program.map_err(|error| CaptureError::new("list the eBPF programs", &error)) {
            Ok(program) => {
                let name = program.name_as_str().unwrap_or_default().to_owned();
                names.insert(program.id(), name);
            }
            Err(error @ CaptureError::NotPermitted { .. }) => return Err(error),
            // It went away between being listed and being looked at.
            Err(_) => {}
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_bears_nobody_beside_is_known_by_the_flags() {
        for (place, flags, expected) in [
            (Relation::At, MULTI, false),
            (Relation::At, OVERRIDE, true),
            (Relation::At, 0, true),
            (Relation::Above, MULTI, false),
            (Relation::Above, OVERRIDE, false),
            (Relation::Above, 0, true),
            (Relation::Below, 0, false),
        ] {
            assert_eq!(is_alone(place, flags), expected, "{flags}");
        }
    }

    #[test]
    fn the_way_up_ends_at_the_mount() {
        let root = Root {
            directory: "/nowhere/unified/a/b".into(),
            path: "a/b".into(),
            mount: "/nowhere/unified".into(),
        };
        let (all, cut) = cgroups(&root);
        assert!(!cut);
        let all: Vec<PathBuf> = all.into_iter().map(|(path, _)| path).collect();
        let expected = ["a", "", "a/b"].map(|path| root.mount.join(path));
        let plain = |paths: &[PathBuf]| -> Vec<PathBuf> {
            paths
                .iter()
                .map(|path| path.components().collect())
                .collect()
        };
        assert_eq!(plain(&all), plain(&expected));
    }
}

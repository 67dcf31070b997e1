//! Which container a process lives in.
//!
//! By the word of its monitor, where that is in the lineage: conmon, which podman and CRI-O start
//! for each container, is given its name. Else by the cgroup, in which every engine writes the id:
//! `docker-ID.scope`, `docker/ID`, `libpod-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`,
//! `kubepods/…/ID`; and the name in `lxc.payload.NAME` and `machine-NAME.scope`.
//!
//! It is a label for responders: whoever starts a container names it.
use gateway_core::Process;
use std::sync::Arc;

/// The files of conmon.
const MONITORS: [&str; 3] = [
    "/usr/bin/conmon",
    "/usr/libexec/podman/conmon",
    "/usr/local/bin/conmon",
];
/// How an id is shown: as engines show it.
const ID_SHOWN: usize = 12;
/// The length of an id: SHA-256 in hexadecimal.
const ID: usize = 64;
const NAME_MAX: usize = 255;

/// Says of each process of a lineage, root first, which container it lives in.
pub(crate) fn name_all(processes: &mut [Process]) {
    let mut monitored: Option<Arc<str>> = None;
    for process in processes {
        process.container = monitored.clone().or_else(|| by_cgroup(&process.cgroup));
        if MONITORS.contains(&&*process.exe)
            && let Some(name) = name_given(&process.argv)
        {
            monitored = Some(name);
        }
    }
}

/// The name that a monitor was started with.
fn name_given(argv: &[Arc<str>]) -> Option<Arc<str>> {
    let mut words = argv.iter();
    words.find(|word| matches!(&***word, "-n" | "--name"))?;
    let name = words.next()?;
    (1..=NAME_MAX)
        .contains(&name.len())
        .then(|| Arc::clone(name))
}

/// The id, or the name, of the container whose cgroup this is or lies in. The innermost one.
pub(crate) fn by_cgroup(path: &str) -> Option<Arc<str>> {
    let mut parts = path.rsplit('/').peekable();
    while let Some(part) = parts.next() {
        if let Some(name) = named(part) {
            return Some(name.into());
        }
        let bare = is_id(part) && parts.peek().is_some_and(|above| holds_bare_ids(above));
        if bare {
            return shown(part);
        }
        let part = part.strip_suffix(".scope").unwrap_or(part);
        if let Some((engine, id)) = part.rsplit_once('-')
            && is_id(id)
            && matches!(engine, "docker" | "libpod" | "cri-containerd" | "crio")
        {
            return shown(id);
        }
    }
    None
}

fn named(part: &str) -> Option<&str> {
    let name = part.strip_prefix("lxc.payload.").or_else(|| {
        let scope = part.strip_suffix(".scope")?;
        scope.strip_prefix("machine-")
    })?;
    (1..=NAME_MAX).contains(&name.len()).then_some(name)
}

fn holds_bare_ids(above: &str) -> bool {
    above == "docker" || above.starts_with("pod") || above.starts_with("kubepods")
}

fn is_id(text: &str) -> bool {
    text.len() == ID && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn shown(id: &str) -> Option<Arc<str>> {
    id.get(..ID_SHOWN).map(Arc::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::Provenance;

    const LONG: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn engines_write_the_id_into_the_cgroup() {
        for path in [
            format!("system.slice/docker-{LONG}.scope"),
            format!("docker/{LONG}"),
            format!("docker/{LONG}/inside/of/it"),
            format!("machine.slice/libpod-{LONG}.scope/container"),
            format!("libpod_parent/libpod-{LONG}"),
            format!("kubepods.slice/kubepods-pod1.slice/cri-containerd-{LONG}.scope"),
            format!("kubepods.slice/kubepods-pod1.slice/crio-{LONG}.scope"),
            format!("kubepods/burstable/pod1/{LONG}"),
        ] {
            assert_eq!(by_cgroup(&path).as_deref(), Some("0123456789ab"), "{path}");
        }
        for (path, name) in [
            ("machine.slice/machine-web.scope", Some("web")),
            ("lxc.payload.web/init.scope", Some("web")),
            ("system.slice/docker.service", None),
            ("docker/short", None),
            ("machine.slice/machine-.scope", None),
            ("", None),
        ] {
            assert_eq!(by_cgroup(path).as_deref(), name, "{path}");
        }
        assert_eq!(by_cgroup(&format!("elsewhere/{LONG}")), None);
        let conmon = format!("machine.slice/libpod-conmon-{LONG}.scope");
        assert_eq!(by_cgroup(&conmon), None, "the monitor is outside");
    }

    fn process(exe: &str, argv: &[&str]) -> Process {
        Process {
            pid: 1,
            start: 1,
            exe: exe.into(),
            argv: argv.iter().map(|word| Arc::from(*word)).collect(),
            uid: 0,
            cwd: None,
            cgroup: "jobs/one".into(),
            container: None,
            provenance: Provenance::Kernel,
            argv_cut: false,
            exited: false,
        }
    }

    #[test]
    fn what_a_monitor_started_bears_its_name() {
        let mut lineage = [
            process("/usr/bin/podman", &["podman", "run", "-n", "x"]),
            process(
                "/usr/bin/conmon",
                &["conmon", "-c", LONG, "-n", "web", "-l", "k8s"],
            ),
            process("/bin/sh", &["sh"]),
            process("/usr/bin/conmon", &["conmon", "-n"]),
            process("/usr/bin/conmon", &["conmon", "--name", "inner"]),
            process("/bin/sh", &["sh"]),
        ];
        name_all(&mut lineage);
        let names = lineage
            .each_ref()
            .map(|process| process.container.as_deref());
        let web = Some("web");
        assert_eq!(names, [None, None, web, web, web, Some("inner")]);
    }
}

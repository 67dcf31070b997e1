//! Debian packages, installed only when they are missing, without starting their services.
use super::{Part, announce};
use crate::process;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Package {
    name: &'static str,
    part: Part,
    why: &'static str,
}

const fn package(name: &'static str, part: Part, why: &'static str) -> Package {
    Package { name, part, why }
}

const PACKAGES: &[Package] = &[
    package(
        "gcc",
        Part::Build,
        "compiles PostgreSQL's grammar, which pg_query contains",
    ),
    package(
        "g++",
        Part::Build,
        "compiles libFuzzer for the fuzz targets",
    ),
    package("libc6-dev", Part::Build, "headers for both"),
    package("make", Part::Build, "builds it"),
    package(
        "libclang-dev",
        Part::Build,
        "pg_query generates its bindings with libclang",
    ),
    package(
        "postgresql-15",
        Part::Peers,
        "the real server of the demo and of the tests",
    ),
    package(
        "postgresql-client-15",
        Part::Peers,
        "psql, pgbench, pg_dump and pg_recvlogical, the real clients",
    ),
    package(
        "iproute2",
        Part::Peers,
        "network namespaces for the attack tests",
    ),
    package(
        "podman",
        Part::Peers,
        "the real container of the tests of network namespaces",
    ),
    package(
        "runc",
        Part::Peers,
        "runs it, also where cgroups of both versions are mounted",
    ),
    package(
        "procps",
        Part::Peers,
        "ps, by which a login test sees that its parent is gone",
    ),
    package(
        "iptables",
        Part::Peers,
        "takes what was sent another way, in the attempts to get out",
    ),
    package(
        "slirp4netns",
        Part::Peers,
        "a network in user space, for what is in a user namespace",
    ),
    package(
        "curl",
        Part::Peers,
        "asks for the metrics over the control socket in the tests",
    ),
    package(
        "openssl",
        Part::Peers,
        "makes certificates and checks signatures in the tests",
    ),
    package(
        "ca-certificates",
        Part::Peers,
        "update-ca-certificates, by which the test of `gateway trust install` is believed",
    ),
    package(
        "openssh-server",
        Part::Peers,
        "the real sshd of the login tests",
    ),
    package(
        "openssh-client",
        Part::Peers,
        "ssh, sftp and ssh-keygen, its real clients",
    ),
    package(
        "pgbouncer",
        Part::Peers,
        "a pooler behind the gateway and inside of jobs; the benchmark compares with it",
    ),
    package(
        "openjdk-17-jdk-headless",
        Part::Peers,
        "compiles and runs the Java driver's test",
    ),
    package("libpostgresql-jdbc-java", Part::Peers, "the Java driver"),
    package("python3", Part::Peers, "runs the Python drivers"),
    package(
        "python3-venv",
        Part::Peers,
        "keeps them out of the system's Python",
    ),
    package(
        "dnsmasq-base",
        Part::Peers,
        "the real name server of the DNS tests and of their benchmark",
    ),
    package(
        "bind9-dnsutils",
        Part::Peers,
        "dig, which shows what a client is told",
    ),
    package(
        "busybox-static",
        Part::Peers,
        "its nslookup, a resolver of its own",
    ),
    package(
        "musl-tools",
        Part::Peers,
        "compiles a static program with musl's resolver",
    ),
    package("haproxy", Part::Rivals, "the benchmark compares with it"),
    package("qemu-system-x86", Part::Vm, "boots Debian's kernels"),
    package("busybox-static", Part::Vm, "the shell of these guests"),
    package("cpio", Part::Vm, "packs their root"),
    package("xz-utils", Part::Vm, "unpacks their modules"),
];

pub(super) fn provide(parts: &[Part]) -> Result<()> {
    let wanted: Vec<&Package> = PACKAGES
        .iter()
        .filter(|package| parts.contains(&package.part))
        .collect();
    let missing = missing(&wanted)?;
    if missing.is_empty() {
        return Ok(());
    }
    for package in &missing {
        announce(&format!("Debian package {}", package.name), package.why);
    }
    install(
        &missing
            .iter()
            .map(|package| package.name)
            .collect::<Vec<_>>(),
    )
}

/// Installs these packages, whether or not they are there already.
pub(super) fn install(names: &[&str]) -> Result<()> {
    require_root(names)?;
    let quiet = QuietServices::begin(Path::new(POLICY))?;
    process::read(apt_get().args(["-qq", "update"]))?;
    process::read(
        apt_get()
            .args(["-qq", "--yes", "--no-install-recommends", "install"])
            .args(names),
    )?;
    quiet.end()?;
    disable_services(names);
    Ok(())
}

/// A service that came with a package which only we wanted does not begin at the next boot either.
/// What was installed before is the host's own and stays as it is.
fn disable_services(names: &[&str]) {
    for (package, service) in [
        ("postgresql-15", "postgresql"),
        ("openssh-server", "ssh"),
        ("pgbouncer", "pgbouncer"),
        ("haproxy", "haproxy"),
    ] {
        let mut disable = Command::new("systemctl");
        disable.args(["--quiet", "disable", service]);
        // Where there is no systemd there is nothing that starts it.
        if names.contains(&package) && process::read(&mut disable).is_ok() {
            println!("setup: the service {service} is installed and disabled");
        }
    }
}

fn missing<'a>(wanted: &[&'a Package]) -> Result<Vec<&'a Package>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    // Exit code 1 only says that some package is unknown, which is what we ask about.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(wanted.iter().map(|package| package.name))
        .output()
        .context("dpkg-query; setup knows Debian 12 only")?;
    let known = String::from_utf8_lossy(&output.stdout);
    let installed = |package: &Package| {
        known
            .lines()
            .any(|line| line.strip_prefix(package.name) == Some(" installed"))
    };
    Ok(wanted
        .iter()
        .copied()
        .filter(|package| !installed(package))
        .collect())
}

fn require_root(names: &[&str]) -> Result<()> {
    if !gateway_tests::place::is_root() {
        bail!(
            "installing packages needs root; run `cargo xtask setup` as root, or:\n  \
             apt-get install --no-install-recommends {}",
            names.join(" ")
        );
    }
    Ok(())
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// What invoke-rc.d asks before it starts a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// "Action forbidden by policy".
const FORBID: &str = "#!/bin/sh\n# Left by a killed `cargo xtask setup`: remove it.\nexit 101\n";

/// While this lives, Debian starts no service that it installs. A policy that the host has of its
/// own is put aside and comes back.
struct QuietServices {
    policy: PathBuf,
    aside: PathBuf,
    restored: bool,
}

impl QuietServices {
    fn begin(policy: &Path) -> Result<QuietServices> {
        let aside = policy.with_extension("d.before-gateway-setup");
        // Still there: an earlier setup was killed. What was put aside then is the host's own.
        if !aside.exists() {
            match fs::rename(policy, &aside) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| policy.display().to_string()),
            }
        }
        let quiet = QuietServices {
            policy: policy.to_owned(),
            aside,
            restored: false,
        };
        fs::write(policy, FORBID)?;
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755))?;
        Ok(quiet)
    }

    fn end(mut self) -> Result<()> {
        self.restore()
            .context("the host's policy-rc.d could not be restored")
    }

    fn restore(&mut self) -> std::io::Result<()> {
        self.restored = true;
        match fs::rename(&self.aside, &self.policy) {
            Err(error) if error.kind() == ErrorKind::NotFound => fs::remove_file(&self.policy),
            other => other,
        }
    }
}

impl Drop for QuietServices {
    fn drop(&mut self) {
        if !self.restored
            && let Err(error) = self.restore()
        {
            eprintln!(
                "setup: {} could not be restored: {error}",
                self.policy.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_installed_is_missing() {
        let nowhere = package("gateway-no-such-package", Part::Build, "a test");
        let everywhere = package("dpkg", Part::Build, "a test");
        let missing = missing(&[&nowhere, &everywhere]).unwrap();
        let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
        assert_eq!(names, ["gateway-no-such-package"]);
    }

    #[test]
    fn services_are_held_back_and_the_host_gets_its_own_policy_back() {
        let directory = tempfile::tempdir().unwrap();
        let policy = directory.path().join("policy-rc.d");
        let files = || fs::read_dir(directory.path()).unwrap().count();

        let quiet = QuietServices::begin(&policy).unwrap();
        assert!(fs::read_to_string(&policy).unwrap().contains("exit 101"));
        quiet.end().unwrap();
        assert_eq!(files(), 0, "a host without one has none afterwards");

        fs::write(&policy, "the host's own").unwrap();
        drop(QuietServices::begin(&policy).unwrap());
        assert_eq!(
            fs::read_to_string(&policy).unwrap(),
            "the host's own",
            "also after a failure"
        );

        // Killed, and run again.
        std::mem::forget(QuietServices::begin(&policy).unwrap());
        QuietServices::begin(&policy).unwrap().end().unwrap();
        assert_eq!(fs::read_to_string(&policy).unwrap(), "the host's own");
        assert_eq!(files(), 1);
    }
}

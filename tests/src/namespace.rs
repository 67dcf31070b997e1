//! A network namespace of its own, with one link to the host: somewhere else, on this machine.
use crate::{place, running};
use anyhow::{Context, Result};
use std::ffi::OsStr;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A namespace with a veth pair to the host. Dropping it kills what is inside and removes both.
pub struct Namespace {
    name: String,
    host_link: String,
    host: Ipv4Addr,
    inside: Ipv4Addr,
    inside_v6: Ipv6Addr,
}

impl Namespace {
    /// Makes one.
    ///
    /// # Errors
    /// We are not root, or no addresses are free.
    pub fn create() -> Result<Namespace> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = place::unique_name();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let slot = free_slot(std::process::id().wrapping_mul(16).wrapping_add(number))?;
        // Interface names have at most 15 characters.
        let host_link = format!("gw{slot:x}h");
        let inside_link = format!("gw{slot:x}n");
        let (host, inside) = (address(slot, 1), address(slot, 2));
        let v6 = |last: u16| Ipv6Addr::new(0xfd7a, 0x6761, 0x7465, slot, 0, 0, 0, last);
        let namespace = Namespace {
            name: name.clone(),
            host_link,
            host,
            inside,
            inside_v6: v6(2),
        };
        let host_link = namespace.host_link.clone();
        ip(&["netns", "add", &name])?;
        ip(&[
            "link",
            "add",
            &host_link,
            "type",
            "veth",
            "peer",
            "name",
            &inside_link,
            "netns",
            &name,
        ])?;
        ip(&["address", "add", &format!("{host}/30"), "dev", &host_link])?;
        ip(&[
            "address",
            "add",
            &format!("{}/64", v6(1)),
            "dev",
            &host_link,
            "nodad",
        ])?;
        ip(&["link", "set", &host_link, "up"])?;
        ip(&[
            "-n",
            &name,
            "address",
            "add",
            &format!("{inside}/30"),
            "dev",
            &inside_link,
        ])?;
        ip(&[
            "-n",
            &name,
            "address",
            "add",
            &format!("{}/64", v6(2)),
            "dev",
            &inside_link,
            "nodad",
        ])?;
        ip(&["-n", &name, "link", "set", &inside_link, "up"])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        ip(&[
            "-n",
            &name,
            "route",
            "add",
            "default",
            "via",
            &host.to_string(),
        ])?;
        Ok(namespace)
    }

    /// The host's address on the link.
    #[must_use]
    pub fn host(&self) -> Ipv4Addr {
        self.host
    }

    /// The namespace's address on the link.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.inside
    }

    /// The namespace's IPv6 address on the link.
    #[must_use]
    pub fn address_v6(&self) -> Ipv6Addr {
        self.inside_v6
    }

    /// The host's end of the link.
    #[must_use]
    pub fn host_link(&self) -> &str {
        &self.host_link
    }

    /// The name under `/run/netns`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command inside the namespace, in our own cgroup.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let kill = format!("ip netns pids {} | xargs -r kill -9", self.name);
        let steps: [&[&str]; 3] = [
            &["sh", "-c", &kill],
            &["ip", "link", "delete", &self.host_link],
            &["ip", "netns", "delete", &self.name],
        ];
        for step in steps {
            let done = running::run(Command::new(step[0]).args(&step[1..]));
            if let Err(error) = done.and_then(running::Outcome::success) {
                eprintln!("left behind: {error:#}");
            }
        }
    }
}

/// 198.18.0.0/15 is set aside for measurements between networks: nobody's hosts are there.
fn address(slot: u16, last: u16) -> Ipv4Addr {
    let bits = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + u32::from(slot) * 4 + u32::from(last);
    Ipv4Addr::from(bits)
}

fn free_slot(start: u32) -> Result<u16> {
    let taken = running::run(Command::new("ip").args(["-o", "-4", "address"]))?
        .success()?
        .stdout;
    (0..64)
        .map(|step| ((start.wrapping_add(step)) % 0x4000) as u16)
        .find(|&slot| !taken.contains(&format!(" {}/", address(slot, 1))))
        .context("no free addresses in 198.18.0.0/15")
}

fn ip(arguments: &[&str]) -> Result<()> {
    running::run(Command::new("ip").args(arguments))?
        .success()
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_do_not_overlap_and_stay_in_the_range() {
        assert_eq!(address(0, 1), Ipv4Addr::new(198, 18, 0, 1));
        assert_eq!(address(0, 2), Ipv4Addr::new(198, 18, 0, 2));
        assert_eq!(address(1, 1), Ipv4Addr::new(198, 18, 0, 5));
        assert_eq!(address(0x3fff, 2), Ipv4Addr::new(198, 18, 255, 254));
    }
}
